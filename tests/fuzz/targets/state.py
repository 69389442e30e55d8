"""What an earlier run has left, or another machine has recorded: the store's files, saved
predictions, states of rules, members of the mesh.

Checksums are made right again after most changes: without that nothing behind them is reached.
"""

import json
import struct
from functools import cache
from pathlib import Path
from random import Random
from zlib import crc32

from exporter.interference.saved_states import decode, encode
from exporter.usage import layout, store
from exporter.usage.idle import Prediction
from exporter.usage.record import lines, read
from exporter.usage.series import Series
from exporter.usage.store import Now
from pingmesh.kubernetes_kept import load_kept
from tests.fuzz.ground import folder, put
from tests.fuzz.mutate import spoil_json, spoil_words
from tests.fuzz.target import Case, Target

_NOW = Now(2000.0, 1_763_800_000.0, "boot")
_SERIES = (
    Series("node.cpu.busy_seconds", "counter"),
    Series("node.mem", "gauge"),
    Series("x", "gauge"),
)
_PART = struct.Struct("<III")


@cache
def _recording() -> bytes:
    path = folder() / "made.usage"
    made = store.create(path, 10.0, 60.0, Now(1000.0, _NOW.wall - 1000, "boot"))
    for tick in range(30):
        values = {series: float(tick * at) for at, series in enumerate(_SERIES, 1)}
        made.put(1000.0 + 10 * tick, _NOW.wall - 1000 + 10 * tick, values)
    made.close()
    return path.read_bytes()


def spoil_store(data: bytes, chance: Random) -> bytes:
    """Words of header, directories or rows; checksums as they should be, mostly."""
    rows = layout.PAGE + 2 * layout.directory_room(4)
    places = [(0, 48), (layout.PAGE, 400), (layout.PAGE + (rows - layout.PAGE) // 2, 400)]
    at, size = chance.choice([*places, (rows, len(data))])
    data = data[:at] + spoil_words(data[at : at + size], chance) + data[at + size :]
    return mended(data) if chance.randrange(5) else data


def mended(data: bytes) -> bytes:
    """With checksums that fit what is there, as far as there is room for them."""
    changed = bytearray(data)
    if len(changed) < layout.PAGE:
        return data
    head = 40  # of "<16sIIIId"
    struct.pack_into("<I", changed, head, crc32(changed[:head]))
    _, _, rows, columns, directory, interval = struct.unpack_from("<16sIIIId", changed)
    for start in (layout.PAGE, layout.PAGE + directory):
        if start + _PART.size <= len(changed):
            generation, length, _ = _PART.unpack_from(changed, start)
            body = bytes(changed[start + _PART.size : start + _PART.size + length])
            _PART.pack_into(changed, start, generation, length, crc32(body, generation))
    shape = layout.Shape(interval, rows, columns, directory)
    at = shape.first_row
    while shape.pitch > 0 and at + shape.pitch <= len(changed):
        elapsed, wall, generation, _ = layout.ROW_HEAD.unpack_from(changed, at)
        values = bytes(changed[at + layout.ROW_HEAD.size : at + shape.pitch])
        check = layout.row_checksum(elapsed, wall, generation, values)
        layout.ROW_HEAD.pack_into(changed, at, elapsed, wall, generation, check)
        at += shape.pitch
    return bytes(changed)


def _replayed(data: bytes) -> None:
    """`kernmesh replay FILE`."""
    recording = read(put("x.usage", data))
    try:
        for line in lines(recording):
            assert line.isprintable(), line
    finally:
        recording.close()


def _opened(data: bytes) -> None:
    """As an agent opens its own at its start: it goes on, with the past or without."""
    path = put("own.usage", data)
    found, note = store.open_file(path, 10.0, 60.0, _NOW)
    try:
        assert "\n" not in note
        for tick in range(1, 4):
            values = dict.fromkeys((*found.series()[:4], *_SERIES), 1.0)
            assert found.put(_NOW.monotonic + 10 * tick, _NOW.wall + 10 * tick, values)
        for series in found.series()[:8]:
            found.window(series, 60.0)
    finally:
        found.close()
        Path(f"{path}.bad").unlink(missing_ok=True)


def _predicted(data: bytes) -> None:
    """What is loaded can be asked, added to and saved."""
    prediction = Prediction()
    prediction.load(data, 1000.0, _NOW.wall)
    prediction.idle(8.0, 1e10)
    prediction.add_cpu(1.0, 10.0, 1010.0)
    prediction.add_memory(1e9, 1010.0)
    prediction.idle(8.0, 1e10)
    prediction.load(prediction.save(1020.0, _NOW.wall), 1020.0, _NOW.wall)


@cache
def _saved() -> bytes:
    prediction = Prediction()
    for tick in range(10):
        prediction.add_cpu(tick / 4, 10.0, 1000.0 + 10 * tick)
        prediction.add_memory(1e9 + 1e8 * tick, 1000.0 + 10 * tick)
    return prediction.save(1100.0, _NOW.wall)


def _states(data: bytes) -> None:
    decode(data, "boot", 2000.0)


def _kept(data: bytes) -> None:
    found = load_kept(put("kept.json", data), "asked")
    assert found is None or found.asked == "asked"


_STATES = {
    "format": 1, "boot": "boot", "at": 5.0,
    "states": [{"rule": "r", "subject": ["node", ""], "entry": 0, "phase": "ok",
                "since": 1.0, "asked": 1.0, "held": None, "quiet": None, "handled": 0.0,
                "eased": 0.0, "cleared": None, "incident": None}],
}  # fmt: skip
_KEPT = [
    "asked",
    1.0,
    [["n", "z", "r", ["10.0.0.1"], "t"]],
    [["ns", "p", "n", ["10.1.0.1"], ""]],
    None,
]

TARGET = Target(
    "state",
    "the store's files as an agent opens them and as `kernmesh replay` reads them, saved "
    "predictions, states of rules, members kept",
    (
        Case("replay", _replayed, lambda: [_recording()], spoil_store),
        Case("open", _opened, lambda: [_recording()], spoil_store),
        Case("prediction", _predicted, lambda: [_saved()], spoil_json, (ValueError,)),
        Case(
            "rules",
            _states,
            lambda: [encode("boot", 5.0, ()), json.dumps(_STATES).encode()],
            spoil_json,
        ),
        Case("kept", _kept, lambda: [json.dumps(_KEPT).encode()], spoil_json),
    ),
    1 << 15,
)
