"""Events that programs send are counted one by one, and those that were lost as well."""

import os
import threading
from pathlib import Path

import pytest

from exporter.ebpf.loaded import KernelProgram
from exporter.errors import BpfError
from tests.kernel.conftest import Load, program
from tests.kernel.test_program_yaml import OWN, Start, ask_priorities, labels, samples, started
from tests.kernel.workloads import eventually

__all__ = ["started"]
pytestmark = pytest.mark.bpf

OWN_PID = os.getpid().to_bytes(4, "little")
MAPS = ["ring_calls_total", "perf_calls_total"]

EVENTS = """
    metrics:
      counters:
        - name: MAP
          perf_event_array: true
          labels:
            - {name: pid, size: 4, decoders: [{name: uint}]}
            - {name: size, size: 2, padding: 2, decoders: [{name: uint}]}
        - name: by_size_total
          map: MAP
          perf_event_array: true
          labels:
            - {name: pid, size: 4, decoders: [{name: uint}]}
"""


@pytest.mark.parametrize("name", MAPS)
def test_each_event_counts_one_in_every_metric_of_its_map(started: Start, name: str) -> None:
    collector = started("events", EVENTS.replace("MAP", name))
    ask_priorities(*[1] * 200, *[2] * 20)
    pid = OWN["pid"]

    def all_are_counted() -> bool:
        found = samples(collector).get("e_by_size_total", {})
        return found.get(labels(pid=pid)) == 220

    assert eventually(all_are_counted)
    found = samples(collector)[f"e_{name}"]
    assert found[labels(pid=pid, size="1")] == 200
    assert found[labels(pid=pid, size="2")] == 20


MARK = 9


class Stalled:
    """A sink that does not return until it may, and says when an event of size MARK came."""

    def __init__(self, loaded: KernelProgram, name: str) -> None:
        self.own = 0
        self.entered, self.may_go_on, self.marked = (threading.Event() for _ in range(3))
        loaded.listen(name, self.take)

    def take(self, event: bytes) -> None:
        self.entered.set()
        self.may_go_on.wait()
        self.own += event[:4] == OWN_PID
        if event[4] == MARK:
            self.marked.set()


@pytest.mark.parametrize(
    ("name", "many"), [("ring_calls_total", 1000), ("perf_calls_total", 20000)]
)
def test_what_finds_no_room_is_counted_as_lost(
    compiled: Path, loaded: Load, name: str, many: int
) -> None:
    events = loaded(program(compiled, "events"))
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    try:
        sink = Stalled(events, name)
        ask_priorities(0)
        assert sink.entered.wait(10)
        ask_priorities(*[1] * many)
        sink.may_go_on.set()
        sent = 1 + many
        # A perf buffer says what it lost with the next event that finds room.
        while not sink.marked.wait(0.1):
            ask_priorities(MARK)
            sent += 1
    finally:
        os.sched_setaffinity(0, processors)
    lost = events.lost_events()[name]
    assert lost > many // 10
    # Others' calls may have been lost too, or marks be under way: a few.
    assert abs(sink.own + lost - sent) < 20


def test_events_that_were_sent_before_the_end_are_handed_over(compiled: Path, loaded: Load) -> None:
    events = loaded(program(compiled, "events"))
    taken: list[bytes] = []
    events.listen("ring_calls_total", taken.append)
    ask_priorities(*[3] * 100)
    threads = threading.active_count()
    events.close()
    assert sum(event[:6] == OWN_PID + b"\3\0" for event in taken) == 100
    assert threading.active_count() == threads - 1


def test_a_map_that_sends_nothing_cannot_be_listened_to(compiled: Path, loaded: Load) -> None:
    maps = loaded(program(compiled, "maps"))
    with pytest.raises(BpfError, match="map plain_hash: a hash map sends no events"):
        maps.listen("plain_hash", lambda _: None)
    with pytest.raises(BpfError, match="maps: has no map gone to listen to"):
        maps.listen("gone", lambda _: None)
