"""What goes over the actuator's socket: one JSON object a datagram, at most 64 KiB, checked whole.

The rule: a request names what it wants (a knob, a limit), never a file; and what may be touched is
told once, in Start, by whoever started the process.
"""

import math
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

MOST_BYTES = 65_536
MOST_PIDS = 512

T = TypeVar("T")

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]
Path = Annotated[str, Meta(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]
Knob = Literal["cpu_quota", "preempt", "memory_high", "io"]
LIMITS: dict[Knob, frozenset[str]] = {
    "cpu_quota": frozenset({"cores"}),
    "preempt": frozenset(),
    "memory_high": frozenset({"bytes"}),
    "io": frozenset({"rbps", "wbps", "riops", "wiops"}),
}
"""Which limits a knob takes: cores, bytes; io's by the names of io.max, per second."""


class Start(Struct, frozen=True, forbid_unknown_fields=True):
    """The first datagram, once. `roots` are usage.offline.cgroups. With `pods` a request may also
    name a pod that stands elsewhere below kubepods, by its uid: that it is offline is then the
    agent's word (an annotation). `commands` may be run by their names. `jobs` may be moved into
    cgroups of their own. `state_dir` None: no journal, and so nothing is ever changed. `drop`: it
    lets go of privileges that this does not take."""

    state_dir: str | None
    roots: tuple[Path, ...]
    pods: bool = False
    jobs: tuple[Name, ...] = ()
    commands: dict[Name, Annotated[tuple[Name, ...], Meta(min_length=1)]] = {}
    drop: bool = False
    proc: str = "/proc"
    sys: str = "/sys"
    cgroup: str = "/sys/fs/cgroup"
    root: str = "/"


class Target(Struct, frozen=True, forbid_unknown_fields=True):
    """A cgroup below the mounts. `uid` is its pod's, "" for none; `inode` that of its folder as
    the asker saw it (in the knob's hierarchy), None where it did not look."""

    path: Path
    uid: str = ""
    inode: int | None = None


class Request(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag=str.lower, kw_only=True
):
    id: Annotated[int, Meta(ge=0)] = 0


class Set(Request, frozen=True, forbid_unknown_fields=True, tag="set", kw_only=True):
    """`run` wants this of the target (None: of every offline root there is), instead of what it
    wanted of it before. Of what several runs want the strictest is in force. `seconds`: it is
    undone by itself after so many. `dry`: all is checked and nothing written."""

    run: Name
    knob: Knob
    target: Target | None = None
    limits: dict[str, float] = {}
    seconds: Annotated[float, Meta(gt=0, le=3600)] | None = None
    dry: bool = False


class Look(Request, frozen=True, forbid_unknown_fields=True, tag="look", kw_only=True):
    """What the knob's cgroups have now: the target, or every offline root there is."""

    knob: Knob
    target: Target | None = None


class Undo(Request, frozen=True, forbid_unknown_fields=True, tag="undo", kw_only=True):
    """What `run` wants, it wants no more: of `knob` at `path`; None: of any."""

    run: Name
    knob: Knob | None = None
    path: Path | None = None


class UndoAll(Request, frozen=True, forbid_unknown_fields=True, tag="undoall", kw_only=True):
    """Everything is put back, moved processes too."""


class Process(Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """`began` is field 22 of /proc/<pid>/stat, so that a number used again is noticed."""

    pid: Annotated[int, Meta(ge=2)]
    began: Annotated[int, Meta(ge=0)]


class Move(Request, frozen=True, forbid_unknown_fields=True, tag="move", kw_only=True):
    """These processes belong into the cgroup of this job, one of Start.jobs."""

    job: Name
    processes: Annotated[tuple[Process, ...], Meta(max_length=MOST_PIDS)]


class Run(Request, frozen=True, forbid_unknown_fields=True, tag="run", kw_only=True):
    """Runs one of Start.commands, and answers when it has ended or its time is over."""

    command: Name
    seconds: Annotated[float, Meta(gt=0, le=60)] = 5.0


class InForce(Request, frozen=True, forbid_unknown_fields=True, tag="inforce", kw_only=True):
    """What is changed now."""


AnyRequest = Set | Look | Undo | UndoAll | Move | Run | InForce


class Change(Struct, frozen=True):
    """One value of one file: "cpu:/kubepods/besteffort/cpu.idle", its value before and now (or as
    it would be)."""

    file: str
    before: str
    after: str


class Place(Struct, frozen=True):
    """One cgroup as Look found it. `limit` is what it may take (cores, bytes), `now` what it has
    (bytes); None where there is none or no file says."""

    path: str
    inode: int
    limit: float | None = None
    now: float | None = None


class Held(Struct, frozen=True):
    """One cgroup that is changed: by whom, and what."""

    path: str
    knob: str
    runs: tuple[str, ...]
    changes: tuple[Change, ...]


class Answer(Struct, frozen=True, omit_defaults=True):
    """To the request `id`; id 0: said unasked (`hello`: the process has just begun, and whatever
    was asked of one before it is lost). `refused` says why nothing was done, "" where it was;
    `failed`: not because it may not be, but because it did not work. `notes` are lines for the
    log: what was left alone, what failed."""

    id: int
    refused: str = ""
    failed: bool = False
    hello: bool = False
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    held: tuple[Held, ...] = ()
    moved: int = 0
    status: int | None = None
    output: str = ""


_requests = msgspec.json.Decoder(AnyRequest)
_start = msgspec.json.Decoder(Start)
_answers = msgspec.json.Decoder(Answer)


def read_request(data: bytes) -> AnyRequest:
    """Raises ValueError, in one line, for whatever is none."""
    if len(data) > MOST_BYTES:
        raise ValueError(f"{len(data)} bytes, want at most {MOST_BYTES}")
    request: AnyRequest = _decoded(_requests, data)
    if isinstance(request, Set):
        known = LIMITS[request.knob]
        if request.limits.keys() - known or (known and not request.limits):
            want = ", ".join(sorted(known)) or "none"
            raise ValueError(f"limits of {request.knob}: got {sorted(request.limits)}, want {want}")
        for name, value in request.limits.items():
            if not (math.isfinite(value) and 0 < value < 1 << 62):
                raise ValueError(f"limit {name}: got {value}, want a number above 0")
    return request


def read_start(data: bytes) -> Start:
    """Raises ValueError."""
    return _decoded(_start, data)


def read_answer(data: bytes) -> Answer:
    """Raises ValueError."""
    return _decoded(_answers, data)


def _decoded(decoder: "msgspec.json.Decoder[T]", data: bytes) -> T:
    """What is nested without end is passed over until a tag or a key tells what it is."""
    try:
        return decoder.decode(data)
    except RecursionError as error:
        raise ValueError(str(error)) from error


def encode(message: AnyRequest | Start | Answer) -> bytes:
    """Of an answer too long for a datagram, what it lists is cut."""
    data = msgspec.json.encode(message)
    if len(data) > MOST_BYTES and isinstance(message, Answer):
        return encode(
            msgspec.structs.replace(
                message,
                changes=message.changes[: len(message.changes) // 2],
                held=message.held[: len(message.held) // 2],
                places=message.places[: len(message.places) // 2],
                notes=tuple(note[:500] for note in message.notes[: len(message.notes) // 2]),
                output=message.output[: len(message.output) // 2],
            )
        )
    return data
