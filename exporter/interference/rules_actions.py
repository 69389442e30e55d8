"""Actions of a rules file to what actors are given: names resolved, arguments judged.

The rule: everything that is wrong is noted, nothing is raised. Knows no actor.
"""

from collections.abc import Sequence

from exporter.config.wording import KeyPath, quote
from exporter.interference.model import ActionSpec, Step
from exporter.interference.rules_file import ACTION_ARGS, Action, ActionArgs
from exporter.interference.rules_notes import Notes

ADJUSTABLE = ("cpu", "memory")


def action_specs(
    actions: Sequence[Action], rule: str, path: KeyPath, notes: Notes
) -> tuple[ActionSpec, ...]:
    """`rule` is the rule's name, which is what adjust takes where a resource has none. What cannot
    be done was noted."""
    found: list[ActionSpec] = []
    for index, action in enumerate(actions):
        where = (*path, index, "args")
        kind = action.name or "log"
        own = ACTION_ARGS.get(kind, ())
        for key in ActionArgs.__struct_fields__:
            if key not in own and getattr(action.args, key):
                takes = f"want {', '.join(own)}" if own else "which takes none"
                text = f"is no argument of {kind}, {takes}"
                notes.tolerate((*where, key), text)
        if kind == "webhook" and not action.args.url:
            notes.error((*where, "url"), "is missing, want http://HOST/PATH or https://…")
        if kind == "io" and not action.args.limits:
            text = "is missing, want one of rbps, wbps, riops, wiops with its amount"
            notes.error((*where, "limits"), text)
        steps = _steps(action, rule, where, notes) if kind == "adjust" else ()
        if kind == "adjust" and not steps:
            continue
        found.append(
            ActionSpec(
                kind,
                "loop" if action.args.op == "loop" else "and",
                steps,
                action.args.url,
                tuple((name, float(value)) for name, value in action.args.limits.items()),
            )
        )
    return tuple(found)


def _steps(action: Action, rule: str, where: KeyPath, notes: Notes) -> tuple[Step, ...]:
    steps: list[Step] = []
    if not action.args.resources:
        text = "is empty, want what to take away at each step"
        notes.tolerate((*where, "resources"), text, "this action is left out")
    for index, resource in enumerate(action.args.resources):
        name = resource.resource or rule
        if name not in ADJUSTABLE:
            said = f"got {quote(name)}"
            said = said if resource.resource else f"{said}, the rule's name"
            notes.tolerate(
                (*where, "resources", index, "resource"),
                f"cannot be adjusted, {said}, want {' or '.join(ADJUSTABLE)}",
                "it is left out",
            )
            continue
        amount = None if resource.step is None else float(resource.step)
        steps.append(Step(name, amount, resource.step_percent))
    return tuple(steps)
