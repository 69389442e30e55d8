"""The format of a rules file, key by key: Caelus' rules.json, and what we add to it.

The rule: a file of the original's means what it meant there; every key of ours has a default
under which it changes nothing. Structs only; what they mean is made of them in rules_build.py.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from msgspec import Meta, Struct, field

from exporter.config import Fault, GoDuration, Regexp

Text = Annotated[str, Meta(min_length=1)]
AtLeastOne = Annotated[int, Meta(ge=1)]
Quantile = Annotated[float, Meta(ge=0.5, le=0.9999)]
Positive = Annotated[float, Meta(gt=0)]

SHORTEST_INTERVAL = 0.1
DEFAULT_INTERVAL = GoDuration("1m")
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
_MULTIPLES = {
    "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
}  # fmt: skip


class Quantity(float):
    """As Kubernetes writes amounts: 1000m or 1 (cores), 1Gi or 1073741824 (bytes)."""

    want: ClassVar[str] = "an amount such as 1000m, 2 or 1Gi"
    json_schema: ClassVar[dict[str, Any]] = {
        "type": ["string", "number"],
        "pattern": rf"^{_QUANTITY.pattern}$",
    }
    text: str

    def __new__(cls, text: str) -> Self:
        match = _QUANTITY.fullmatch(text) if len(text) < 40 and text.isascii() else None
        if match is None:
            raise ValueError("not an amount")
        self = super().__new__(cls, float(match[1]) * _MULTIPLES.get(match[2] or "", 1.0))
        self.text = text
        return self


DetectName = Literal["expression", "ewma", "psi", "runq", "cpi", "slo"]
ActionName = Literal["", "log", "schedule", "evict", "adjust", "webhook", "preempt", "io"]

ACTIONS = tuple(name for name in get_args(ActionName) if name)

DETECT_ARGS: dict[DetectName, tuple[str, ...]] = {
    "expression": ("expression", "warning_count", "warning_duration"),
    "ewma": ("metric", "nr"),
    "psi": ("resource", "kind", "threshold", "window"),
    "runq": ("quantile", "delay", "window", "held_by"),
    "cpi": ("sigmas", "outliers", "window"),
    "slo": ("job", "metric", "threshold"),
}
ACTION_ARGS: dict[str, tuple[str, ...]] = {
    "adjust": ("op", "resources"),
    "webhook": ("url",),
    "io": ("limits",),
}


class DetectArgs(Struct, frozen=True, forbid_unknown_fields=True):
    """Those of all detects; each has its own. expression: `expression` ("auto" in rules named cpu
    and memory), which fires after `warning_count` samples in a row, or after `warning_duration`.
    ewma: `metric` over `nr` samples. psi: the share of `window` in which `kind` tasks waited for
    `resource` is over `threshold`. runq: the `quantile` of waits for a CPU in `window` is over
    `delay`; `held_by` offline: of each wait, what offline work held the CPU for. cpi: `outliers`
    samples in `window` over the job's mean and `sigmas` deviations.
    slo: the slack of `job` and `metric` is under `threshold`."""

    expression: Text | None = None
    warning_count: int | None = None
    warning_duration: GoDuration | None = None
    metric: str | None = None
    nr: AtLeastOne | None = None
    resource: Literal["cpu", "memory", "io"] | None = None
    kind: Literal["some", "full"] | None = None
    threshold: float | None = None
    window: GoDuration | None = None
    quantile: Quantile | None = None
    delay: GoDuration | None = None
    held_by: Literal["anyone", "offline"] | None = None
    sigmas: Positive | None = None
    outliers: AtLeastOne | None = None
    job: Text | None = None


class Detect(Struct, frozen=True, forbid_unknown_fields=True):
    """One condition."""

    name: DetectName
    args: DetectArgs = DetectArgs()


class Resource(Struct, frozen=True, forbid_unknown_fields=True):
    """What adjust takes away at each step: `step`, an amount, or `step_percent`, a fraction of
    what there is. `resource` is cpu or memory; without it the rule's name."""

    resource: str = ""
    step: Quantity | None = None
    step_percent: Annotated[float, Meta(ge=0.001, le=0.999)] | None = None

    def faults(self) -> Iterator[Fault]:
        if (self.step is None) == (self.step_percent is None):
            found = "is without step and step_percent" if self.step is None else "has both"
            yield Fault((), f"{found}, want one of step and step_percent")
        if self.step is not None and self.step <= 0:
            yield Fault(("step",), "takes nothing", self.step.text, "more than 0")


class ActionArgs(Struct, frozen=True, forbid_unknown_fields=True):
    """Those of all actions. adjust: `op` "and" (or "all") takes of all `resources` at once, "loop"
    of one after the other. webhook: `url`. io: `limits` by name of io.max (rbps, wbps, riops,
    wiops)."""

    op: Annotated[Literal["", "and", "all", "loop"], Meta(extra={"want": "and, all or loop"})] = ""
    resources: tuple[Resource, ...] = ()
    url: Annotated[
        str, Meta(pattern=r"^(https?://\S+)?$", extra={"want": "http(s)://HOST/PATH"})
    ] = ""
    limits: dict[Literal["rbps", "wbps", "riops", "wiops"], Quantity] = field(default_factory=dict)


