"""What the parts of interference detection hand to each other: rules, findings, suspects, outcomes.

    rules file ─▶ Rule ─┐
    store ─▶ View ──────┴▶ detector ─▶ Finding ─▶ engine ─▶ Incident ─▶ action ─▶ Outcome
                 └─▶ attribution ─▶ Suspect ─┘

Values only. A detector sees a View, never a clock, a file or a socket; an action never sees a View.
Times are the store's elapsed seconds (monotonic, across restarts of one boot), unless named wall.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from exporter.usage.window import Window

LONGEST_CLEAR = 3600.0
Scope = Literal["node", "container", "app"]
WorkClass = Literal["online", "offline"]
Severity = Literal["info", "warning", "critical"]
Phase = Literal["ok", "pending", "firing", "recovering"]


class Subject(NamedTuple):
    """What a rule is asked of. `name`: "" for the node, a cgroup's path below the mount
    ("/kubepods/burstable/pod…") for a container, a job's name for an app. `pod` is
    "namespace/pod" and `uid` the pod's, "" where unknown or not a pod's. `work` is None where
    the configuration does not say of which class it is."""

    scope: Scope
    name: str
    pod: str = ""
    uid: str = ""
    work: WorkClass | None = None


NODE = Subject("node", "")
ALL_JOBS = Subject("app", "")
"""What is asked of all jobs together: slo_min and slo_max."""


class View(Protocol):
    """One subject up to the newest tick (`now`): all that a detector may see. Signals are named as
    in variables.py and always gauges: a counter's comes as its rate over each interval."""

    @property
    def now(self) -> float:
        """Elapsed seconds of the newest tick."""

    @property
    def subject(self) -> Subject: ...

    def value(self, signal: str) -> float | None:
        """At the newest tick; None where it is unknown then."""

    def window(self, signal: str, seconds: float) -> Window:
        """What is known of it in the `seconds` that end now; empty where nothing is."""

    def devices(self) -> Sequence[str]:
        """What `$dev` stands for: the devices that signals `name[device]` are known of."""


class Finding(NamedTuple):
    """A condition that holds. `value` beside `threshold` in `unit` ("", "ratio", "seconds",
    "bytes", "per second" …); `text` says it in one line for a user, in words and numbers.
    `since` is the elapsed second at which it began to hold without a break."""

    signal: str
    value: float
    threshold: float
    unit: str
    since: float
    text: str


class Detector(Protocol):
    """Pure: the same view, the same answer."""

    def evaluate(self, view: View) -> Finding | None:
        """None where it does not hold. Raises NoData where that cannot be told for want of
        readings: the engine then leaves the state as it is, and counts it."""


class Suspect(NamedTuple):
    """One offline cgroup as the cause of a finding. `score` is −1 to 1 (correlation of its usage
    with the victim's pain, CPI² section 5), `signal` the usage that it was reckoned from;
    `preemptions` are those of the victim by it in the window, None where nobody counts them;
    `evidence` says the numbers in one line."""

    subject: Subject
    score: float
    signal: str
    preemptions: float | None
    evidence: str


# --- rules, as they are after reading: every name is resolved, nothing is text that was not parsed


class Step(NamedTuple):
    """Of an adjust action: one of `amount` (cores, or bytes) and `fraction` (0 to 1) is set."""

    resource: str  # "cpu", "memory", "diskio", "netio"; a rule's own name where the file says none
    amount: float | None
    fraction: float | None


ActionKind = Literal["log", "webhook", "schedule", "adjust", "preempt", "io", "evict", "confirm"]


class ActionSpec(NamedTuple):
    """What to do. `op` and `steps` are adjust's ("and": all at once; "loop": one after the other);
    `url` is webhook's; `limits` are io's, bytes or operations per second by name of io.max."""

    kind: ActionKind
    op: Literal["and", "loop"] = "and"
    steps: tuple[Step, ...] = ()
    url: str = ""
    limits: tuple[tuple[str, float], ...] = ()


class Entry(NamedTuple):
    """Detects with their actions. It holds where one of `any_of` and every one of `all_of` does
    (either may be empty). `hold` are the seconds that it must have held before it fires (`for:`),
    `clear` those that it must not have held before it is over; None: the rule's
    recover_interval."""

    any_of: tuple[Detector, ...]
    all_of: tuple[Detector, ...]
    actions: tuple[ActionSpec, ...]
    hold: float = 0.0
    clear: float | None = None


class Rule(NamedTuple):
    """`name` is unique in its file; a rule without one is named by its place ("node_rules[2]").
    `place` is file:line. Intervals in seconds: how often it is asked, how often its actions are
    repeated while it fires, how often they are taken back a step while it recovers. `recover`:
    entries whose holding means recovery; empty: recovery is no entry holding for `clear`.
    `subjects`: a pattern (RE2) that a subject's name, pod or job must match; None: all of its
    scope. `work` is the class of subjects asked. What comes back soon after something was given
    back doubles `clear` for that subject, up to `longest_clear`."""

    name: str
    scope: Scope
    place: str
    entries: tuple[Entry, ...]
    recover: tuple[Entry, ...]
    check_interval: float
    handle_interval: float
    recover_interval: float
    cooldown: float
    severity: Severity
    subjects: str | None = None
    work: WorkClass | None = "online"
    longest_clear: float = LONGEST_CLEAR


class RuleSet(NamedTuple):
    """One rules file. `identity` of a rule (its text's digest) tells a reload which did not
    change. `warnings` are lines for the log, as of detects left out because a variable is not to
    be had here."""

    rules: tuple[Rule, ...]
    identity: tuple[str, ...]
    warnings: tuple[str, ...]


# --- what happens


class Incident(NamedTuple):
    """One firing of one rule on one subject. `run` joins finding, actions and recovery in the log,
    in /interference and in the journal."""

    run: str
    rule: str
    severity: Severity
    subject: Subject
    entry: int
    finding: Finding
    suspects: tuple[Suspect, ...]
    wall: float


class Outcome(NamedTuple):
    """Of one action. `done`: something was changed (or sent); False with a reason: nothing was,
    because of dry run, because there was nothing to change, or because it was refused."""

    action: ActionKind
    result: Literal["done", "dry_run", "nothing", "refused", "failed"]
    text: str


class Action(Protocol):
    """Idempotent. `dry_run` is the actor's own setting; a dry action says what it would do."""

    def fire(self, incident: Incident, spec: ActionSpec) -> Outcome:
        """One step more. Called at most every handle_interval while the rule fires. Never raises:
        what fails is an Outcome."""

    def ease(self, incident: Incident, spec: ActionSpec) -> Outcome:
        """One step back, at most every recover_interval while it recovers; "nothing" where all is
        as before."""

    def clear(self, incident: Incident, spec: ActionSpec) -> Outcome:
        """All of it back, at once: the incident is over."""
