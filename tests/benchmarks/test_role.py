"""A role as benchmarks start it: where it is stands on its screen, each in its own words."""

import json
from pathlib import Path

import pytest

from benchmarks import role
from tests.cluster.apiserver import api_server


def test_a_controller_is_found_and_tells_its_figures(tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_text("nodes:\n  a: {ips: ['::1']}\n")
    config = tmp_path / "controller.yaml"
    config.write_text(f"inventory: {tmp_path}/inventory.yaml\n")
    with role.running("controller", config) as found:
        assert found.sample("kernmesh_controller_members") == 1
        assert found.sample("no_such_series") == 0


def test_a_labeller_is_found(tmp_path: Path) -> None:
    with api_server("current") as server:
        config = tmp_path / "labeller.yaml"
        lease = {"namespace": "default"}
        keys = {"kubeconfig": str(server.kubeconfig(tmp_path)), "agents": {}, "lease": lease}
        config.write_text(json.dumps(keys))
        with role.running("labeller", config) as found:
            assert found.sample("kernmesh_pressure_leader") in (0, 1)


def test_what_does_not_start_says_so(tmp_path: Path) -> None:
    config = tmp_path / "controller.yaml"
    config.write_text("nosuchkey: 1\n")
    with pytest.raises(RuntimeError, match="controller ended"), role.running("controller", config):
        pass
