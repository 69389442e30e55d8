"""The engine's states as bytes, and back: JSON that is checked before anything is believed.

The rule: states of another boot, another format or another machine's hand are refused whole, with
the reason; the engine then begins anew. Knows no engine.
"""

from typing import Literal

import msgspec

from exporter.errors import KernmeshError
from exporter.interference.model import Incident, Phase, Subject

FORMAT: Literal[1] = 1


class SavedState(msgspec.Struct, frozen=True):
    """One state; `rule` is the rule's identity, seconds are elapsed ones of the boot."""

    rule: str
    subject: Subject
    entry: int
    phase: Phase
    since: float
    asked: float
    held: float | None
    quiet: float | None
    handled: float
    eased: float
    cleared: float | None
    incident: Incident | None
    gave_back: float | None = None
    relapses: int = 0


class SavedStates(msgspec.Struct, frozen=True):
    """`at` is the elapsed second of saving; `evicted` the monotonic one at which an eviction was
    last asked for, None where none was."""

    format: Literal[1]
    boot: str
    at: float
    states: tuple[SavedState, ...]
    evicted: float | None = None


def encode(
    boot: str, at: float, states: tuple[SavedState, ...], evicted: float | None = None
) -> bytes:
    return msgspec.json.encode(SavedStates(FORMAT, boot, at, states, evicted))


def decode(data: bytes, boot: str, now: float) -> SavedStates:
    """Raises KernmeshError with the reason why it is not to be used."""
    try:
        saved = msgspec.json.decode(data, type=SavedStates)
    except (ValueError, RecursionError) as error:
        raise KernmeshError(
            f"saved states of interference rules are not readable: {error}"
        ) from None
    if saved.boot != boot:
        raise KernmeshError("saved states of interference rules are of another boot")
    if saved.at > now + 1.0:
        raise KernmeshError("saved states of interference rules are of a later time than now")
    for state in saved.states:
        if (state.phase in ("firing", "recovering")) != (state.incident is not None):
            raise KernmeshError("saved states of interference rules contradict themselves")
    return saved
