"""The store: what is put in comes out, whatever happens to clocks, counters, files and machines."""

import logging
import math
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from exporter.usage import layout, window
from exporter.usage.columns import CROWDED_COLUMNS, CROWDED_GRACE_ROWS, GRACE_ROWS
from exporter.usage.layout import Refused
from exporter.usage.series import Series
from exporter.usage.statedir import StateDir, TierPlan
from exporter.usage.store import (
    MAX_COLUMNS,
    Now,
    Store,
    create,
    in_memory,
    open_file,
    read_file,
    rows_for,
)
from tests.usage.ticking import NUMBER, TOTAL

GAUGE = Series("node.mem.usage", "gauge")
COUNTER = Series("node.cpu.busy_seconds", "counter")
DAY = 86400.0
START = Now(1000.0, 1.7e9, "boot-1")


def later(seconds: float, wall: float | None = None, boot: str = "boot-1") -> Now:
    """`seconds` after START; the wall clock has gone as far unless it is said otherwise."""
    passed = seconds if wall is None else wall
    return Now(START.monotonic + seconds, START.wall + passed, boot)


def fill(store: Store, series: Series, values: list[float], start: float = 0.0) -> float:
    """A value every 10 s from `start` seconds after START; the time of the last."""
    at = start
    for index, value in enumerate(values):
        at = start + 10.0 * index
        assert store.put(START.monotonic + at, START.wall + at, {series: value})
    return at


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = (
        in_memory(10.0, DAY, START)
        if request.param == "memory"
        else open_file(tmp_path / "slow.usage", 10.0, DAY, START)[0]
    )
    yield made
    made.close()


class TestRows:
    def test_gauges_come_out_as_they_went_in(self, store: Store) -> None:
        fill(store, GAUGE, [1.0, 2.5, 3.0])
        found = store.window(GAUGE, DAY)
        assert list(found.values) == [1.0, 2.5, 3.0]
        assert [b - a for a, b in zip(found.elapsed, found.elapsed[1:], strict=False)] == [10, 10]

    def test_a_counter_is_kept_as_deltas_of_which_the_first_is_unknown(self, store: Store) -> None:
        fill(store, COUNTER, [5000.0, 5001.0, 5004.0])
        assert list(store.window(COUNTER, DAY).values) == [1.0, 3.0]
        assert window.rate(store.window(COUNTER, DAY)) == 0.2

    def test_a_total_over_what_float32_can_count_loses_nothing(self, store: Store) -> None:
        total = 2.0**40 + 1
        fill(store, COUNTER, [total, total + 1, total + 3])
        assert list(store.window(COUNTER, DAY).values) == [1.0, 2.0]

    def test_a_counter_that_began_anew_costs_one_delta(self, store: Store) -> None:
        fill(store, COUNTER, [100.0, 110.0, 3.0, 5.0])
        assert list(store.window(COUNTER, DAY).values) == [10.0, 2.0]
        assert window.rate(store.window(COUNTER, DAY)) == 0.6

    def test_a_series_missing_once_has_no_value_there_and_no_delta_after(
        self, store: Store
    ) -> None:
        for tick, total in enumerate([1.0, 2.0, None, 9.0, 10.0]):
            values: Mapping[Series, float] = {GAUGE: float(tick)}
            if total is not None:
                values = {**values, COUNTER: total}
            store.put(START.monotonic + 10 * tick, 0.0, values)
        assert list(store.window(COUNTER, DAY).values) == [1.0, 1.0]
        assert list(store.window(GAUGE, DAY).values) == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("seconds", [0.0, -1.0, -DAY])
    def test_a_tick_in_no_time_or_in_the_past_is_not_stored(
        self, store: Store, seconds: float
    ) -> None:
        store.put(START.monotonic, 0.0, {GAUGE: 1.0})
        assert not store.put(START.monotonic + seconds, 0.0, {GAUGE: 2.0})
        assert list(store.window(GAUGE, DAY).values) == [1.0]

    @pytest.mark.parametrize("step", [DAY, -DAY])
    def test_a_step_of_the_wall_clock_moves_nothing(self, store: Store, step: float) -> None:
        for tick in range(6):
            wall = START.wall + 10 * tick + (step if tick >= 3 else 0)
            store.put(START.monotonic + 10 * tick, wall, {GAUGE: float(tick)})
        found = store.window(GAUGE, 30.0)
        assert list(found.values) == [3, 4, 5]
        assert found.elapsed[-1] - found.elapsed[0] == 20

    def test_a_gap_in_the_ticks_is_in_elapsed_and_in_the_deltas_span(self, store: Store) -> None:
        fill(store, COUNTER, [0.0, 10.0])
        fill(store, COUNTER, [3610.0], start=3610.0)
        assert window.rate(store.window(COUNTER, DAY)) == 1.0
        assert list(store.window(COUNTER, 10.0).spans) == [3600.0]

    def test_a_window_ends_where_it_is_asked_to(self, store: Store) -> None:
        fill(store, GAUGE, [float(n) for n in range(10)])
        middle = store.elapsed_at(START.monotonic + 50)
        assert list(store.window(GAUGE, 20.0, middle).values) == [4, 5]
        assert list(store.window(GAUGE, 20.0).values) == [8, 9]

    def test_of_a_series_never_seen_nothing_is_known(self, store: Store) -> None:
        fill(store, GAUGE, [1.0])
        assert list(store.window(COUNTER, DAY).values) == []
        assert math.isnan(store.value(COUNTER, 0)) and math.isnan(store.value(GAUGE, 99))

    def test_the_ring_forgets_the_oldest_and_only_that(self, tmp_path: Path) -> None:
        store, _ = open_file(tmp_path / "x", 10.0, 100.0, START)
        count = rows_for(100.0, 10.0)
        fill(store, GAUGE, [float(n) for n in range(3 * count + 7)])
        assert list(store.window(GAUGE, DAY).values) == list(
            map(float, range(2 * count + 7, 3 * count + 7))
        )
        store.close()


