"""labeller.yaml and dynamicScheduler's flags: what they mean, and what is said of what is wrong."""

from pathlib import Path

import pytest

from exporter.cli import main
from exporter.config import load_yaml
from exporter.errors import ConfigError
from exporter.labeller.config import Flags, LabellerConfig, from_flags, load_labeller
from exporter.labeller.rule_file import read_rules
from exporter.labeller.settings import settings_of
from exporter.pressure.levels import Settings

RULES = "Rulename: {Node_cpu1: {Promsql: x, Threshold: 70}, Neg: {Promsql: y, Threshold: -10}}"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("interval: 10s", 1, "no source of values"),
        ("agents: {}\ninterval: 1ms", 2, "too short, got 1ms, want at least 1s"),
        ("agents: {service: x}", 1, "want NAMESPACE/NAME"),
        ("agents: {service: a/b, addresses: {n: 'h:1'}}", 1, "want one of both"),
        ("agents: {addresses: {n: ':1'}}", 1, "want HOST:PORT"),
        ("agents: {}\nlevels: {cpu: {high: 80, low: 80}}", 2, "want less than high (80)"),
        ("agents: {}\nenter: {of: 3, at_least: 4}", 2, "want at most of (3)"),
        ("agents: {}\nlease: {renew_within: 20s}", 2, "want less than duration"),
        ("agents: {}\nlease: {retry: 11s}", 2, "less than renew_within"),
        ("agents: {interference: false}\nevictions: {enabled: true}", 2, "agents ask"),
        ("prometheus: {url: 'http://p', rules: r}\ncrane_policy: c", 2, "come from agents"),
        ("agents: {}\ncrane_policy: c\ncrane_timezone: Mars/Base", 3, "unknown time zone"),
        ("agents: {}\nholds: 5m", 2, "did you mean hold"),
        ("agents: {bearer_token_file: t}", 1, "has no meaning without TLS, want scheme: https"),
        ("agents: {scheme: https, tls: {cert_file: c}}", 1, "want a file, as cert_file has one"),
        (
            "prometheus: {url: 'http://p', rules: r, tls: {ca_file: a}}",
            1,
            "has no meaning without TLS, want url: https://…",
        ),
    ],
)
def test_what_is_wrong_is_one_line(text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_yaml(text.encode(), LabellerConfig, file="labeller.yaml")
    [problem] = raised.value.problems
    assert said in str(problem)
    assert problem.line == line


def test_levels_follow_agents_and_rules_alike(tmp_path: Path) -> None:
    path = tmp_path / "labeller.yaml"
    path.write_text(
        "agents: {}\nlevels: {mem: {high: 90, low: 60}}\nhold: 1m\n"
        f"prometheus: {{url: 'http://p', rules: {tmp_path}/rule.yaml, low: 0.9}}\n"
    )
    (tmp_path / "rule.yaml").write_text(RULES)
    found = settings_of(load_labeller(path), read_rules(tmp_path / "rule.yaml").rules)
    assert {name: (each.high, each.low) for name, each in found.items()} == {
        "cpu": (80.0, 79.0),
        "mem": (90.0, 60.0),
        "schedule": (0.5, 0.5),
        "Node_cpu1": (70.0, pytest.approx(63.0)),
        "Neg": (-10.0, pytest.approx(-11.0)),
    }
    assert found["mem"] == Settings(90.0, 60.0, 5, 4, 60.0, 600.0)


def test_dynamicscheduler_s_flags_are_a_configuration() -> None:
    config = from_flags(Flags("/k", "127.0.0.1:9090", "rule.yaml", "15", ":9001"))
    assert config.prometheus is not None
    assert config.prometheus.url == "http://127.0.0.1:9090"
    assert config.kubeconfig == "/k"
    assert config.interval == 15.0
    assert config.server.listen == (":9001",)
    assert config.keys.legacy_status
    assert not config.lease.enabled


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-prom", "http://"], "-prom"),
        (["-s", "0"], "-s"),
        (["-s", "ten"], "-s"),
        (["-webaddr", "9000"], "-webaddr"),
        (["--config", "x"], "want one of both"),
    ],
)
def test_a_bad_flag_is_one_line(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["labeller", "--check", "-r", "rule.yaml", "-prom", "http://p", *flags]) == 1
    assert said in capsys.readouterr().err


def test_all_files_are_checked_without_asking_anybody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rule.yaml").write_text(RULES.replace("70", "x").replace("Neg", "cpu"))
    (tmp_path / "policy.yaml").write_text("kind: x")
    config = tmp_path / "labeller.yaml"
    config.write_text(
        "agents: {scheme: https, bearer_token_file: /gone}\n"
        f"prometheus: {{url: 'http://p', rules: {tmp_path}/rule.yaml}}\n"
        f"crane_policy: {tmp_path}/policy.yaml\n"
        f"kubeconfig: {tmp_path}/nowhere\nserver: {{web_config: {tmp_path}/web.yml}}\n"
    )
    (tmp_path / "web.yml").write_text(
        "tls_server_config: {cert_file: gone.pem, key_file: gone.key}"
    )
    assert main(["labeller", "--check", "--config", str(config)]) == 1
    said = capsys.readouterr().err
    assert f"{config}:1: agents.bearer_token_file: /gone: No such file" in said
    assert f"{config}:4: kubeconfig: {tmp_path}/nowhere: cannot be read: No such file" in said
    assert f"{tmp_path}/web.yml:1: tls_server_config.cert_file: {tmp_path}/gone.pem: " in said
    assert "Rulename.Node_cpu1.Threshold: no number, got x" in said
    assert "Rulename.cpu: is a level of the agents'" in said
    assert "policy.yaml" in said
    config.write_text("agents: {}")
    assert main(["labeller", "--check", "--config", str(config)]) == 0
    assert capsys.readouterr().out == "ok\n"


def test_what_the_flags_name_is_checked_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rule.yaml").write_text(RULES)
    web = tmp_path / "web.yml"
    web.write_text("basic_auth_users: {ops: sesame}")
    flags = ["-r", str(tmp_path / "rule.yaml"), "-prom", "http://p", "-kubeconfig", "/nowhere"]
    assert main(["labeller", "--check", "--web.config.file", str(web), *flags]) == 1
    users, access = capsys.readouterr().err.splitlines()
    assert access.startswith("flags: kubeconfig: /nowhere: cannot be read: ")
    assert users.startswith(f"{web}:1: basic_auth_users.ops: ")


@pytest.mark.parametrize(
    ("kubeconfig", "said"),
    [
        ("nowhere", "nowhere"),
        ("apiVersion: v1", "current-context: is missing"),
    ],
)
def test_without_access_it_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kubeconfig: str, said: str
) -> None:
    file = tmp_path / "kubeconfig"
    if ":" in kubeconfig:
        file.write_text(kubeconfig)
    path = str(file) if ":" in kubeconfig else str(tmp_path / kubeconfig)
    config = tmp_path / "labeller.yaml"
    config.write_text(f"agents: {{}}\nkubeconfig: {path}\nserver: {{listen: ['127.0.0.1:0']}}\n")
    assert main(["labeller", "--config", str(config)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
