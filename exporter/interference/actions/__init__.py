"""What can be done about an incident, one module each; the table of them is here.

The rule (model.Action): idempotent, never raises, undone by `clear`; a dry action says what it
would do. Only the actuator writes cgroups. Knows neither rules nor signals.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from exporter.actuator.client import Ask
from exporter.clock import Clock
from exporter.interference.actions.adjust import Adjust, Used
from exporter.interference.actions.confirm import Confirm
from exporter.interference.actions.evict import Evict, EvictionRequest, Evictions
from exporter.interference.actions.log import Log
from exporter.interference.actions.offline import Offline
from exporter.interference.actions.preempt import Preempt
from exporter.interference.actions.schedule import Schedule, ScheduleFlag
from exporter.interference.actions.throttle_io import ThrottleIo
from exporter.interference.actions.webhook import Webhook
from exporter.interference.model import Action, ActionKind, Subject

__all__ = ["Actions", "EvictionRequest", "ScheduleFlag", "make_actions"]


class Actions(NamedTuple):
    """`table` by kind. `schedule` and `evictions` are what /interference shows and the labeller
    reads. Close it before the actuator."""

    table: Mapping[ActionKind, Action]
    confirm: Confirm
    schedule: ScheduleFlag
    evictions: Evictions
    webhook: Webhook

    def close(self) -> None:
        self.webhook.close()


def make_actions(
    ask: Ask,
    clock: Clock,
    *,
    dry_run: bool = True,
    confirm: bool = False,
    node: str = "",
    used: Used = lambda path, resource: None,
    pods: Callable[[], Sequence[Subject]] = tuple,
) -> Actions:
    """`ask` is an Actuator's. `used`: what a cgroup uses lately (Adjust). `pods`: those that are
    offline by an annotation and stand elsewhere than in the offline cgroups."""
    offline = Offline(ask, dry_run, pods)
    flag, evictions = ScheduleFlag(), Evictions(clock)
    webhook = Webhook(clock, node, dry_run)
    webhook.start()
    table: dict[ActionKind, Action] = {
        "log": Log(),
        "webhook": webhook,
        "schedule": Schedule(flag, dry_run),
        "adjust": Adjust(offline, used),
        "preempt": Preempt(offline),
        "io": ThrottleIo(offline),
        "evict": Evict(evictions, clock, dry_run),
    }
    return Actions(table, Confirm(offline, confirm), flag, evictions, webhook)
