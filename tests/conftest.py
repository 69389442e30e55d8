"""Tests with real BPF need root. Elsewhere they are skipped with that reason; where
KERNMESH_REQUIRE_BPF is set, as in CI, not being able to run them is a failure."""

import os

import pytest
from hypothesis import settings

settings.register_profile("kernmesh", deadline=None)  # a busy machine is no finding
settings.load_profile("kernmesh")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("bpf") is None or os.geteuid() == 0:
        return
    if os.environ.get("KERNMESH_REQUIRE_BPF"):
        pytest.fail("needs root: real BPF could not be used", pytrace=False)
    pytest.skip("needs root: loads BPF programs into the running kernel")
