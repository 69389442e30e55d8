"""What was counted, as Markdown: one table of all programs, and a part for each of them.

A document holds them between marks; what stands outside of the marks is kept by hand. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from exporter.ebpf.metricspec import GaugeSpec, HistogramSpec
from exporter.ebpf.spec import ProgramSpec
from exporter.ebpf.start import metrics_of

END = "<!-- end -->"
ALL = "all programs"
_HEAD = (
    ("program", "hooks taken", "user space says", "counted", "agreement", "ns per run"),
    ("map memory",),
)


class Outcome(NamedTuple):
    """Of one program on this kernel. `load` is a sentence; `wanted` and `got` are by what user
    space made: a metric with labels. `ns` is None where too little ran to say, `reason` why it is
    off or what it lacks."""

    name: str
    spec: ProgramSpec
    load: str
    hooks: Sequence[str] = ()
    wanted: Mapping[str, float] = {}
    got: Mapping[str, float] = {}
    ns: float | None = None
    runs: int = 0
    map_bytes: int | None = None
    refused: Sequence[str] = ()
    reason: str = ""

    @property
    def agrees(self) -> bool:
        return bool(self.got) and all(self.got[what] >= n for what, n in self.wanted.items())


def begin(name: str) -> str:
    return f"<!-- made by python -m tests.programs: {name} -->"


def put_between_marks(text: str, made: Mapping[str, str]) -> str:
    """A document with what stands between the marks of each name replaced. ValueError, with all
    names, where it has no such marks."""
    missing = []
    for name, part in made.items():
        head, mark, rest = text.partition(begin(name))
        _, end, tail = rest.partition(END)
        if not (mark and end):
            missing.append(name)
            continue
        text = f"{head}{mark}\n{part}\n{END}{tail}"
    if missing:
        raise ValueError(f"has no marks for {', '.join(missing)}: add {begin(missing[0])} … {END}")
    return text


def render(outcomes: Sequence[Outcome], machine: str, floor_ns: float) -> dict[str, str]:
    """By name: the table of all, then each program's part."""
    notes = (
        f"{machine} ns per run: by kernel.bpf_stats_enabled, all of a program's functions together;"
        f" an empty function costs {floor_ns:.0f} ns by the same account, which is in each figure."
        " Counters are of the whole machine: more than the load made is others' doing."
    )
    made = {ALL: f"{_table(outcomes)}\n\n{notes}"}
    return made | {each.name: _part(each) for each in outcomes}


def _table(outcomes: Sequence[Outcome]) -> str:
    lines = [tuple(column for part in _HEAD for column in part), ("---",) * 7]
    lines += [_row(each) for each in outcomes]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(outcome: Outcome) -> tuple[str, ...]:
    if not outcome.hooks:
        return (f"[{outcome.name}](#{outcome.name})", "off", "", "", "off", "", "")
    wanted = "<br>".join(f"{n:g} {what}" for what, n in outcome.wanted.items())
    got = "<br>".join(f"{n:g}" for n in outcome.got.values())
    return (
        f"[{outcome.name}](#{outcome.name})",
        _together(outcome.hooks),
        wanted,
        got,
        "yes" if outcome.agrees else "NO",
        "" if outcome.ns is None else f"{outcome.ns:.0f}",
        "" if outcome.map_bytes is None else f"{outcome.map_bytes / 1024:,.0f} KiB",
    )


def _together(sections: Sequence[str]) -> str:
    """Those of one kind as one: "raw_tp/{a, b}"."""
    kinds: dict[str, list[str]] = {}
    for section in sections:
        kind, _, event = section.partition("/")
        kinds.setdefault(kind, []).append(event)
    return " ".join(
        f"{kind}/{{{', '.join(events)}}}" if len(events) > 1 else f"{kind}/{events[0]}"
        for kind, events in kinds.items()
    )


def _part(outcome: Outcome) -> str:
    lines = []
    for metric in metrics_of(outcome.spec):
        labels = ",".join(label.name for label in metric.labels)
        kind = "counter"
        if isinstance(metric, HistogramSpec):
            kind = "histogram"
        elif isinstance(metric, GaugeSpec):
            kind = "gauge"
        limit = f"; at most {metric.max_series} series" if metric.max_series else ""
        lines.append(f"- `{metric.name}{{{labels}}}`, {kind}{limit}: {metric.help}.")
    lines.append("")
    if not outcome.hooks:
        return "\n".join([*lines, f"Off on this kernel: {outcome.reason}"])
    said = [f"Hooks taken: {_together(outcome.hooks)}."]
    if outcome.refused:
        said.append(f"Passed over: {'; '.join(outcome.refused)}.")
    if outcome.reason:
        said.append(f"Without {outcome.reason}.")
    said.append(f"Load: {outcome.load}")
    said += [
        f"User space says {n:g} {what}; counted {outcome.got[what]:g}."
        for what, n in outcome.wanted.items()
    ]
    if outcome.ns is not None:
        said.append(f"{outcome.ns:.0f} ns per run ({outcome.runs:,} runs).")
    return "\n".join([*lines, " ".join(said)])
