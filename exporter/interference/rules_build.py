"""Detects of a rules file to detectors' specs: names resolved, expressions checked, args judged.

The rule: everything that is wrong is noted, nothing is raised; what cannot be asked is None. Knows
the format and the variables; no file, no clock, no detector's code.
"""

import re
from collections.abc import Iterator, Mapping

from exporter.config.wording import KeyPath, quote
from exporter.interference.detector_specs import (
    LONGEST_SECONDS,
    LONGEST_WANTED,
    LONGEST_WHY,
    CpiSpec,
    DetectorSpec,
    EwmaSpec,
    ExpressionSpec,
    PsiSpec,
    RunqSpec,
    SloSpec,
)
from exporter.interference.expression import ExpressionError, Tree, parse
from exporter.interference.expression_check import check, known_in, unknown_name
from exporter.interference.model import Scope
from exporter.interference.node_facts import NodeFacts, auto_expression
from exporter.interference.rules_file import DETECT_ARGS, Detect, DetectArgs, RuleSpec
from exporter.interference.rules_notes import Notes
from exporter.interference.syntax import ANY_DEVICE, Name

LEAST_EWMA = 11
SHORTEST_PSI = 2.0
_DISABLED = "this detect is left out"
_SCOPES: Mapping[str, tuple[Scope, ...]] = {
    "psi": ("node", "container"),
    "runq": ("container",),
    "cpi": ("container",),
    "slo": ("app",),
}
_AUTO_METRICS = {"cpu": "cpu_avg", "memory": "memory_available"}
_OF_ALL_JOBS = ("slo_min", "slo_max")
_OF_ONE_JOB = ("value", "slo", "slack")


