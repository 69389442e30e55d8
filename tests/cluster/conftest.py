"""The cluster that the scenarios run against: the test API server, in both its releases.

KERNMESH_TEST_CLUSTER=real takes a kube-apiserver of one's own (tests/cluster/real.py), and
KERNMESH_TEST_CLUSTER=<a kubeconfig's path> the cluster that it leads to; whatever the scenarios
make there is named kernmesh-test-* and is removed again. A module's RELEASES are those of the test
server that it is run against.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cluster.apiserver import api_server

_CHOSEN = os.environ.get("KERNMESH_TEST_CLUSTER", "")


class Cluster(NamedTuple):
    """`kubeconfig` leads to it as an administrator."""

    kubeconfig: Path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cluster" in metafunc.fixturenames:
        kinds = [_CHOSEN] if _CHOSEN else getattr(metafunc.module, "RELEASES", ["1.20", "current"])
        metafunc.parametrize("cluster", kinds, indirect=True, scope="module")


@pytest.fixture(scope="module")
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    if request.param in ("1.20", "current"):
        with api_server(request.param) as server:
            yield Cluster(server.kubeconfig(folder))
    elif request.param == "real":
        from tests.cluster.real import running

        with running(folder) as real:
            yield Cluster(real.kubeconfig)
    else:
        yield Cluster(Path(request.param))