class TestColumns:
    def test_a_new_series_takes_a_gone_ones_column_and_no_window_mixes_them(
        self, store: Store
    ) -> None:
        old, new = Series("pod/a.x", "counter"), Series("pod/b.x", "gauge")
        ticks = GRACE_ROWS + 6
        for tick in range(ticks):
            values: dict[Series, float] = {GAUGE: 1.0}
            if tick < 3:
                values[old] = 1000.0 * tick
            store.put(START.monotonic + 10 * tick, 0.0, values)
        columns = store.shape.columns
        assert list(store.window(old, DAY).values) == [1000.0, 1000.0]
        fill(store, new, [7.0, 8.0], start=10.0 * ticks)
        assert store.shape.columns == columns
        assert list(store.window(new, DAY).values) == [7.0, 8.0]
        assert list(store.window(old, DAY).values) == []
        assert old not in store.series()

    def test_what_comes_back_soon_finds_its_column_as_it_left_it(self, store: Store) -> None:
        fill(store, COUNTER, [1.0, 2.0])
        fill(store, GAUGE, [1.0] * (GRACE_ROWS - 3), start=20.0)
        at = 20.0 + 10 * GRACE_ROWS
        fill(store, COUNTER, [50.0, 51.0], start=at)
        assert list(store.window(COUNTER, DAY).values) == [1.0, 1.0]

    def test_a_series_that_is_kept_never_loses_its_column(self, store: Store) -> None:
        store.keep([GAUGE])
        fill(store, GAUGE, [1.0, 2.0])
        other, third = Series("a.b", "gauge"), Series("a.c", "gauge")
        at = fill(store, other, [0.0] * (3 * GRACE_ROWS), start=20.0)
        fill(store, third, [0.0], start=at + 10)
        assert list(store.window(GAUGE, DAY).values) == [1.0, 2.0]

    def test_growth_keeps_everything(self, store: Store) -> None:
        fill(store, GAUGE, [1.0, 2.0, 3.0])
        many = {Series(f"pod/{n}.cpu_seconds", "counter"): float(n) for n in range(500)}
        for tick in range(3, 6):
            values = {s: v * tick for s, v in many.items()} | {GAUGE: 4.0}
            store.put(START.monotonic + 10 * tick, 0.0, values)
        assert list(store.window(GAUGE, DAY).values) == [1, 2, 3, 4, 4, 4]
        assert list(store.window(list(many)[77], DAY).values) == [77, 77]
        assert store.shape.columns >= 501

    @pytest.mark.parametrize(
        ("kept", "taken"), [(10, False), (CROWDED_COLUMNS, True), (CROWDED_COLUMNS - 10, False)]
    )
    def test_where_columns_are_many_the_gone_lose_theirs_sooner(
        self, kept: int, taken: bool
    ) -> None:
        store = in_memory(10.0, DAY, START)
        stay = {Series(f"pod/{n}.x", "gauge"): 1.0 for n in range(kept - 2)}
        old, new = Series("pod/old.x", "gauge"), Series("pod/new.x", "gauge")
        store.put(START.monotonic, 0.0, {**stay, GAUGE: 1.0, old: 1.0})
        for tick in range(1, CROWDED_GRACE_ROWS + 3):
            store.put(START.monotonic + tick, 0.0, {**stay, GAUGE: 1.0})
        store.put(START.monotonic + 100, 0.0, {**stay, GAUGE: 1.0, new: 1.0})
        assert (old not in store.series()) is taken
        store.close()

    def test_more_series_than_any_node_has_are_left_out_and_counted(self) -> None:
        store = in_memory(10.0, 20.0, START)
        many = {Series(f"pod/{n}.x", "gauge"): 1.0 for n in range(MAX_COLUMNS + 3)}
        for tick in range(2):
            store.put(START.monotonic + tick, 0.0, many)
            assert (store.left_out, len(store.series())) == (3, MAX_COLUMNS)
        store.close()