class Detects:
    """Those of one rule."""

    def __init__(self, rule: RuleSpec, scope: Scope, facts: NodeFacts, notes: Notes) -> None:
        self._rule: RuleSpec = rule
        self._scope: Scope = scope
        self._facts = facts
        self._notes = notes
        job, colon, metric = rule.name.partition(":")
        self._job: str | None = job if scope == "app" and colon else None
        self._metric: str | None = metric if self._job is not None else None
        self.jobs: set[str] = set() if self._job is None else {self._job}
        """Jobs that an app rule names: by its own name or by a detect's argument."""
        self.asked: set[str] = set()
        """Names of all variables that were asked for, without devices."""

    def spec(self, detect: Detect, path: KeyPath, recovers: bool) -> DetectorSpec | None:
        """None where it was noted why not."""
        self._unused(detect, path)
        scopes = _SCOPES.get(detect.name, (self._scope,))
        if self._scope not in scopes:
            text = f"{detect.name} is asked of {' and '.join(scopes)} rules only"
            self._notes.error((*path, "name"), text)
            return None
        why = self._facts.why_not(detect.name)
        if why is not None:  # true of the machine, not of the file
            self._notes.warn((*path, "name"), f"{detect.name} is not to be had here: {why}")
            return None
        args, where = detect.args, (*path, "args")
        if args.window is not None and args.window > LONGEST_SECONDS:
            text = f"too long, got {args.window}, want {LONGEST_WANTED}: {LONGEST_WHY}"
            self._notes.error((*where, "window"), text)
            return None
        match detect.name:
            case "expression":
                return self._expression(args, where, recovers)
            case "ewma":
                return self._ewma(args, where)
            case "psi":
                return self._psi(args, where)
            case "runq":
                if args.delay is None:
                    return self._missing((*where, "delay"), "a duration such as 5ms")
                return RunqSpec(
                    args.quantile or 0.95,
                    round(float(args.delay), 9),  # a number, not the text that it was
                    float(args.window or 10.0),
                    args.held_by or "anyone",
                )
            case "cpi":
                return CpiSpec(args.sigmas or 2.0, args.outliers or 3, float(args.window or 300.0))
            case "slo":
                return self._slo(args, where)

    def _unused(self, detect: Detect, path: KeyPath) -> None:
        own = DETECT_ARGS[detect.name]
        for key in DetectArgs.__struct_fields__:
            if key not in own and getattr(detect.args, key) is not None:
                text = f"is no argument of {detect.name}, want {', '.join(own)}"
                self._notes.tolerate((*path, "args", key), text)

    def _missing(self, path: KeyPath, want: str) -> DetectorSpec | None:
        self._notes.error(path, f"is missing, want {want}")
        return None

    # --- expression

    def _expression(self, args: DetectArgs, path: KeyPath, recovers: bool) -> DetectorSpec | None:
        where = (*path, "expression")
        if args.expression is None:
            return self._missing(where, "an expression such as cpu_avg > 0.9")
        text = args.expression
        if text.strip() == "auto":
            metric = self._rule.metrics[0] if self._rule.metrics else None
            metric = metric or _AUTO_METRICS.get(self._rule.name, "")
            try:
                text = auto_expression(self._rule.name, metric, self._facts, recovers)
            except ValueError as error:
                known = self._rule.name in _AUTO_METRICS
                note = self._notes.warn if known else self._notes.error
                note(where, f"{error}: {_DISABLED}" if known else str(error))
                return None
        tree = self._tree(text, where)
        if tree is None:
            return None
        count = args.warning_count if args.warning_count and args.warning_count > 0 else None
        duration = min(args.warning_duration or 0.0, LONGEST_SECONDS)  # rules.py says it
        return ExpressionSpec(tree, count, duration or None)

    def _tree(self, text: str, where: KeyPath) -> Tree | None:
        try:
            tree = self._resolved(parse(text))
        except ExpressionError as error:
            self._notes.error(where, str(error))
            return None
        usable = True
        for complaint in check(tree, self._scope):
            line, column = complaint.at
            at = f"column {column}" if line == 1 else f"line {line}, column {column}"
            shown = f"{complaint.text} in {at}"
            if complaint.kind == "type":
                self._notes.error(where, shown)
            elif complaint.kind == "unknown":
                self._notes.tolerate(where, shown, _DISABLED)
            else:
                self._notes.tolerate(where, shown)
            usable = usable and complaint.kind not in ("type", "unknown")
        for name in sorted({name.name for name in tree.names}):
            why = self._facts.why_not(name)
            if why is not None:
                text = f"{name} is not to be had here: {why}"
                self._notes.tolerate(where, text, _DISABLED)
                usable = False
        if not usable:
            return None
        self.asked.update(name.name for name in tree.names)
        return tree

    def _resolved(self, tree: Tree) -> Tree:
        """Caelus' ways of naming: sda_diskio_util is of the disk sda; in a rule named job:metric
        value, slo and slo_min are that metric's."""
        known = known_in(self._scope)

        def change(name: Name) -> Name:
            if name.device is not None:
                return name
            if self._job is not None and name.name in _OF_ONE_JOB:
                return name._replace(device=self._rule.name)
            if self._job is not None and name.name in _OF_ALL_JOBS:
                return name._replace(name="slack", device=self._rule.name)
            if name.name in known:
                return name
            for variable in known.values():
                device, found, rest = name.name.partition(f"_{variable.name}")
                if variable.per_device and found and not rest and device:
                    return name._replace(name=variable.name, device=device)
            return name

        return tree.renamed(change)

    # --- the others

    def _ewma(self, args: DetectArgs, path: KeyPath) -> DetectorSpec | None:
        where = (*path, "metric")
        metric = args.metric or (self._rule.metrics[0] if self._rule.metrics else "")
        if not metric:
            return self._missing(where, "one of the rule's metrics")
        try:
            tree = self._resolved(parse(metric))
        except ExpressionError as error:
            self._notes.error(where, str(error))
            return None
        if not isinstance(tree.root, Name):
            self._notes.error(where, f"is no variable, got {quote(metric)}")
            return None
        name = tree.root
        why = None
        if name.name not in known_in(self._scope):
            why = unknown_name(name.name, self._scope)
        elif name.device == ANY_DEVICE:
            why = f"ewma is not asked of every device, want {name.name}[DEVICE]"
        elif missing := self._facts.why_not(name.name):
            why = f"{name.name} is not to be had here: {missing}"
        if why is not None:
            self._notes.tolerate(where, why, _DISABLED)
            return None
        if (args.nr or 0) < LEAST_EWMA:
            got = "is missing" if args.nr is None else f"is too small, got {args.nr}"
            text = f"{got}, want {LEAST_EWMA} or more"
            self._notes.tolerate((*path, "nr"), text, f"{LEAST_EWMA} is taken")
        self.asked.add(name.name)
        return EwmaSpec(name.key, max(args.nr or 0, LEAST_EWMA))

    def _psi(self, args: DetectArgs, path: KeyPath) -> DetectorSpec | None:
        window = args.window or 10.0
        if args.resource is None:
            return self._missing((*path, "resource"), "cpu, memory or io")
        if args.threshold is None or not 0 < args.threshold < 1:
            got = "is missing" if args.threshold is None else f"got {args.threshold:g}"
            text = f"{got}, want a share of time over 0 and under 1, such as 0.2"
            self._notes.error((*path, "threshold"), text)
            return None
        if window < SHORTEST_PSI:
            text = f"too short, got {args.window}, want 2s or more: the kernel renews it every 2 s"
            self._notes.error((*path, "window"), text)
            return None
        return PsiSpec(args.resource, args.kind or "some", args.threshold, float(window))

    def _slo(self, args: DetectArgs, path: KeyPath) -> DetectorSpec | None:
        job, metric = args.job or self._job, args.metric or self._metric
        if metric is not None and job is None:
            return self._missing((*path, "job"), "the job whose metric it is")
        if job is None:
            self.asked.add("slo_min")
        else:
            self.jobs.add(job)
            self.asked.add("slack")
        return SloSpec(job, metric, args.threshold or 0.0)

    # --- the rule as a whole

    def subjects(self) -> str | None:
        """The pattern that an app rule's jobs must match; None: no opinion."""
        if self.jobs:
            return f"^({'|'.join(re.escape(job) for job in sorted(self.jobs))})$"
        return "^$" if self.asked.intersection(_OF_ALL_JOBS) else None

    def mixed(self) -> bool:
        """Whether it asks several jobs, or all together and one of them."""
        both = (_OF_ALL_JOBS, _OF_ONE_JOB)
        mixed = all(self.asked.intersection(names) for names in both)
        return len(self.jobs) > 1 or (mixed and self._job is None)

    def metric_faults(self) -> Iterator[tuple[int, str]]:
        """Of the rule's `metrics`: where, and why it is none."""
        for index, text in enumerate(self._rule.metrics):
            try:
                root = self._resolved(parse(text)).root
            except ExpressionError as error:
                yield index, str(error)
                continue
            if not isinstance(root, Name):
                yield index, f"is no variable, got {quote(text)}"
            elif root.name not in known_in(self._scope):
                yield index, unknown_name(root.name, self._scope)
