"""Detectors, views and rules that do as a script says, for tests of the engine.

A script has one sign for each second from 0 on: "#" it holds, "." it does not, "?" it is unknown,
"!" the detector raises. After its end its last sign goes on.
"""

from collections.abc import Callable, Mapping, Sequence

from exporter.errors import NoData
from exporter.interference.model import (
    NODE,
    ActionSpec,
    Entry,
    Finding,
    Rule,
    RuleSet,
    Subject,
    View,
)
from tests.interference.windows import TableView

LOG = ActionSpec("log")
PREEMPT = ActionSpec("preempt")
EVICT = ActionSpec("evict")


class Scripted:
    """`scripts` by subject's name; "" is the default. `exact`: it knows since when it holds, as
    detectors that look back do; else it says now."""

    def __init__(self, *script: str, exact: bool = True, **scripts: str) -> None:
        self.scripts = {"": "".join(script), **{f"/{key}": text for key, text in scripts.items()}}
        self._exact = exact

    def sign(self, view: View, at: float) -> str:
        script = self.scripts.get(view.subject.name, self.scripts[""])
        return script[min(int(at), len(script) - 1)]

    def evaluate(self, view: View) -> Finding | None:
        sign = self.sign(view, view.now)
        if sign == "!":
            raise ZeroDivisionError("a detector's own fault")
        if sign == "?":
            raise NoData("no reading")
        if sign == ".":
            return None
        since = view.now
        while self._exact and since >= 1 and self.sign(view, since - 1) == "#":
            since -= 1
        return Finding("x", 2.0, 1.0, "", since, "x is 2")


def view_at(now: float) -> Callable[[Subject], View]:
    return lambda subject: TableView({}, subject, now=now)


def entry(
    *any_of: Scripted,
    all_of: Sequence[Scripted] = (),
    actions: Sequence[ActionSpec] = (PREEMPT,),
    hold: float = 0.0,
    clear: float | None = None,
) -> Entry:
    return Entry(tuple(any_of), tuple(all_of), tuple(actions), hold, clear)


def rule(*entries: Entry, name: str = "r", **more: object) -> Rule:
    values: Mapping[str, object] = {
        "name": name,
        "scope": "node",
        "place": "rules.yaml:1",
        "entries": entries,
        "recover": (),
        "check_interval": 1.0,
        "handle_interval": 3.0,
        "recover_interval": 2.0,
        "cooldown": 0.0,
        "severity": "warning",
        **more,
    }
    return Rule(**values)  # type: ignore[arg-type] # a test's own keywords


def ruleset(*rules: Rule) -> RuleSet:
    return RuleSet(rules, tuple(f"identity of {each.name}" for each in rules), ())


def container(name: str, pod: str = "") -> Subject:
    return Subject("container", name, pod=pod, work="online")


SUBJECTS = (NODE,)
