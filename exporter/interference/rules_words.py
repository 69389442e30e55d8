"""Rules in words: what `kernmesh rules check` says of each detect, action and rule.

Values to text, nothing else.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from exporter.interference.detector_specs import (
    CpiSpec,
    DetectorSpec,
    EwmaSpec,
    ExpressionSpec,
    PsiSpec,
    RunqSpec,
    SloSpec,
)
from exporter.interference.model import ActionSpec, Entry, Rule, Step

_WHO = {"some": "some tasks wait", "full": "all tasks wait"}


class EntryWords(NamedTuple):
    """Parallel to an Entry's detectors."""

    any_of: tuple[str, ...]
    all_of: tuple[str, ...]


class RuleWords(NamedTuple):
    """Parallel to a Rule's entries and recover."""

    entries: tuple[EntryWords, ...]
    recover: tuple[EntryWords, ...]


def seconds(value: float) -> str:
    """5s, 1m30s, 200ms, 1.5s."""
    value = round(value, 9)  # of nanoseconds
    if value < 1:
        return f"{value * 1000:g}ms"
    minutes, rest = divmod(value, 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else ""]
    return "".join([*parts, f"{rest:g}s" if rest or not (hours or minutes) else ""])


def detector(spec: DetectorSpec) -> str:
    match spec:
        case ExpressionSpec(tree=tree, warning_count=count, warning_duration=duration):
            ways = [f"{count} samples in a row"] if count and count > 1 else []
            ways += [seconds(duration)] if duration else []
            text = f"{tree} holds"
            if tree.per_device:
                text += ", for one device ($dev),"
            # with a duration and no count one sample is not enough; with count 1 it is
            return f"{text} for {' or '.join(ways)}" if ways and count != 1 else text
        case EwmaSpec(metric=metric, nr=nr):
            return f"{metric} is far from its moving average over {nr} samples"
        case PsiSpec(resource=resource, kind=kind, threshold=threshold, window=window):
            share = f"{threshold * 100:g} % of {seconds(window)}"
            return f"{_WHO[kind]} for {resource} more than {share}"
        case RunqSpec(quantile, delay, window, held_by):
            whose = " that offline work held" if held_by == "offline" else ""
            share = f"{(1 - quantile) * 100:.3g} % of its waits for a CPU{whose}"
            return f"{share} in {seconds(window)} take longer than {seconds(delay)}"
        case CpiSpec(sigmas=sigmas, outliers=outliers, window=window):
            far = f"over mean + {sigmas:g} sigma of its job"
            return f"cycles per instruction are {far} {outliers} times in {seconds(window)}"
        case SloSpec(job=job, metric=metric, threshold=threshold):
            what = f"{metric or 'a metric'} of {job or 'a job'}"
            return f"the slack of {what} is under {threshold:g}"


def action(spec: ActionSpec) -> str:
    match spec.kind:
        case "adjust":
            joint = ", then " if spec.op == "loop" else " and "
            return f"take away {joint.join(_step(step) for step in spec.steps)} of offline work"
        case "webhook":
            return f"post to {spec.url}"
        case "io":
            limits = ", ".join(f"{name} {value:.0f}" for name, value in spec.limits)
            return f"limit offline disk I/O ({limits})"
    return {
        "log": "log it",
        "schedule": "ask for no more batch work on this node",
        "evict": "evict an offline pod",
        "preempt": "let offline work run only on idle CPUs",
    }[spec.kind]


def _step(step: Step) -> str:
    if step.fraction is not None:
        return f"{step.fraction * 100:g} % of {step.resource}"
    amount = step.amount or 0.0
    return f"{amount:g} cores" if step.resource == "cpu" else f"{amount:,.0f} bytes {step.resource}"


def rule_lines(rule: Rule, words: RuleWords) -> Iterator[str]:
    """The rule as a paragraph; the first line is its name."""
    yield f"{rule.name} ({rule.severity}), {rule.place}"
    yield f"  asked of {_asked(rule)} every {seconds(rule.check_interval)}"
    for entry, own in zip(rule.entries, words.entries, strict=True):
        yield f"  when {_condition(own)}"
        if entry.hold:
            yield f"    and that for {seconds(entry.hold)}"
        done = ", ".join(action(spec) for spec in entry.actions) or "nothing but to show it"
        yield f"    then {done}; again every {seconds(rule.handle_interval)} while it holds"
        clear = rule.recover_interval if entry.clear is None else entry.clear
        longer = f", up to {seconds(rule.longest_clear)} if it keeps coming back"
        if not rule.recover:
            more = longer if rule.longest_clear > clear > 0 else ""
            yield f"    over once nothing of it held for {seconds(clear)}{more}"
    if rule.recover:
        conditions = "; or when ".join(_condition(own) for own in words.recover)
        yield f"  over only when {conditions}"
    yield f"  taken back a step every {seconds(rule.recover_interval)}{_back(rule.recover)}"
    if rule.cooldown:
        yield f"  and then left alone for {seconds(rule.cooldown)}"


def _back(recover: Sequence[Entry]) -> str:
    done = [action(spec) for entry in recover for spec in entry.actions]
    return f" (only: {', '.join(done)}), the rest at the end" if done else ""


def _asked(rule: Rule) -> str:
    if rule.scope == "node":
        return "the node"
    if rule.scope == "app":
        if rule.subjects == "^$":
            return "all jobs together"
        return f"jobs that match {rule.subjects}" if rule.subjects else "every job"
    kind = f"{rule.work} containers" if rule.work else "containers"
    return f"{kind} that match {rule.subjects}" if rule.subjects else f"all {kind}"


def _condition(words: EntryWords) -> str:
    any_of = " or ".join(f"({text})" if len(words.any_of) > 1 else text for text in words.any_of)
    parts = [any_of, *words.all_of] if any_of else list(words.all_of)
    return parts[0] if len(parts) == 1 else " and ".join(f"({part})" for part in parts)
