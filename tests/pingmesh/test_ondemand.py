"""/probe and `kernmesh probe`, and the whole agent: what a user of pingmesh sees."""

import subprocess
import sys
import urllib.error
from pathlib import Path

import pytest

from tests.agent.running import Agent, running

pytestmark = pytest.mark.bpf  # needs root: ping_group_range may be closed


def kernmesh(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exporter.cli", *words], capture_output=True, text=True, timeout=60
    )


def test_a_target_is_probed_from_a_terminal() -> None:
    done = kernmesh("probe", "127.0.0.1", "--count", "2")
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[0]) == (0, "icmp 127.0.0.1")
    assert [line.split(":")[0] for line in lines[1:]] == [
        "  1",
        "  2",
        "  resolve",
        "  rtt",
        "  ok",
    ]


def test_a_target_that_fails_says_why_and_exits_with_1() -> None:
    done = kernmesh("probe", "127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "tcp 127.0.0.1:1\n  FAILED: refused\n")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("a b",), 'kernmesh: target: no host name or address, got "a b"'),
        (("h", "--module", "x"), 'kernmesh: module: unknown, got "x", want http'),
        (("h", "--timeout", "0"), "kernmesh: --timeout is more than 0"),
    ],
)
def test_a_wrong_command_is_told_in_one_line(words: tuple[str, ...], problem: str) -> None:
    done = kernmesh("probe", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(problem)


def configured(tmp_path: Path, pingmesh: str) -> Path:
    config = tmp_path / "agent.yaml"
    config.write_text(
        f"ebpf: {{programs: []}}\nusage: {{state_dir: null}}\npingmesh: {{{pingmesh}}}\n"
    )
    return config


def refused(agent: Agent, path: str) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        agent.get(path)
    return caught.value.code, caught.value.read().decode()


def test_probe_answers_for_targets_that_are_allowed_and_for_no_other(tmp_path: Path) -> None:
    config = configured(tmp_path, "allow: [127.0.0.0/8]")
    with running("--config", config) as agent:
        text = agent.get("/probe?target=127.0.0.1&module=ping")
        lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
        assert lines["probe_success"] == "1.0"
        assert (lines["probe_packets_sent"], lines["probe_packets_lost"]) == ("3.0", "0.0")
        assert float(lines["probe_rtt_seconds"]) < 1
        text = agent.get("/probe?target=127.0.0.1:1&module=tcp_connect")
        assert "probe_success 0.0" in text
        assert 'probe_failure_info{hop="",reason="refused"} 1.0' in text
        assert refused(agent, "/probe?target=[::1]:1") == (
            403,
            "this target is not in pingmesh.allow\n",
        )
        assert refused(agent, "/probe")[0] == 400
        assert refused(agent, "/probe?target=127.0.0.1&module=x")[0] == 400


def test_probe_is_off_until_targets_are_allowed(tmp_path: Path) -> None:
    with running("--config", configured(tmp_path, "allow: []")) as agent:
        code, text = refused(agent, "/probe?target=127.0.0.1")
    assert code == 403
    assert text.startswith("/probe is off")


def test_an_agent_probes_its_pinglist_and_exports_what_the_original_does(tmp_path: Path) -> None:
    listed = tmp_path / "pinglist.yaml"
    listed.write_text(
        "setting: {interval: 10, delay: 0}\n"
        "mesh: {a: {name: me, ips: ['127.0.0.1:1', 'localhost:1', 127.0.0.1]}}\n"
    )
    with running("--config", configured(tmp_path, f"pinglist: {listed}")) as agent:
        assert agent.url
        wanted = ["pingmesh_fail", "pingmesh_duration_milliseconds", "pingmesh_rounds_total"]

        def rounds() -> dict[str, float]:
            return agent.samples(wanted)

        found = rounds()
        while sum(value for name, value in found.items() if "rounds" in name) < 2:
            found = rounds()
        found = rounds()  # what a scrape saw first may be older than the rounds that it saw last
        assert found.pop('pingmesh_duration_milliseconds{target="127.0.0.1",tor="me"}') > 0
        assert {name for name in found if "rounds" not in name} == {
            'pingmesh_fail{target="127.0.0.1:1",tor="me"}',
            'pingmesh_fail{target="localhost:1",tor="me"}',
        }
        assert agent.stop() == 0


def test_an_agent_with_a_bad_guard_says_so_and_ends(tmp_path: Path) -> None:
    config = configured(tmp_path, "deny: [everything, 10.0.0.0/8, 10.0.0.0/33]")
    with running("--config", config) as agent:
        assert agent.ended() == 1
    lines = agent.log.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f'{config}:3: pingmesh.deny[0]: no network, got "everything", want')
    assert lines[1].startswith(f'{config}:3: pingmesh.deny[2]: no network, got "10.0.0.0/33"')
