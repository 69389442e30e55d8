"""More cgroups than a process may have open, on this kernel's own."""

import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.actuator.client import Actuator
from exporter.actuator.protocol import Set, Start, Undo
from tests.actuator.trees import RealCgroups, real_cgroups

pytestmark = pytest.mark.bpf
MANY = 1100


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """As a service or a shell has it: 1,024, and more for who asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def cgroups() -> Iterator[RealCgroups]:
    with real_cgroups() as made:
        for number in range(MANY):
            made.file("cpu", f"off/{number}", "").mkdir()
            made.file("cpu", f"off/{number}", "cpu.cfs_quota_us").write_text("150000")
        yield made


def test_all_of_them_are_adjusted_loosened_and_put_back(
    cgroups: RealCgroups, few_descriptors: None, tmp_path: Path
) -> None:
    def quotas() -> Counter[str]:
        paths = (f"off/{number}" for number in range(MANY))
        return Counter(cgroups.read("cpu", path, "cpu.cfs_quota_us") for path in paths)

    actuator = Actuator(Start(str(tmp_path / "state"), (cgroups.offline,)))
    actuator.start()
    try:
        for run, cores in (("a", 1.0), ("b", 0.5)):
            request = Set(run=run, knob="cpu_quota", limits={"cores": cores})
            assert actuator.ask(request).refused == ""
        assert quotas() == {"50000": MANY}
        actuator.ask(Undo(run="b"))
        assert quotas() == {"100000": MANY}
    finally:
        actuator.close()
    assert quotas() == {"150000": MANY}