class TestRestart:
    def again(self, path: Path, now: Now) -> Store:
        store, note = open_file(path, 10.0, DAY, now)
        assert note == ""
        return store

    def test_history_goes_on_and_only_the_delta_across_is_unknown(self, tmp_path: Path) -> None:
        path = tmp_path / "slow.usage"
        first, _ = open_file(path, 10.0, DAY, START)
        for tick in range(3):
            first.put(START.monotonic + 10 * tick, 0, {GAUGE: float(tick), COUNTER: 2.0 * tick})
        first.close()
        second = self.again(path, later(100))
        for tick in range(10, 12):
            second.put(START.monotonic + 10 * tick, 0, {GAUGE: float(tick), COUNTER: 2.0 * tick})
        found = second.window(GAUGE, DAY)
        assert list(found.values) == [0, 1, 2, 10, 11]
        assert found.elapsed[3] - found.elapsed[2] == 80.0
        assert list(second.window(COUNTER, DAY).values) == [2, 2, 2]
        second.close()

    @pytest.mark.parametrize(
        ("wall", "gap"),
        [(600.0, 600.0), (DAY * 30, DAY * 30), (0.0, 10.0), (-DAY, 10.0)],
        ids=["ten minutes", "a month", "no time", "set back a day"],
    )
    def test_after_a_reboot_history_lies_as_far_back_as_the_wall_clock_says(
        self, tmp_path: Path, wall: float, gap: float
    ) -> None:
        path = tmp_path / "slow.usage"
        first, _ = open_file(path, 10.0, DAY * 60, START)
        fill(first, GAUGE, [1.0])
        first.close()
        store, _ = open_file(path, 10.0, DAY * 60, Now(5.0, START.wall + wall, "boot-2"))
        store.put(5.0, START.wall + wall, {GAUGE: 2.0})
        found = store.window(GAUGE, DAY * 60)
        assert list(found.values) == [1.0, 2.0]
        assert found.elapsed[1] - found.elapsed[0] == pytest.approx(gap)
        store.close()

    def test_a_boot_without_an_id_is_another_one(self, tmp_path: Path) -> None:
        path = tmp_path / "slow.usage"
        first, _ = open_file(path, 10.0, DAY, START._replace(boot=""))
        fill(first, GAUGE, [1.0])
        first.close()
        second = self.again(path, later(50, wall=70, boot=""))
        assert second.elapsed_at(START.monotonic + 50) - second.last_elapsed == 70
        second.close()

    def test_another_interval_and_retention_take_over_what_fits(self, tmp_path: Path) -> None:
        path = tmp_path / "slow.usage"
        first, _ = open_file(path, 10.0, 1000.0, START)
        fill(first, GAUGE, [float(n) for n in range(80)])
        first.close()
        second, note = open_file(path, 30.0, 300.0, later(800))
        assert (note, second.shape.rows) == ("", rows_for(300.0, 30.0))
        assert list(second.window(GAUGE, 50.0).values) == [75, 76, 77, 78, 79]
        second.close()
        third, note = open_file(path, 30.0, 300.0, later(900))
        assert (note, third.value(GAUGE, third.end - 1)) == ("", 79.0)
        third.close()

    def test_a_killed_process_costs_the_last_sample_at_most(self, tmp_path: Path) -> None:
        for attempt in range(5):
            path = tmp_path / f"{attempt}.usage"
            ticking = subprocess.Popen(
                [sys.executable, "-m", "tests.usage.ticking", str(path)],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert ticking.stdout is not None
            for line in ticking.stdout:
                if int(line) >= 150 + 37 * attempt:
                    break
            ticking.kill()
            said = [int(line), *map(int, filter(str.strip, ticking.stdout.read().splitlines()))][-1]
            ticking.wait()
            store, note = open_file(path, 10.0, DAY, Now(1e7, 1e7, "boot"))
            assert note == ""
            numbers = list(store.window(NUMBER, 1e9).values)
            assert numbers == [float(n) for n in range(1, len(numbers) + 1)]
            assert len(numbers) in (said, said + 1)
            assert set(store.window(TOTAL, 1e9).values) == {3.0}
            store.close()


class TestMistrust:
    """A file that is not what it should be is set aside, and a new one begun."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "slow.usage"
        store, _ = open_file(path, 10.0, 1000.0, START)
        fill(store, GAUGE, [float(n) for n in range(50)])
        store.close()
        return path

    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            (lambda data: b"", "not a file of kernmesh's"),
            (lambda data: b"SQLite format 3\0" + data[16:], "not a file of kernmesh's"),
            (lambda data: data.replace(b"\r\n", b"\n", 1), "not a file of kernmesh's"),
            (lambda data: data[:16] + b"\x00" + data[17:], "version 0 of the format, want 1"),
            (lambda data: data[:16] + b"\x63" + data[17:], "version 99 of the format, want 1"),
            (lambda data: data[:20] + b"\xff" + data[21:], "the header's checksum is wrong"),
            (lambda data: data[:-1], "bytes long, want"),
            (lambda data: data + b"x", "bytes long, want"),
            (lambda data: data[:4096] + bytes(8192 * 2) + data[4096 + 8192 * 2 :], "no directory"),
        ],
        ids=["empty", "foreign", "copied as text", "older", "newer", "header", "torn", "longer",
             "directory"],
    )  # fmt: skip
    def test_it_is_set_aside_with_a_word_on_why(
        self, path: Path, damage: object, said: str
    ) -> None:
        assert callable(damage)
        bad = damage(path.read_bytes())
        path.write_bytes(bad)
        store, note = open_file(path, 10.0, 1000.0, later(600))
        assert note.startswith("not trusted (") and said in note
        assert note.endswith("set aside as slow.usage.bad")
        assert (path.parent / "slow.usage.bad").read_bytes() == bad
        assert store.series() == []
        fill(store, GAUGE, [1.0], start=700)
        store.close()
        again, note = open_file(path, 10.0, 1000.0, later(800))
        assert (note, again.end) == ("", 1)
        again.close()

    def test_a_torn_row_is_left_out_and_the_others_are_not(self, path: Path) -> None:
        data = bytearray(path.read_bytes())
        shape = layout.read_header(bytes(data), len(data))
        for slot in (20, 21):
            data[shape.first_row + slot * shape.pitch + layout.ROW_HEAD.size] ^= 0xFF
        path.write_bytes(data)
        store, note = open_file(path, 10.0, 1000.0, later(600))
        assert note == "2 torn rows are left out"
        assert list(store.window(GAUGE, DAY).values) == [*range(20), *range(22, 50)]
        fill(store, GAUGE, [99.0], start=600)
        store.close()
        again, note = open_file(path, 10.0, 1000.0, later(700))
        assert (note, again.value(GAUGE, again.end - 1)) == ("", 99.0)
        again.close()

    def test_rows_that_are_newer_than_any_directory_are_not_trusted(self, path: Path) -> None:
        """A power cut may keep a row and lose the directory that said whose columns those are."""
        before = path.read_bytes()
        store, _ = open_file(path, 10.0, 1000.0, later(500))
        other = Series("other.one", "gauge")
        store.put(START.monotonic + 510, 0.0, {GAUGE: 1.0, other: 5.0})
        store.close()
        after = path.read_bytes()
        shape = layout.read_header(before, len(before))
        mixed = before[: shape.first_row] + after[shape.first_row :]
        path.write_bytes(mixed)
        store, _ = open_file(path, 10.0, 1000.0, later(600))
        assert list(store.window(GAUGE, DAY).values) == list(range(50))
        store.close()

    @pytest.mark.parametrize("elapsed", [math.nan, math.inf, -1.0, 1e300])
    @pytest.mark.parametrize("wall", [0.0, math.nan, math.inf, -1.0, 1e300])
    def test_rows_of_no_time_are_left_out_and_others_go_on(
        self, path: Path, elapsed: float, wall: float
    ) -> None:
        """With their checksums: after one at infinity no other would ever be later."""
        data = bytearray(path.read_bytes())
        shape = layout.read_header(bytes(data), len(data))
        for slot, pair in ((3, (elapsed, 0.0)), (4, (50.0, wall or math.nan))):
            at = shape.first_row + slot * shape.pitch
            values = bytes(data[at + layout.ROW_HEAD.size : at + shape.pitch])
            check = layout.row_checksum(*pair, 1, values)
            layout.ROW_HEAD.pack_into(data, at, *pair, 1, check)
        path.write_bytes(data)
        store, _ = open_file(path, 10.0, 1000.0, later(500))
        assert list(store.window(GAUGE, DAY).values) == [0, 1, 2, *range(5, 50)]
        assert store.put(START.monotonic + 510, 0.0, {GAUGE: 1.0})
        store.close()

    @pytest.mark.parametrize("interval", [math.nan, math.inf, 0.0, -1.0, 1e300])
    def test_a_header_of_no_interval_is_not_trusted(self, path: Path, interval: float) -> None:
        data = path.read_bytes()
        shape = layout.read_header(data, len(data))
        changed = layout.pack_header(shape._replace(interval=interval))
        with pytest.raises(Refused, match="makes no sense"):
            layout.read_header(changed, len(data))

    @pytest.mark.parametrize(
        ("epoch", "generation"), [(math.nan, 9), (-math.inf, 9), (1e300, 9), (0.0, 0xFFFFFFFF)]
    )
    def test_a_directory_of_no_time_or_after_which_none_can_come_is_none(
        self, path: Path, epoch: float, generation: int
    ) -> None:
        data = bytearray(path.read_bytes())
        shape = layout.read_header(bytes(data), len(data))
        packed = layout.pack_directory(layout.Directory("boot", epoch, {}), generation)
        for start in (layout.PAGE, layout.PAGE + shape.directory):
            data[start : start + len(packed)] = packed
        with pytest.raises(Refused):
            layout.read_directories(memoryview(data), shape)

    def test_half_a_directory_leaves_the_one_before(self, path: Path) -> None:
        data = bytearray(path.read_bytes())
        shape = layout.read_header(bytes(data), len(data))
        newest, _ = layout.read_directories(memoryview(data), shape)
        data[layout.PAGE + newest % 2 * shape.directory + 20] ^= 0xFF
        with pytest.raises(Refused):
            layout.read_row(memoryview(data), shape, 0, newest - 1)
        assert layout.read_directories(memoryview(data), shape)[0] == newest - 1

    def test_a_link_in_its_place_is_not_followed(self, path: Path) -> None:
        target = path.with_name("target")
        path.rename(target)
        path.symlink_to(target)
        with pytest.raises(OSError):
            open_file(path, 10.0, 1000.0, later(600))


class TestStateDir:
    PLAN = TierPlan(10.0, 1000.0)

    def problem(self, state: StateDir, caplog: pytest.LogCaptureFixture) -> str:
        """What it said, which it must have said exactly once."""
        said = [record.getMessage() for record in caplog.records]
        assert said == [f"usage: state_dir cannot be used; {state.problem}"]
        return state.problem

    def test_null_is_memory_without_a_word(self, caplog: pytest.LogCaptureFixture) -> None:
        state = StateDir(None)
        assert not state.open_store("slow", self.PLAN, START).on_disk
        assert (state.problem, caplog.records) == ("", [])

    def test_a_folder_that_cannot_be_made_costs_the_past_and_is_said_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        state = StateDir("/proc/kernmesh")
        stores = [state.open_store(tier, self.PLAN, START) for tier in ("slow", "fast")]
        assert not any(store.on_disk for store in stores)
        assert "memory only" in self.problem(state, caplog)

    def test_a_read_only_file_system(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        state = StateDir("/sys/kernel")  # sysfs: there, and nobody may make a file in it
        store = state.open_store("slow", self.PLAN, START)
        assert not store.on_disk
        assert "memory only" in self.problem(state, caplog)
        state.close()

    def test_a_second_agent_does_not_write_into_the_firsts_files(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        first = StateDir(str(tmp_path))
        assert first.open_store("slow", self.PLAN, START).on_disk
        second = StateDir(str(tmp_path))
        assert not second.open_store("slow", self.PLAN, START).on_disk
        assert "another agent is using it" in self.problem(second, caplog)
        first.close()
        third = StateDir(str(tmp_path))
        assert third.open_store("slow", self.PLAN, START).on_disk
        third.close()

    def test_files_are_for_their_owner_only(self, tmp_path: Path) -> None:
        state = StateDir(str(tmp_path / "new" / "deep"))
        state.open_store("slow", self.PLAN, START).close()
        state.close()
        folder = tmp_path / "new" / "deep"
        modes = [path.stat().st_mode & 0o777 for path in (folder, folder / "slow.usage")]
        assert modes == [0o700, 0o600]

    def test_a_disk_that_fills_up_while_running_costs_no_row(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        path = tmp_path / "slow.usage"
        store = create(path, 10.0, 1000.0, START)
        fill(store, GAUGE, [1.0, 2.0])
        many = {Series(f"pod/{n}.x", "gauge"): float(n) for n in range(200)}
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 4096, hard))
        try:
            with pytest.raises(OSError):
                store.put(START.monotonic + 20, 0.0, {GAUGE: 3.0, **many})
            assert not store.on_disk
            assert store.put(START.monotonic + 30, 0.0, {GAUGE: 4.0, **many})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert list(store.window(GAUGE, DAY).values) == [1, 2, 3, 4]
        assert list(store.window(list(many)[5], DAY).values) == [5, 5]
        assert not path.with_name("slow.usage.new").exists()
        store.close()


def test_a_file_can_be_looked_into_while_it_is_written_and_nothing_is_written_to_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "slow.usage"
    store = create(path, 10.0, 1000.0, START)
    fill(store, GAUGE, [1.0, 2.0])
    before = path.read_bytes()
    seen = read_file(path)
    assert list(seen.window(GAUGE, DAY).values) == [1.0, 2.0]
    seen.close()
    assert path.read_bytes() == before
    fill(store, GAUGE, [3.0], start=20)
    store.close()
