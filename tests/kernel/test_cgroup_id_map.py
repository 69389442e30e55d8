"""cgroup_id_map: the program sees the cgroups whose paths match, those made later too."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.decoders import DecodeContext
from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs
from exporter.testing import FakeClock
from tests.kernel.test_program_yaml import Start, samples, started

__all__ = ["started"]
pytestmark = pytest.mark.bpf

CALL = """
import os, sys
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
for _ in range(int(sys.argv[2])):
    os.getpriority(os.PRIO_USER, 0)
"""

OWN = f"kernmesh-{uuid.uuid4()}"  # other runs have theirs
YAML = """
    metrics:
      counters:
        - name: METRIC
          labels:
            - {name: cgroup, size: 8, decoders: [{name: uint}, {name: cgroup}]}
    cgroup_id_map:
      name: MAP
      type: TYPE
      regexps: ["/OWN/chosen(-.)?$"]
""".replace("OWN", OWN)

MakeCgroup = Callable[[str], Path]


@pytest.fixture
def cgroup() -> Iterator[MakeCgroup]:
    """Makes a cgroup of the unified hierarchy by its name below the test's own."""
    (unified,) = (mount for mount in cgroup_mounts(HostFs()) if mount.version == 2)
    own = unified.folder / OWN
    own.mkdir()
    made: list[Path] = []

    def make(name: str) -> Path:
        made.append(own / name)
        made[-1].mkdir()
        return made[-1]

    yield make
    for folder in (*reversed(made), own):
        if folder.exists():
            folder.rmdir()


def call_in(folder: Path, times: int) -> None:
    subprocess.run([sys.executable, "-c", CALL, folder, str(times)], check=True)


@pytest.mark.parametrize(
    ("metric", "map_name", "kind"),
    [
        ("calls_by_id_total", "chosen_ids", "hash"),
        ("calls_by_storage_total", "chosen_cgroups", "cgrp_storage"),
    ],
)
def test_the_program_sees_the_cgroups_that_match_and_no_others(
    started: Start, cgroup: MakeCgroup, metric: str, map_name: str, kind: str
) -> None:
    chosen, passed_over = cgroup("chosen"), cgroup("passed-over")
    collector = started(
        "cgroups", YAML.replace("METRIC", metric).replace("MAP", map_name).replace("TYPE", kind)
    )
    call_in(chosen, 3)
    call_in(passed_over, 4)
    later = cgroup("chosen-b")
    call_in(later, 5)  # not known yet
    collector.keep_up()
    call_in(later, 7)
    found = {dict(labels)["cgroup"]: n for labels, n in samples(collector)[f"e_{metric}"].items()}
    assert found == {str(chosen): 3, str(later): 7}
    assert collector.cgroups is not None
    assert collector.cgroups.selected == 2
    chosen.rmdir()
    collector.keep_up()
    assert collector.cgroups.selected == 1


def test_a_thousand_cgroups_come_and_go_named_right_and_nothing_is_left(
    started: Start, cgroup: MakeCgroup
) -> None:
    top = cgroup("chosen")
    clock = FakeClock()
    yaml = YAML.replace("METRIC", "calls_by_id_total").replace("MAP", "chosen_ids")
    yaml = yaml.replace("TYPE", "hash").replace("chosen(-.)?$", "chosen/")
    yaml = yaml.replace("          labels:", "          evict_after: 10m\n          labels:")
    collector = started("cgroups", yaml, DecodeContext.of(clock=clock))
    assert collector.cgroups is not None
    (metric,) = collector.metrics
    for generation in range(5):
        folders = [top / f"{generation}-{number}" for number in range(200)]
        for folder in folders:
            folder.mkdir()
        collector.keep_up()
        assert collector.cgroups.selected == 200
        for times, folder in enumerate(folders):
            call_in_fork(folder, 1 + times % 3)
        found = samples(collector)["e_calls_by_id_total"]
        named = {dict(labels)["cgroup"]: value for labels, value in found.items()}
        assert {str(folder): named[str(folder)] for folder in folders} == {
            str(folder): 1 + times % 3 for times, folder in enumerate(folders)
        }
        for folder in folders:
            folder.rmdir()
    # Counters of cgroups that are gone stay, by name, until they are let go of.
    assert len(samples(collector)["e_calls_by_id_total"]) == 1000
    assert metric.rows.failures == 0
    collector.keep_up()
    assert collector.cgroups.selected == 0
    assert collector.loaded.maps["chosen_ids"].read().count == 0
    clock.advance(600)
    collector.keep_up()
    assert samples(collector).get("e_calls_by_id_total", {}) == {}
    assert collector.loaded.maps["calls_by_id_total"].read().count == 0
    assert metric.rows.cached == 0


def call_in_fork(folder: Path, times: int) -> None:
    child = os.fork()
    if child == 0:
        try:
            (folder / "cgroup.procs").write_text(str(os.getpid()))
            for _ in range(times):
                os.getpriority(os.PRIO_USER, 0)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
