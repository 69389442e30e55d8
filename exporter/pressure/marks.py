"""What should stand on a Node for its levels: labels, a condition, a taint, annotations. Pure.

The rule: a mark says that there is pressure; calm is the absence of labels and taint, and what is
unknown is told by the condition alone. Control-plane nodes are never marked. Knows no API.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Literal, NamedTuple

from exporter.pressure.levels import Level

CONDITION = "KernmeshPressure"
# dynamicScheduler's label, exactly so spelt.
LEGACY_KEY, LEGACY_VALUE = "status", "presure"
# Since 1.20, and until 1.24: https://kubernetes.io/docs/reference/labels-annotations-taints/
CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
HEARTBEAT_SECONDS = 300.0
"""How often whoever marked a Node says, while it is pressed, that he lives."""
HEARTBEAT_STALE_SECONDS = 3 * HEARTBEAT_SECONDS
"""Marks without a newer heartbeat than that were left behind: a janitor may remove them."""


class Marks(NamedTuple):
    """Which marks there are. `prefix` begins the names of labels, annotation and taint, with its
    slash. `legacy_status` adds dynamicScheduler's label while anything is pressed; `labels` False
    leaves out our own. `heartbeat`: say while pressed that whoever marked it lives."""

    prefix: str = "kernmesh.io/"
    labels: bool = True
    legacy_status: bool = False
    condition: bool = True
    taint: bool = False
    heartbeat: bool = True

    def label(self, resource: str) -> str:
        return f"{self.prefix}pressure-{resource}"

    @property
    def heartbeat_key(self) -> str:
        return f"{self.prefix}pressure-heartbeat"

    @property
    def taint_key(self) -> str:
        return f"{self.prefix}pressure"


class Condition(NamedTuple):
    """Of type CONDITION. `reason` is one CamelCase word, `message` a sentence; both follow from
    the levels, so they change only with them."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


class Wanted(NamedTuple):
    """All that we want to stand on one Node; what is not in it and ours shall go. `taint`: a
    PreferNoSchedule taint."""

    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    condition: Condition | None = None
    taint: bool = False


NOTHING = Wanted()


def wanted(
    levels: Mapping[str, Level],
    marks: Marks,
    *,
    control_plane: bool = False,
    heartbeat: str = "",
    annotations: Mapping[str, str] | None = None,
) -> Wanted:
    """`levels` by resource ("cpu"). `heartbeat` is the text of the last one that was due.
    `annotations` stand whatever the levels are, on control-plane nodes too: they mark nothing."""
    notes = dict(annotations or {})
    if control_plane:
        return Wanted(annotations=notes)
    pressed = [resource for resource, level in levels.items() if level == "pressed"]
    labels = {marks.label(resource): "true" for resource in pressed} if marks.labels else {}
    if pressed and marks.legacy_status:
        labels[LEGACY_KEY] = LEGACY_VALUE
    if pressed and marks.heartbeat and heartbeat:
        notes[marks.heartbeat_key] = heartbeat
    return Wanted(
        labels,
        notes,
        _condition(levels, pressed) if marks.condition else None,
        bool(pressed) and marks.taint,
    )


def _condition(levels: Mapping[str, Level], pressed: Sequence[str]) -> Condition:
    if pressed:
        return Condition("True", _reason(pressed, "Pressure"), f"under pressure: {_list(pressed)}")
    unknown = [resource for resource, level in levels.items() if level == "unknown"]
    if unknown:
        return Condition("Unknown", _reason(unknown, "Unknown"), f"no data of: {_list(unknown)}")
    return Condition(
        "False", "NoPressure", f"no pressure: {_list(list(levels)) or 'none is asked'}"
    )


def _reason(resources: Sequence[str], end: str) -> str:
    """A word as conditions want it: letters, digits and _ (meta/v1 Condition, reason)."""
    words = ("".join(c for c in name.title() if c.isascii() and c.isalnum()) for name in resources)
    return "".join(words)[:200] + end


def _list(resources: Sequence[str]) -> str:
    return ", ".join(resources)


def stamp(wall: float, zone: tzinfo = UTC) -> str:
    """RFC 3339 in UTC to the second, as metav1.Time is written; in another zone as crane has it,
    whose Z is a letter only."""
    return datetime.fromtimestamp(wall, zone).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamped(text: str) -> float | None:
    """Seconds since the epoch of what `stamp` wrote; None for anything else."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
