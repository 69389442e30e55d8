"""Who does it: offline cgroups ranked by how their usage moves with a victim's pain. Pure.

Correlation as CPI² has it (Zhang et al., EuroSys 2013, section 5): over the window, usage u_t
(normalised to a sum of 1) against pain c_t and its threshold c*:

    Σ  u_t · (1 − c*/c_t)   where c_t > c*        Σ  u_t · (c_t/c* − 1)   where c_t < c*

Correlation alone ranks badly, for what runs all the time correlates as well as who came with the
pain, and a small user as well as a great one. So it is multiplied by the share that the suspect
has: of usage while it hurts, of what usage grew by since before, and, where the kernel tells who
held the CPU that the victim waited for, of that time (counted twice). It remains a ranking:
`recovered` judges whether throttling the first one helped.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from exporter.interference.detectors.runs import aligned, weighted_mean
from exporter.interference.model import Finding, Suspect, View
from exporter.usage import window
from exporter.usage.window import Window

BEFORE_SECONDS = 60.0
_LEAST_BEFORE_SECONDS = 10.0
_MOST_SECONDS = 300.0
_SETTLE_SECONDS = 2.0  # the kernel brings PSI totals up to date every 2 s
_FEWEST_SAMPLES = 3

Resource = Literal["cpu", "memory", "io", "network"]
_PREFIXES: Mapping[str, Resource] = {
    "psi_cpu": "cpu",
    "psi_memory": "memory",
    "psi_io": "io",
    "mem": "memory",
    "node_direct_reclaim": "memory",
    "diskio": "io",
    "read_": "io",
    "write_": "io",
    "io_": "io",
    "process_nr_uninterruptible": "io",
    "netio": "network",
    "rx_": "network",
    "tx_": "network",
    "listen_": "network",
    "tcp_": "network",
    "runq": "cpu",
    "waited": "cpu",
    "slowed": "cpu",
    "cpu": "cpu",
    "cpi": "cpu",
    "load": "cpu",
    "preempted": "cpu",
}


class _Usage(NamedTuple):
    """One way to use a resource: what is added up of which signals. `grows`: what counts is by
    how much it rises, as of memory that is taken and kept. Under `least` it is nothing."""

    name: str
    signals: tuple[str, ...]
    grows: bool = False
    least: float = 0.0


_CPU = _Usage("cpu_usage", ("cpu_usage",))
_FORKS = _Usage("forks", ("forks",), least=50.0)
_IO = _Usage("read_bps + write_bps", ("read_bps", "write_bps"))
_MEMORY = _Usage("growth of memory_total_usage", ("memory_total_usage",), grows=True, least=2.0**20)
_STALLS = _Usage("psi_memory_some", ("psi_memory_some",))
_NETWORK = _Usage("rx_bps + tx_bps", ("rx_bps", "tx_bps"))
_USAGES: Mapping[Resource, tuple[_Usage, ...]] = {
    "cpu": (_CPU, _FORKS),
    "io": (_IO,),
    "memory": (_MEMORY, _STALLS, _IO),
    "network": (_NETWORK, _CPU),
}
_ANY = (_CPU, _IO, _MEMORY)


def resource_of(signal: str) -> Resource | None:
    """Which a signal is about; None where it may be any (an application's own value)."""
    return next((kind for prefix, kind in _PREFIXES.items() if signal.startswith(prefix)), None)


def suspect_signals(signal: str) -> frozenset[str]:
    """What suspects of a finding on this signal are ranked by, of their own."""
    resource = resource_of(signal)
    usages = _ANY if resource is None else _USAGES[resource]
    return frozenset(name for usage in usages for name in usage.signals)


class _Pain(NamedTuple):
    """The victim's, by time, and how bad each is: CPI²'s term, −1 to 1. `since` is when it began
    to be bad."""

    badness: Mapping[float, float]
    since: float


def rank(victim: View, finding: Finding, suspects: Sequence[View]) -> list[Suspect]:
    """The likeliest first; those that used nothing of the resource are left out. Empty where the
    victim's pain or the suspects' usage is not known."""
    lasted = max(victim.now - finding.since, 0.0)
    # About as long before as it has hurt: else what ran a little all along is acquitted by hours
    # in which nothing hurt.
    before = min(max(lasted, _LEAST_BEFORE_SECONDS), BEFORE_SECONDS)
    seconds = min(lasted + before, _MOST_SECONDS)
    pain = _pain(victim, finding, seconds)
    if pain is None:
        return []
    resource = resource_of(finding.signal)
    best: dict[str, Suspect] = {}
    for usage in _ANY if resource is None else _USAGES[resource]:
        for suspect in _by_usage(victim, pain, suspects, usage, seconds, resource):
            name = suspect.subject.name
            if name not in best or suspect.score > best[name].score:
                best[name] = suspect
    return sorted(best.values(), key=lambda each: (-each.score, each.subject.name))


def _by_usage(
    victim: View,
    pain: _Pain,
    suspects: Sequence[View],
    usage: _Usage,
    seconds: float,
    resource: Resource | None,
) -> list[Suspect]:
    used = {view.subject.name: _used(view, usage, seconds) for view in suspects}
    bad = {name: _mean_where(series, lambda at: at >= pain.since) for name, series in used.items()}
    before = {name: _mean_where(s, lambda at: at < pain.since) for name, s in used.items()}
    growth = {name: max(bad[name] - before[name], 0.0) for name in used}
    shares = [_shares(bad), _shares(growth)]
    waited = {name: _held(victim, name, seconds, pain.since) for name in used}
    if resource in ("cpu", None) and usage in (_CPU, _FORKS):
        # Nobody counts waits, or it waits for none of them: then there are no such shares.
        shares += [_shares(waited)] * 2
    shares = [each for each in shares if each]
    found: list[Suspect] = []
    for view in suspects:
        name = view.subject.name
        correlation = _correlation(used[name], pain.badness)
        if correlation is None:
            continue
        share = sum(each.get(name, 0.0) for each in shares) / len(shares) if shares else 0.0
        preemptions = _count(victim.window(f"preempted_by[{name.strip('/')}]", seconds))
        evidence = (
            f"{usage.name} {_short(bad[name])} while it hurt, {_short(before[name])} before; "
            f"correlation {correlation:+.2f}, share {share:.0%}"
        )
        if waited[name] > 0:
            evidence += f"; the victim waited {waited[name] * 1000:.3g} ms/s while it held the CPU"
        if preemptions:
            evidence += f"; took its CPU {preemptions:.0f} times"
        # One that used less while it hurt is the less likely the smaller its share.
        score = correlation * (share if correlation > 0 else 1.0 - share)
        score = max(min(score, 1.0), -1.0)
        found.append(Suspect(view.subject, score, usage.name, preemptions, evidence))
    return found


def _pain(victim: View, finding: Finding, seconds: float) -> _Pain | None:
    known = victim.window(finding.signal, seconds)
    if not known.values:
        return None
    lower_is_worse = finding.value < finding.threshold
    threshold = _threshold(known, finding)
    badness: dict[float, float] = {}
    for at, value in zip(known.elapsed, known.values, strict=True):
        pain, limit = (value, threshold) if not lower_is_worse else (threshold, value)
        if finding.signal.startswith(("slack", "slo_")):  # may be below 0
            pain, limit = 1.0 - value, 1.0 - threshold
        if pain > limit:
            badness[at] = 1.0 - max(limit, 0.0) / pain if pain > 0 else 0.0
        else:
            badness[at] = pain / limit - 1.0 if limit > 0 else 0.0
    return _Pain(badness, min(finding.since, known.elapsed[-1]))


def _threshold(known: Window, finding: Finding) -> float:
    """The finding's own where the signal crosses it; else, as of a quantile that is found in
    another unit than the signal is kept in, half way between what was usual before and what it is
    since."""
    least, most = min(known.values), max(known.values)
    if least <= finding.threshold <= most and finding.unit != "seconds":
        return finding.threshold
    since = window.mean(window.after(known, finding.since - 1e-6))
    earlier = [v for at, v in zip(*known[::2], strict=True) if at < finding.since]
    usual = window.quantile_of_sorted(sorted(earlier), 0.5)
    if since is None or usual is None:
        return (least + most) / 2 if least < most else min(finding.threshold, least)
    return (usual + since) / 2


def _used(view: View, usage: _Usage, seconds: float) -> Window:
    """By time; of what grows, the rise since the least before it in the window."""
    rows = aligned({signal: view.window(signal, seconds) for signal in usage.signals})
    spans: dict[float, float] = {}
    for signal in usage.signals:
        known = view.window(signal, seconds)
        spans.update(zip(known.elapsed, known.spans, strict=True))
    times = [at for at, known in rows if known]
    values = [sum(known.values()) for _, known in rows if known]
    if usage.grows:
        least = float("inf")
        for index, value in enumerate(values):
            least = min(least, value)
            values[index] = value - least
    values = [value if value >= usage.least else 0.0 for value in values]
    return Window(times, [spans.get(at, 0.0) for at in times], values)


def _correlation(used: Window, badness: Mapping[float, float]) -> float | None:
    """None where it used nothing while the victim's pain is known."""
    total = score = 0.0
    for at, value in zip(used.elapsed, used.values, strict=True):
        bad = _at(badness, at)
        if bad is not None:
            total += value
            score += value * bad
    return score / total if total > 0 else None


def _at(badness: Mapping[float, float], at: float) -> float | None:
    """Exact where both were read at one tick, as they mostly are."""
    found = badness.get(at)
    if found is None and badness:
        nearest = min(badness, key=lambda each: abs(each - at))
        found = badness[nearest] if abs(nearest - at) <= 10.0 else None
    return found


def _mean_where(series: Window, wanted: Callable[[float], bool]) -> float:
    """0.0 where nothing is known then: it was not there."""
    values = [value for at, value in zip(*series[::2], strict=True) if wanted(at)]
    return sum(values) / len(values) if values else 0.0


def _shares(of: Mapping[str, float]) -> dict[str, float]:
    total = sum(of.values())
    return {name: value / total for name, value in of.items()} if total > 0 else {}


def _held(victim: View, name: str, seconds: float, since: float) -> float:
    known = victim.window(f"waited_behind[{name.strip('/')}]", seconds)
    return weighted_mean(window.after(known, since - 1e-6)) or 0.0


def _count(known: Window) -> float | None:
    if not known.values:
        return None
    return sum(rate * span for rate, span in zip(known.values, known.spans, strict=True))


def _short(value: float) -> str:
    for unit, size in (("Gi", 2.0**30), ("Mi", 2.0**20), ("Ki", 2.0**10)):
        if value >= 4 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def recovered(view: View, finding: Finding, since: float) -> bool | None:
    """Whether the victim is better since something was done at elapsed `since`: its pain on the
    finding's signal has gone at least half of the way back to what was usual before the finding,
    or is past the finding's threshold. None where that cannot be told yet: the first two seconds
    do not count, and three samples after them are needed, and some from before."""
    reach = view.now - min(finding.since, since) + BEFORE_SECONDS
    known = view.window(finding.signal, min(reach, _MOST_SECONDS * 2))
    after = window.after(known, since + _SETTLE_SECONDS)
    rows = list(zip(known.elapsed, known.values, strict=True))
    during = [value for at, value in rows if finding.since <= at <= since]
    earlier = sorted(value for at, value in rows if at < finding.since)
    now = window.mean(after)
    if now is None or len(after.values) < _FEWEST_SAMPLES or not during:
        return None
    then = sum(during) / len(during)
    worse = -1.0 if finding.value < finding.threshold else 1.0
    usual = window.quantile_of_sorted(earlier, 0.5)
    limits = [(usual + then) / 2] if usual is not None and worse * (then - usual) > 0 else []
    if finding.unit != "seconds" and worse * (then - finding.threshold) > 0:
        limits.append(finding.threshold)
    if not limits:  # nothing to compare with: half of the pain must be gone
        limits.append(then / 2 if worse > 0 else then * 2)
    return any(worse * (now - limit) < 0 for limit in limits)
