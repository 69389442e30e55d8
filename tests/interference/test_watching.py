"""The thread that drives, tick by tick: what it keeps, for how long, and what it makes of files."""

import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from exporter.config.agent import Usage
from exporter.hostfs import HostFs
from exporter.interference.driver import Driver
from exporter.interference.needs import take_rules
from exporter.interference.node_facts import NodeFacts
from exporter.interference.watching import STATES, Kept, Watching
from exporter.testing import FakeClock
from exporter.usage.history import History
from exporter.usage.series import Series, Source
from tests.interference.test_roster import OFFLINE, ONLINE, KnownNames, node, roster
from tests.usage.cgroup_trees import remove

LOAD = Series("node.load.1m", "gauge")
RULES = """
rule_check:
  node_rules:
    - name: load
      check_interval: 1s
      rules: [{detects: [{name: expression, args: {expression: load_1min > 1}}], clear: 3s}]
  container_rules:
    - name: cpu
      check_interval: 1s
      rules: [{detects: [{name: expression, args: {expression: cpu_usage > 9}}]}]
"""


class Machine:
    """`load` is what the node has; `second` lets one pass."""

    def __init__(self, folder: Path, state: Path | None = None) -> None:
        self.host: HostFs = node(folder)
        self.clock, self.load = FakeClock(), 0.0
        sources = (Source("load", ("fast",), lambda: self._read),)
        self.history = History(self.clock, self.host, Usage(state_dir=None), sources)
        self.history.begin()
        self.state = state
        self.again(folder)

    def again(self, folder: Path) -> Watching:
        """Another agent's, after the one before."""
        (folder / "rules.yaml").write_text(RULES)
        taken = take_rules(str(folder / "rules.yaml"), NodeFacts.of(2.0, 2.0**30))
        self.roster = roster(self.host, KnownNames(), clock=self.clock)
        self.watching = Watching(
            Driver(taken.set), self.history, self.roster, self.clock, Kept(self.state, "boot")
        )
        return self.watching

    def _read(self, now: float) -> Mapping[Series, float]:
        return {LOAD: self.load}

    def seconds(self, count: int) -> None:
        for _ in range(count):
            self.clock.advance(1.0)
            self.history.tick("fast")
            self.watching.tick()

    @property
    def runs(self) -> list[str]:
        return [each.incident.run for each in self.watching.board.incidents]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    (tmp_path / "state").mkdir()
    made = Machine(tmp_path, tmp_path / "state")
    yield made
    made.history.close()


def test_of_pods_that_are_gone_nothing_is_remembered(machine: Machine) -> None:
    machine.seconds(3)
    before = len(machine.watching.names)
    assert before == 2
    for path in (ONLINE, OFFLINE):
        remove(machine.host, path)
    machine.seconds(30)
    assert len(machine.watching.names) == 1


def test_an_incident_goes_on_after_a_restart(machine: Machine, tmp_path: Path) -> None:
    machine.load = 5.0
    machine.seconds(3)
    before = machine.runs
    assert len(before) == 1
    machine.watching.close()
    machine.again(tmp_path)
    machine.seconds(1)
    assert machine.runs == before


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 4096, b"[]", b"{}", b'{"foreign":' + b"[" * 100_000, b'{"format":2}', None],
)
def test_states_that_are_none_are_said_and_it_begins_anew(
    machine: Machine, tmp_path: Path, data: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert machine.state is not None
    if data is None:
        (machine.state / STATES).mkdir()
    else:
        (machine.state / STATES).write_bytes(data)
    caplog.set_level(logging.INFO)
    machine.load = 5.0
    machine.seconds(3)
    assert len(machine.runs) == 1
    assert "begins anew" in caplog.text


def test_states_that_cannot_be_kept_are_said_once(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    assert machine.state is not None
    shutil.rmtree(machine.state)
    machine.load = 5.0
    machine.seconds(60)
    assert caplog.text.count("states cannot be kept") == 1
    machine.state.mkdir()
    machine.seconds(20)
    assert (machine.state / STATES).exists()
    shutil.rmtree(machine.state)
    machine.seconds(60)
    assert caplog.text.count("states cannot be kept") == 2
