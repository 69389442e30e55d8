"""Program × hook × kernel → events, as Markdown that also reads well on a terminal."""

from collections.abc import Iterator, Sequence

from tests.qemu.machine import Guest
from tests.qemu.rows import Row
from tests.qemu.verdict import excused

BEGIN, END = "<!-- made by make test-qemu -->", "<!-- end -->"


def render(guests: Sequence[Guest]) -> str:
    """Two tables, of the ways that the kernels took and of those that come after, with notes."""
    parts = [_table(guests, False), _notes(guests, False)]
    if any(row.forced for guest in guests for row in guest.rows):
        parts += [
            "The ways after those, each with no other allowed:",
            _table(guests, True),
            _notes(guests, True),
        ]
    return "\n\n".join(part for part in parts if part)


def put_between_marks(text: str, tables: str) -> str:
    """A document with what stands between its marks replaced. ValueError where it has none."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"has no {BEGIN} … {END}")
    return f"{head}{BEGIN}\n{tables}\n{END}{tail}"


def _table(guests: Sequence[Guest], forced: bool) -> str:
    head = ["program", "way" if forced else "hooks taken", *(g.kernel.release for g in guests)]
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for guest in guests:
        for row in guest.rows:
            if bool(row.forced) == forced:
                way = row.forced or _hooks(row)
                cells.setdefault((row.program, way), {})[guest.kernel.series] = _cell(row)
    _spread_off(cells)
    lines = [head, ["---"] * 2 + ["--:"] * len(guests)]
    for (program, way), seen in sorted(cells.items()):
        lines.append([program, way, *(seen.get(g.kernel.series, "") for g in guests)])
    return _aligned(lines)


def _hooks(row: Row) -> str:
    """ELF sections that were taken; those of one kind together: "raw_tp/{a, b}". By bcc, if so."""
    kinds: dict[str, dict[str, None]] = {}
    for section in (name for taken in row.hooks.values() for name in taken.split(", ") if name):
        kind, _, event = section.partition("/")
        kinds.setdefault(kind, {})[event] = None
    by = "bcc: " if row.hooks and row.backend == "bcc" else ""
    return by + " ".join(
        f"{kind}/{{{', '.join(events)}}}" if len(events) > 1 else f"{kind}/{next(iter(events))}"
        for kind, events in kinds.items()
    )


def _spread_off(cells: dict[tuple[str, str], dict[str, str]]) -> None:
    """A program that is off on one kernel needs no line of its own for that."""
    for program in [program for program, way in cells if way == ""]:
        others = [key for key in cells if key[0] == program and key[1]]
        if others:
            off = cells.pop((program, ""))
            for series, cell in off.items():
                cells[others[0]].setdefault(series, cell)


def _cell(row: Row) -> str:
    if not row.hooks:
        return "off"
    return f"{_number(row.events)}{'' if row.counts else ' (!)'}"


def _number(events: float) -> str:
    return f"{events:.0f}" if events >= 10 or events == int(events) else f"{events:.2g}"


def _notes(guests: Sequence[Guest], forced: bool) -> str:
    """Why something is off or short, once for all kernels where the words are the same."""
    notes: dict[str, list[str]] = {}
    for guest in guests:
        for row in guest.rows:
            if bool(row.forced) == forced:
                for note in _of(row, guest.kernel.series):
                    notes.setdefault(note, []).append(guest.kernel.series)
    return "\n".join(f"- {', '.join(series)}: {note}" for note, series in sorted(notes.items()))


def _of(row: Row, series: str) -> Iterator[str]:
    name = f"{row.program} ({row.forced})" if row.forced else row.program
    why = [*row.missing, row.reason.removeprefix(f"{row.program}: ")]
    if not row.events and not any(why):
        why.append("counted nothing")
    refused = [each for each in dict.fromkeys(row.refused) if each not in row.reason]
    passed_over = "; ".join(refused)
    if passed_over and row.hooks and not row.forced:
        why.append(f"passed over {passed_over}")
    text = "; ".join(filter(None, why))
    if text:
        exception = None if row.forced else excused(row.program, series)
        yield f"{name}: {text}" + (f" (expected: {exception})" if exception else "")


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = []
    for number, line in enumerate(lines):
        fields = []
        for cell, width in zip(line, widths, strict=True):
            if number == 1:
                fields.append("-" * (width - 1) + ("-" if cell == "---" else ":"))
            else:
                right = lines[1][len(fields)] == "--:"
                fields.append(cell.rjust(width) if right else cell.ljust(width))
        padded.append(f"| {' | '.join(fields)} |")
    return "\n".join(padded)
