"""agent.yaml: the contract's keys and defaults."""

from pathlib import Path

import msgspec
import pytest

from exporter.config import AgentConfig, ListenAddress, load_agent, load_yaml
from exporter.config.agent import Level

CONTRACT = Path(__file__).parent / "valid" / "contract.yaml"


def test_the_defaults_are_those_of_the_contract() -> None:
    assert load_yaml(CONTRACT, AgentConfig) == AgentConfig()


def test_the_contract_s_file_names_every_key_but_jobs_file() -> None:
    def keys(value: object, prefix: str = "") -> set[str]:
        if not isinstance(value, dict):
            return {prefix}
        return {key for name, each in value.items() for key in keys(each, f"{prefix}.{name}")}

    import yaml

    ours = keys(msgspec.to_builtins(AgentConfig(), enc_hook=str))
    theirs = keys(yaml.safe_load(CONTRACT.read_text()))
    assert ours - theirs == {".usage.jobs_file"}
    assert theirs - ours == set()


@pytest.mark.parametrize(
    "text", ["", "\n", "# all left out\n", "---\n", "{}\n", "null\n", "\ufeff"]
)
def test_a_file_that_says_nothing_is_valid(tmp_path: Path, text: str) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(text)
    assert load_agent(path, {}) == load_agent(None, {})


def test_the_node_s_name_comes_from_the_environment() -> None:
    assert load_agent(None, {"NODE_NAME": "node-a"}).pressure.node == "node-a"


def test_a_node_s_name_that_nobody_knows_is_none_where_nobody_needs_it() -> None:
    assert load_agent(None, {}).pressure.node is None
    assert load_agent(None, {"NODE_NAME": ""}).pressure.node is None


def test_a_node_s_name_can_be_written_down(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text("pressure: {enabled: true, node: node-b}\n")
    assert load_agent(path, {"NODE_NAME": "node-a"}).pressure.node == "node-b"


def test_a_level_that_is_null_is_none(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text("pressure: {levels: {cpu: null, io: {}}}\n")
    levels = load_agent(path, {}).pressure.levels
    assert (levels.cpu, levels.mem, levels.io, levels.disk) == (None, Level(), Level(), None)


def test_the_environment_is_read_for_the_node_s_name_only(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text("ebpf: {dirs: [$NODE_NAME]}\n")
    assert load_agent(path, {"NODE_NAME": "node-a"}).ebpf.dirs == ("$NODE_NAME",)


def test_values_have_the_types_that_the_agent_works_with(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(
        "server: {listen: ['[::1]:0', 'localhost:9435'], lifecycle: on}\n"
        "ebpf: {programs: all, max_series: 0x10, dirs: [/a, /b]}\n"
        "usage: {interval: 1m30s, state_dir: ~, jobs: [{name: on, command: 'nginx: (a|b)'}]}\n"
        "pressure: {levels: {cpu: {high: 75.5}}}\n"
    )
    config = load_agent(path, {})
    assert [(a.host, a.port) for a in config.server.listen] == [("::1", 0), ("localhost", 9435)]
    assert all(isinstance(address, ListenAddress) for address in config.server.listen)
    assert config.server.lifecycle is True
    assert (config.ebpf.programs, config.ebpf.max_series, config.ebpf.dirs) == (
        "all",
        16,
        ("/a", "/b"),
    )
    assert (config.usage.interval, config.usage.state_dir) == (90.0, None)
    assert (config.usage.jobs[0].name, config.usage.jobs[0].command) == ("on", "nginx: (a|b)")
    assert config.pressure.levels.cpu == Level(75.5, 70)


def test_a_time_zone_is_looked_up_only_for_crane(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text("pressure: {crane_timezone: Moon/Tycho}\n")
    assert load_agent(path, {}).pressure.crane_timezone == "Moon/Tycho"
    path.write_text("pressure: {crane_timezone: UTC, crane_policy: policy.yaml}\n")
    assert load_agent(path, {}).pressure.crane_policy == "policy.yaml"
