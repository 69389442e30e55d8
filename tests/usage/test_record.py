"""Recordings: what is written is what can be read, by the process and by the command."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.errors import KernmeshError
from exporter.testing import FakeClock, fake_host
from exporter.usage import record
from exporter.usage.record import Recorded, SeriesSummary
from exporter.usage.series import Series, Source
from exporter.usage.statedir import StateDir, TierPlan
from exporter.usage.store import Now

GAUGE, COUNTER = Series("a.level", "gauge"), Series("a.things", "counter")
SOURCE = Source("a", ("fast",), lambda: lambda now: {GAUGE: now, COUNTER: now * now})
KERNMESH = (sys.executable, "-m", "exporter.cli")


def recorded(folder: Path, seconds: float, stop_after: int = 1000) -> Recorded:
    """Every second; the clock goes on only while it pauses."""
    clock = FakeClock(monotonic=0.0, wall=0.0)
    pauses = 0

    def pause(wait: float) -> bool:
        nonlocal pauses
        pauses += 1
        clock.advance(wait)
        return pauses < stop_after

    host = fake_host(folder, {})
    return record.record(folder / "r", clock, host, [SOURCE], 1.0, seconds, pause)


def test_a_recording_holds_what_was_read_and_when(tmp_path: Path) -> None:
    done = recorded(tmp_path, 4.0)
    assert (done.rows, done.series) == (5, 2)
    assert (tmp_path / "r").stat().st_size == done.bytes
    again = record.read(tmp_path / "r")
    assert record.summary(again) == [
        SeriesSummary(GAUGE, 5, 0.0, 2.0, 4.0),
        SeriesSummary(COUNTER, 4, 1.0, 4.0, 7.0),
    ]
    assert list(record.lines(again)) == [
        "5 rows over 4 s, from 1970-01-01T00:00:00Z to 1970-01-01T00:00:04Z",
        "series    samples         least          mean          most",
        "a.level         5             0             2             4",
        "a.things        4             1             4             7/s",
    ]
    again.close()


def test_it_ends_when_it_is_told_to(tmp_path: Path) -> None:
    assert recorded(tmp_path, 100.0, stop_after=3).rows == 3


def test_a_recording_is_not_written_over(tmp_path: Path) -> None:
    recorded(tmp_path, 2.0)
    before = (tmp_path / "r").read_bytes()
    with pytest.raises(KernmeshError, match="is there already"):
        recorded(tmp_path, 2.0)
    assert (tmp_path / "r").read_bytes() == before


def test_where_nothing_can_be_written_that_is_said(tmp_path: Path) -> None:
    clock, host = FakeClock(), fake_host(tmp_path, {})
    with pytest.raises(KernmeshError, match="/nowhere/r: cannot be written: No such file"):
        record.record(Path("/nowhere/r"), clock, host, [SOURCE], 1.0, 1.0, lambda wait: False)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot be read: No such file"), (b"text", "not a file of kernmesh's")],
)
def test_what_is_no_recording_is_said(tmp_path: Path, content: bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / "r").write_bytes(content)
    with pytest.raises(KernmeshError, match=problem):
        record.read(tmp_path / "r")


def test_an_agents_own_file_can_be_looked_into(tmp_path: Path) -> None:
    state = StateDir(str(tmp_path))
    store = state.open_store("slow", TierPlan(10.0, 1000.0), Now(0.0, 0.0, "boot"))
    empty = record.read(tmp_path / "slow.usage")
    assert list(record.lines(empty)) == ["no rows"]
    empty.close()
    store.put(1.0, 0.0, {GAUGE: 7.0})
    seen = record.read(tmp_path / "slow.usage")
    assert record.summary(seen) == [SeriesSummary(GAUGE, 1, 7.0, 7.0, 7.0)]
    for each in (seen, store, state):
        each.close()


def test_the_commands_record_this_machine_and_show_it(tmp_path: Path) -> None:
    file = tmp_path / "machine"
    recording = subprocess.Popen(
        [*KERNMESH, "record", file, "--interval", "100ms"], stdout=subprocess.PIPE, text=True
    )
    while True:  # until it has two rows: the file is where it ends up from the first on
        try:
            seen = record.read(file)
        except KernmeshError:
            assert recording.poll() is None
            continue
        rows = seen.end
        seen.close()
        if rows >= 2:
            break
    recording.send_signal(signal.SIGTERM)
    said, _ = recording.communicate(timeout=60)
    assert recording.returncode == 0
    assert said.startswith(f"{file}: ") and " series, " in said
    shown = subprocess.run([*KERNMESH, "replay", file], capture_output=True, text=True, check=True)
    assert "node.cpu.busy_seconds" in shown.stdout


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--interval", "5"], "--interval: not a duration, got 5"),
        (["--for", "x"], "--for: not a duration, got x"),
        (["--interval", "10ms"], "--interval: want at least 100ms"),
        (["--interval", "2s", "--for", "1s"], "--interval: want at least 100ms"),
    ],
)
def test_flags_that_make_no_sense_are_said(tmp_path: Path, flags: list[str], problem: str) -> None:
    done = subprocess.run(
        [*KERNMESH, "record", tmp_path / "r", *flags], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.startswith(f"kernmesh: {problem}")) == (1, True)
    assert not (tmp_path / "r").exists()