class Action(Struct, frozen=True, forbid_unknown_fields=True):
    """What is done; without a name: log."""

    name: Annotated[ActionName, Meta(extra={"want": ", ".join(ACTIONS)})] = ""
    args: ActionArgs = ActionArgs()


class EntrySpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Holds where one of `detects` (or `any`, which is the same) and every one of `all` does.
    `for` is how long before it fires, `clear` how long it must not have held before it is over
    (without it the rule's recover_interval)."""

    detects: tuple[Detect, ...] = ()
    actions: tuple[Action, ...] = ()
    any_of: tuple[Detect, ...] = field(name="any", default=())
    all_of: tuple[Detect, ...] = field(name="all", default=())
    hold: GoDuration | None = field(name="for", default=None)
    clear: GoDuration | None = None

    def faults(self) -> Iterator[Fault]:
        if self.detects and self.any_of:
            yield Fault(("any",), "stands beside detects, which is the same, want one of them")
        if not (self.detects or self.any_of or self.all_of):
            yield Fault(("detects",), "is empty, want one detect or more")


class RuleSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One rule. `metrics` names what it looks at (the original needs it; ours only for auto and
    ewma). Asked every `check_interval`; actions are repeated every `handle_interval` while it
    fires, and taken back a step every `recover_interval` (both without a value: check_interval).
    `recover_rules`: what must hold before anything is taken back. After it is over nothing is done
    for `cooldown`. What comes back soon after something was given back doubles `clear`, up to
    `longest_clear`. `subjects` is a regular expression that the cgroup's path, the pod's
    namespace/name or the job's name must match; `work` the class of containers that are asked."""

    name: str = ""
    metrics: tuple[str, ...] = ()
    check_interval: GoDuration = DEFAULT_INTERVAL
    handle_interval: GoDuration | None = None
    recover_interval: GoDuration | None = None
    rules: tuple[EntrySpec, ...] = ()
    recover_rules: tuple[EntrySpec, ...] = ()
    cooldown: GoDuration = GoDuration("0")
    longest_clear: GoDuration = GoDuration("1h")
    severity: Literal["info", "warning", "critical"] = "warning"
    subjects: Regexp | None = None
    work: Literal["online", "offline", "all"] = "online"

    def faults(self) -> Iterator[Fault]:
        if not self.rules:
            yield Fault(("rules",), "is empty, want one entry of detects and actions or more")
        for key in ("check_interval", "handle_interval", "recover_interval"):
            value: GoDuration | None = getattr(self, key)
            if value is not None and 0 < value < SHORTEST_INTERVAL:
                yield Fault((key,), "too short", value, f"at least {SHORTEST_INTERVAL * 1000:g}ms")


class RuleCheck(Struct, frozen=True, forbid_unknown_fields=True):
    """Rules by what they are asked of."""

    node_rules: tuple[RuleSpec, ...] = ()
    container_rules: tuple[RuleSpec, ...] = ()
    app_rules: tuple[RuleSpec, ...] = ()


class Pressure(Struct, frozen=True, forbid_unknown_fields=True):
    """cgroup v1's memory.pressure_level of these cgroups: `count` events within `duration`."""

    cgroups: tuple[Text, ...] = ()
    pressure_level: str = ""
    duration: GoDuration = GoDuration("0")
    count: int = 0

    def faults(self) -> Iterator[Fault]:
        levels = ("low", "medium", "critical")
        if self.cgroups and self.pressure_level not in levels:
            want = "low, medium or critical"
            yield Fault(("pressure_level",), "unknown value", self.pressure_level, want)


class UsageNotice(Struct, frozen=True, forbid_unknown_fields=True):
    """These cgroups' memory came within `margin_mb` of their limit, and stayed for `duration`."""

    cgroups: tuple[Text, ...] = ()
    margin_mb: Annotated[int, Meta(ge=0)] = 0
    duration: GoDuration = GoDuration("0")


class MemoryNotify(Struct, frozen=True, forbid_unknown_fields=True):
    pressures: tuple[Pressure, ...] = ()
    usages: tuple[UsageNotice, ...] = ()


class Notify(Struct, frozen=True, forbid_unknown_fields=True):
    memory_cgroup: MemoryNotify = MemoryNotify()


class RulesFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. `rule_nodes` are addresses of the nodes that it is for; empty: all."""

    disable: bool = False
    rule_nodes: tuple[Text, ...] = ()
    rule_check: RuleCheck = RuleCheck()
    cgroup_notify: Notify | None = None
    notify_config: Notify | None = None

    def faults(self) -> Iterator[Fault]:
        if self.cgroup_notify is not None and self.notify_config is not None:
            yield Fault(
                ("notify_config",), "stands beside cgroup_notify, which is the same, want one"
            )
