"""Lines as a screen for people and as JSON for programs."""

import json
import textwrap
from collections.abc import Sequence
from typing import Any

from exporter.doctor.line import Line

_STATE_WIDTH = len("degraded")


def screen(lines: Sequence[Line], width: int = 100) -> str:
    """One line per subject, folded at `width`; the mend below what needs one."""
    subjects = max((len(line.subject) for line in lines), default=0)
    return "\n".join([*(_told(line, subjects, width) for line in lines), "", verdict(lines)])


def _told(line: Line, subjects: int, width: int) -> str:
    head = f"{line.subject:{subjects}}  {line.state:{_STATE_WIDTH}}  "
    indent = " " * len(head)
    width = max(width, len(head) + 40)
    found = line.found
    if line.failing:
        found += f" [wanted by {line.wanted_by}]"
    parts = [textwrap.fill(found, width, initial_indent=head, subsequent_indent=indent)]
    if line.mend:
        parts.append(
            textwrap.fill(
                line.mend,
                width,
                initial_indent=f"{indent}-> ",
                subsequent_indent=f"{indent}   ",
                break_on_hyphens=False,
                break_long_words=False,
            )
        )
    return "\n".join(parts)


def verdict(lines: Sequence[Line]) -> str:
    failing = [line.subject for line in lines if line.failing]
    counts = {
        state: sum(line.state == state for line in lines)
        for state in ("ok", "degraded", "missing", "unknown")
    }
    summary = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    if failing:
        return f"{summary}; the configuration wants what is missing: {', '.join(failing)}"
    told = "is known to be missing" if counts["unknown"] else "is missing"
    return f"{summary}; nothing that the configuration wants {told}"


def as_json(lines: Sequence[Line]) -> str:
    """{"ok": no line is failing, "lines": [{subject, state, found, mend, wanted_by, failing}]}."""
    rows: list[dict[str, Any]] = [line._asdict() | {"failing": line.failing} for line in lines]
    return json.dumps({"ok": not any(line.failing for line in lines), "lines": rows}, indent=2)
