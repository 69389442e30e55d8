"""What a soak found, as a table. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from benchmarks.soak.afterwards import Line
from benchmarks.soak.agents import Life, Reading, Subject
from benchmarks.soak.figures import Point, Span, after, ends, quantile, slope
from benchmarks.soak.scraping import Scrape
from benchmarks.soak.soak import Outcome
from benchmarks.tables import Table

WARM_UP_SHARE, WARM_UP_MOST_SECONDS = 1 / 3, 300.0
_NONE = "–"
Of = Callable[[Reading], float | None]


class Answered:
    """Scrapes of one agent, by what became of them. Those that a kill cut, or that began when no
    agent was ready, can be answered by nobody and are counted apart."""

    def __init__(self, scrapes: Iterable[Scrape], served: Sequence[Span]) -> None:
        self.well: list[Scrape] = []
        self.failed: list[Scrape] = []
        self.cut = self.outside = 0
        for each in scrapes:
            life = next((span for span in served if span.begin <= each.begin < span.end), None)
            if life is None:
                self.outside += 1
            elif not each.why:
                self.well.append(each)
            elif each.end > life.end:
                self.cut += 1
            else:
                self.failed.append(each)

    @property
    def share(self) -> float | None:
        asked = len(self.well) + len(self.failed)
        return len(self.well) / asked * 100 if asked else None

    def seconds(self) -> list[float]:
        return [each.end - each.begin for each in self.well]


def report(outcome: Outcome, machine: str) -> Table:
    steady, killed = outcome.subjects["steady"], outcome.subjects["killed"]
    rows: list[tuple[str, str, str, str]] = []

    def row(what: str, goal: str, *values: str) -> None:
        rows.append((what, *values, goal))  # type: ignore[arg-type]

    each = (steady, killed)
    row("programs on", "", *(_counted(s, "kernmesh_ebpf_program_up") for s in (steady,)), _NONE)
    asked = [_answered(outcome, subject) for subject in each]
    row("scrapes begun while ready", "", *(f"{len(a.well) + len(a.failed):,}" for a in asked))
    row("answered", "100 %", *(_percent(a.share) for a in asked))
    for name, q in (("p50", 0.5), ("p99", 0.99)):
        row(f"answered within, {name}", "", *(_seconds(quantile(a.seconds(), q)) for a in asked))
    row("answered within, all", "< 1 s", *(_seconds(quantile(a.seconds(), 1)) for a in asked))
    row("cut by a kill", "", *(str(a.cut) for a in asked))
    lives = killed.lives[1:]
    first = [life.answered - life.begun for life in lives if life.answered is not None]
    ready = [life.ready - life.begun for life in lives if life.ready is not None]
    row("kills", "", _NONE, str(len(lives)))
    row("first answer after a kill, median", "", _NONE, _seconds(quantile(first, 0.5)))
    row("first answer after a kill, all", "≤ 1.5 s", _NONE, _seconds(quantile(first, 1)))
    row("ready after a kill, median and all", "", _NONE,
        f"{_seconds(quantile(ready, 0.5))}, {_seconds(quantile(ready, 1))}")  # fmt: skip
    longest = longest_life(steady)
    warm = longest.begun + warm_up(outcome.seconds)
    row("longest life", "all of it", _minutes(longest), _NONE)
    row("RSS, slope per hour after warm-up", "< 1 MB/h", _slope(steady, warm, _rss), _NONE)
    row("the same, anonymous only", "", _slope(steady, warm, _anonymous), _NONE)
    row("RSS, first and last quarter", "", _ends(steady, warm, _rss), _NONE)
    row("RSS, most", "", *(_most(subject, _rss) for subject in each))
    row(
        "memory of the cgroup, most",
        f"≤ {outcome.limit_mb * 1.048576:.1f} MB",
        *(_most(s, _usage) for s in each),
    )
    row("the same less inactive files", "", *(_most(s, _working) for s in each))
    row("killed for its memory", "0", *(str(_oom_kills(s)) for s in each))
    row("ended by itself", "0", *(str(_by_itself(s.lives)) for s in each))
    row("file descriptors, first and last quarter", "flat", _ends(steady, warm, _fds), _NONE)
    row("threads, first and last quarter", "flat", _ends(steady, warm, _threads), _NONE)
    for kind in ("prog", "map", "link"):
        row(f"BPF {kind}s, first and last quarter", "flat",
            _ends(steady, warm, lambda r, k=kind: _bpf(r, k)), _NONE)  # type: ignore[misc]  # fmt: skip
    row("BPF objects left after the end", "0", *(_left(outcome, "bpf", s.name) for s in each))
    row("events lost, of all", "0", *(_lost(s) for s in each))
    row("map updates refused", "0",
        *(_counted(s, "kernmesh_ebpf_map_refused_updates_total") for s in each))  # fmt: skip
    row("runs of programs missed", "0",
        *(_counted(s, "kernmesh_ebpf_missed_runs_total") for s in each))  # fmt: skip
    for tier, text in (("slow", "10 s"), ("fast", "1 s")):
        row(f"ticks of usage missing, {text}", "0",
            *(_missing(outcome, s.name, tier) for s in each))  # fmt: skip
    row(
        "actions done", "", *(_counted(s, "kernmesh_interference_actions_total done") for s in each)
    )
    row(
        "writes to Nodes",
        "",
        *(_counted(s, "kernmesh_pressure_writes_total written") for s in each),
    )
    row("cgroups throttled, a minute after", "0", _whose(outcome.late["throttled"], "batch-steady"),
        _whose(outcome.late["throttled"], "batch-killed"))  # fmt: skip
    row("cgroups throttled after the end", "0", _whose(outcome.left["throttled"], "batch-steady"),
        _whose(outcome.left["throttled"], "batch-killed"))  # fmt: skip
    row(
        "wrong labels, a minute after",
        "0",
        *(_whose(outcome.late["marks"], f"soak-{s.name}") for s in each),
    )
    row(
        "labels, taints left after the end",
        "0",
        *(_whose(outcome.left["marks"], f"soak-{s.name}") for s in each),
    )
    row("temporary files left", "0", *(_whose(outcome.left["files"], f"/{s.name}") for s in each))
    for level in ("warn", "error", "traceback", "exception"):
        goal = "explained" if level in ("warn", "error") else "0"
        row(
            f"lines in the log: {level}",
            goal,
            *(_lines(outcome.lines[s.name], level) for s in each),
        )
    row("exit code at SIGTERM", "0", *(str(outcome.exits[s.name]) for s in each))
    return Table(
        f"Soak of {outcome.seconds / 60:.0f} minutes",
        ("what", "lives all the time", "is killed", "goal"),
        tuple(rows),
        notes(outcome, machine),
    )


def notes(outcome: Outcome, machine: str) -> tuple[str, ...]:
    faults = ", ".join(f"{what} {count}" for what, count in sorted(outcome.faults.items()))
    made = outcome.churned.get("made", 0)
    return (
        f"{machine}. Both agents had the same load at the same time: {made:,.0f} cgroups made "
        f"({made / outcome.seconds * 60:,.0f} per minute) and removed, interfaces and loop "
        "devices, 50 scrapers that each ask both every 10 s and all at once each minute, 65 "
        f"clients per agent that behave badly. Faults: {faults}.",
        f"Slopes are Theil and Sen's over one agent that lives all the time, after its first "
        f"{warm_up(outcome.seconds) / 60:.1f} minutes.",
    )


def lines_table(outcome: Outcome) -> Table:
    """What logs say that is more than information, alike lines counted."""
    rows = [
        (name, line.level, str(line.times), line.shape.replace("|", "\\|")[:160])
        for name, lines in outcome.lines.items()
        for line in lines
    ]
    return Table("Lines of logs", ("who", "level", "times", "line"), tuple(rows))


def longest_life(subject: Subject) -> Life:
    """What grows is told by one life; of several, by the one that was read most often."""
    counts = Counter(reading.life for reading in subject.readings)
    return subject.lives[counts.most_common(1)[0][0]] if counts else subject.lives[0]


def warm_up(seconds: float) -> float:
    return min(seconds * WARM_UP_SHARE, WARM_UP_MOST_SECONDS)


# --- cells


def _answered(outcome: Outcome, subject: Subject) -> Answered:
    mine = (each for each in outcome.scrapes if each.agent == subject.name)
    return Answered(mine, [life.served for life in subject.lives if life.served is not None])


def _minutes(life: Life) -> str:
    return _NONE if life.ended is None else f"{(life.ended - life.begun) / 60:.1f} min"


def _percent(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f} %"


def _seconds(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f} s"


def _rss(reading: Reading) -> float | None:
    return None if reading.held is None else reading.held.rss_mb


def _anonymous(reading: Reading) -> float | None:
    return None if reading.held is None else reading.held.anonymous_mb


def _fds(reading: Reading) -> float | None:
    return None if reading.held is None else reading.held.fds


def _threads(reading: Reading) -> float | None:
    return None if reading.held is None else reading.held.threads


def _bpf(reading: Reading, kind: str) -> float | None:
    return None if reading.held is None else len(reading.held.bpf[kind])


def _usage(reading: Reading) -> float | None:
    return None if reading.charged is None else reading.charged.usage_mb


def _working(reading: Reading) -> float | None:
    return None if reading.charged is None else reading.charged.working_mb


def _points(subject: Subject, of: Of, since: float = 0.0) -> list[Point]:
    life = longest_life(subject).number if since else None
    found = ((each.at, of(each)) for each in subject.readings if life in (None, each.life))
    return after((Point(at, value) for at, value in found if value is not None), since)


def _slope(subject: Subject, since: float, of: Of) -> str:
    found = slope(_points(subject, of, since))
    return _NONE if found is None else f"{found:+.2f} MB/h"


def _ends(subject: Subject, since: float, of: Of) -> str:
    found = ends(_points(subject, of, since))
    return _NONE if found is None else f"{found[0]:g} → {found[1]:g}"


def _most(subject: Subject, of: Of) -> str:
    values = [point.value for point in _points(subject, of)]
    return f"{max(values):.1f} MB" if values else _NONE


def _oom_kills(subject: Subject) -> int:
    return max((r.charged.killed for r in subject.readings if r.charged is not None), default=0)


def _by_itself(lives: Sequence[Life]) -> int:
    return sum(life.how.startswith("ended by itself") for life in lives)


def _sum(subject: Subject, name: str) -> float | None:
    found = [life.counted[name] for life in subject.lives if name in life.counted]
    return sum(found) if found else None


def _counted(subject: Subject, name: str) -> str:
    found = _sum(subject, name)
    return _NONE if found is None else f"{found:,.0f}"


def _lost(subject: Subject) -> str:
    lost = _sum(subject, "kernmesh_ebpf_events_lost_total")
    seen = _sum(subject, "kernmesh_ebpf_events_counted_total")
    return _NONE if lost is None else f"{lost:,.0f} of {(seen or 0) + lost:,.0f}"


def _missing(outcome: Outcome, name: str, tier: str) -> str:
    kept = outcome.kept[name][tier]
    return _NONE if kept is None else f"{kept.missing} in {kept.seconds / 60:.0f} min"


def _whose(found: Iterable[str], word: str) -> str:
    return str(sum(word in each for each in found))


def _left(outcome: Outcome, what: str, name: str) -> str:
    return str(sum(each.startswith(f"{name}:") for each in outcome.left[what]))


def _lines(lines: Iterable[Line], level: str) -> str:
    return str(sum(line.times for line in lines if line.level.startswith(level)))
