"""What is told to the only process that writes cgroups: requests over its socket, and the journal
that an earlier one has left.

Whatever is asked, what is put back is as it was, and nothing but the root that may be touched is.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count
from random import Random

from msgspec import json as msgjson

from exporter.actuator.cgroups import Hierarchy, NotAllowed, Roots
from exporter.actuator.force import Force
from exporter.actuator.journal import JOURNAL, Content, Entry, Journal, JournalError, Record
from exporter.actuator.knobs import Unfit
from exporter.actuator.protocol import (
    Answer,
    Look,
    Set,
    Undo,
    encode,
    read_answer,
    read_request,
    read_start,
)
from tests.actuator.trees import V1_CPU, V2, make
from tests.fuzz.ground import folder
from tests.fuzz.mutate import spoil_json
from tests.fuzz.target import Case, Target

_BOOT = "11111111-2222-3333-4444-555555555555"
_ROOT, _OTHER = "kubepods/besteffort", "kubepods/burstable"
_FILES: Mapping[int, Mapping[str, str]] = {1: V1_CPU, 2: V2}
_numbers = count()


class _Machine:
    """One hierarchy as files, of which the root and what is in it may be touched."""

    def __init__(self, version: int) -> None:
        self._place = folder() / f"machine{next(_numbers)}"
        self._cgroups = self._place / "cgroup"
        for path in (_ROOT, f"{_ROOT}/pod1", _OTHER):
            make(self._cgroups, path, _FILES[version])
        make(self._place, "outside", _FILES[version])
        self.state = self._place / "state"
        self.state.mkdir(mode=0o700)
        self._found = {
            name: Hierarchy(name, version, str(self._cgroups)) for name in ("cpu", "memory", "io")
        }

    def force(self) -> Force:
        self.journal = Journal(str(self.state), _BOOT)
        self.journal.open()
        return Force(self.journal, self._found, Roots((_ROOT,), False))

    def inode(self, path: str = _ROOT) -> int:
        return (self._cgroups / path).stat().st_ino

    def values(self) -> dict[str, str]:
        """Of all files; io.max says nothing where a line of it says "max" of everything."""
        found = {}
        for path in self._place.rglob("*"):
            if path.is_file() and self.state not in path.parents:
                text = path.read_text().strip()
                found[str(path)] = "" if path.name == "io.max" else text
        return found

    def foreign(self) -> dict[str, str]:
        """Those that nobody may touch."""
        mine = str(self._cgroups / _ROOT)
        return {path: text for path, text in self.values().items() if not path.startswith(mine)}

    def close(self) -> None:
        self.journal.close()
        shutil.rmtree(self._place)


def _act(force: Force, data: bytes) -> None:
    request = read_request(data)
    match request:
        case Set():
            force.set(request)
        case Look():
            force.look(request)
        case Undo():
            force.undo(request.run, request.knob, request.path)
    force.held()


def _asked(version: int, data: bytes) -> None:
    """A request a line, as a worker does them; then all is put back."""
    machine = _Machine(version)
    try:
        before, force = machine.values(), machine.force()
        for line in data.split(b"\n")[:8]:
            try:
                _act(force, line)
            except (ValueError, NotAllowed, Unfit, JournalError, OSError) as error:
                assert str(error)
            assert machine.foreign().items() <= before.items()
        force.undo_all()
        assert machine.values() == before
        assert not (machine.state / JOURNAL).exists()
    finally:
        machine.close()


def _left(version: int, data: bytes) -> None:
    """A journal that somebody else wrote, as far as the root goes."""
    machine = _Machine(version)
    try:
        path = machine.state / JOURNAL
        path.write_bytes(data.replace(b'"inode":7', b'"inode":%d' % machine.inode()))
        path.chmod(0o600)
        before = machine.foreign()
        force = machine.force()
        assert all(note.isprintable() for note in force.take_over())
        force.held()
        force.undo_all()
        assert machine.foreign() == before
    finally:
        machine.close()


def _requests() -> Iterator[str]:
    limits = {"cpu_quota": {"cores": 1.5}, "memory_high": {"bytes": 1e9}, "preempt": {}}
    limits["io"] = {"rbps": 1e6, "wiops": 7}
    for knob, wanted in limits.items():
        yield json.dumps({"do": "set", "id": 1, "run": "r", "knob": knob, "limits": wanted})
    target = {"path": f"{_ROOT}/pod1", "uid": "", "inode": None}
    yield json.dumps({"do": "set", "run": "q", "knob": "cpu_quota", "limits": {"cores": 0.5},
                      "target": target, "seconds": 5, "dry": False})  # fmt: skip
    yield json.dumps({"do": "look", "knob": "memory_high", "target": target})
    yield json.dumps({"do": "undo", "run": "r", "knob": "cpu_quota", "path": _ROOT})
    yield json.dumps({"do": "move", "job": "web", "processes": [[7, 100]]})
    yield json.dumps({"do": "run", "command": "slo", "seconds": 1})


def _seeds() -> list[bytes]:
    lines = [text.encode() for text in _requests()]
    return [*lines, b"\n".join(lines[:4]), b"\n".join((lines[0], lines[4], lines[6]))]


def _journals() -> list[bytes]:
    record = Record("cpu.max", "max 100000", "50000 100000")
    quota = Record("cpu.cfs_quota_us", "-1", "50000", previous="60000")
    io = Record("io.max", "", "254:0 rbps=1 wbps=max riops=max wiops=max", key="254:0")
    entries = [
        Entry(controller, _ROOT, 7, "", knob, {"r": limits}, records)
        for controller, knob, limits, records in (
            ("cpu", "cpu_quota", {"cores": 0.5}, (record,)),
            ("cpu", "cpu_quota", {"cores": 0.5}, (quota,)),
            ("io", "io", {"rbps": 1.0}, (io,)),
            ("cpu", "preempt", dict[str, float](), (Record("cpu.idle", "0", "1"),)),
        )
    ]
    return [msgjson.encode(Content(boot=_BOOT, entries=(each,))) for each in entries]


def _spoil_lines(data: bytes, chance: Random) -> bytes:
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    lines[at] = spoil_json(lines[at], chance)
    return b"\n".join(lines)


def _told(read: Callable[[bytes], object], data: bytes) -> None:
    read(data)


_START = b'{"state_dir": "/x", "roots": ["a"], "jobs": ["web"], "commands": {"slo": ["/bin/true"]}}'

TARGET = Target(
    "actuator",
    "requests to the process that writes cgroups, carried out on v1 and v2 and put back; journals",
    (
        Case("asked v1", partial(_asked, 1), _seeds, _spoil_lines, examples=30),
        Case("asked v2", partial(_asked, 2), _seeds, _spoil_lines, examples=30),
        Case("journal v1", partial(_left, 1), _journals, spoil_json, (JournalError,)),
        Case("journal v2", partial(_left, 2), _journals, spoil_json, (JournalError,)),
        Case("start", partial(_told, read_start), lambda: [_START], spoil_json, (ValueError,)),
        Case(
            "answer",
            partial(_told, read_answer),
            lambda: [encode(Answer(1, notes=("a",), output="x", status=0))],
            spoil_json,
            (ValueError,),
        ),
    ),
    4096,
)
