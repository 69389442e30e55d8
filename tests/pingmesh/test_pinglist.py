"""pinglist.yaml: files of the original mean what they meant, ours say more."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from exporter.config import schema_of
from pingmesh.pinglist import (
    Pinglist,
    Setting,
    interval_of,
    read_pinglist,
    summary,
    targets,
    timeout_of,
    warnings,
)

VALID = Path(__file__).parent / "valid"
INVALID = Path(__file__).parent / "invalid"
# What a schema cannot see: targets' own syntax, rules across keys, RE2's, durations by unit.
BEYOND_A_SCHEMA = {
    "dns-without-query", "expect-body", "expect-of-icmp", "fragment-of-tcp", "label",
    "payload-datagram", "payload-floor", "payload-of-tcp", "query-of-icmp", "setting-label",
    "source", "target-address", "target-name", "target-port", "target-url", "tcp-without-port",
    "url-for-tcp",
}  # fmt: skip


def kinds(text: str) -> list[tuple[str, str, str, int]]:
    return [(t.text, t.kind, t.host, t.port) for t in targets(read_pinglist(text.encode()))]


def test_the_original_s_file_gives_its_settings_and_targets() -> None:
    found = read_pinglist(VALID / "formats.yaml")
    assert found.setting == Setting(20, 60.0, 200.0, 2.0)
    assert [(t.text, t.tor, t.kind) for t in targets(found)] == [
        (text, "ping-public-demo", "icmp")
        for text in (
            "127.0.0.1",
            "8.8.8.8",
            "www.baidu.com",
            "kubernetes.default.svc.cluster.local",
        )
    ]
    assert list(warnings(found)) == []


def test_without_setting_its_defaults_hold() -> None:
    found = read_pinglist(VALID / "without-setting.yaml")
    assert found.setting == Setting()
    assert [t.tor for t in targets(found)] == ["aaaa", "aaaa"]


@pytest.mark.parametrize(
    "text", ["", "mesh:\n", "setting:\nmesh:\n", "mesh: {a: {ips: }}\n", "mesh: {}\n"]
)
def test_keys_without_a_value_are_as_if_they_were_not_there(text: str) -> None:
    found = read_pinglist(text.encode())
    assert targets(found) == []
    assert list(warnings(found)) == ["mesh: there are no targets, nothing is probed"]


def test_a_group_without_a_name_is_called_by_its_key() -> None:
    found = read_pinglist(b"mesh: {rack-7: {ips: [127.0.0.1]}}")
    assert [target.tor for target in targets(found)] == ["rack-7"]


def test_a_target_s_kind_follows_from_its_text_where_the_file_does_not_say() -> None:
    listed = (
        "mesh: {a: {ips: [127.0.0.1, '::1', '[::1]', 'fe80::1%eth0', name, 'h:22', '[::1]:22', "
        "'http://h/', 'https://[::1]:8443/x', on, 1]}}"
    )
    assert kinds(listed) == [
        ("127.0.0.1", "icmp", "127.0.0.1", 0),
        ("::1", "icmp", "::1", 0),
        ("[::1]", "icmp", "::1", 0),
        ("fe80::1%eth0", "icmp", "fe80::1%eth0", 0),
        ("name", "icmp", "name", 0),
        ("h:22", "tcp", "h", 22),
        ("[::1]:22", "tcp", "::1", 22),
        ("http://h/", "http", "h", 80),
        ("https://[::1]:8443/x", "http", "::1", 8443),
        ("on", "icmp", "on", 0),
        ("1", "icmp", "1", 0),
    ]


@pytest.mark.parametrize(
    ("group", "kind", "port"),
    [
        ("ips: [h], port: 22", "tcp", 22),
        ("ips: ['h:23'], port: 22", "tcp", 23),
        ("ips: [h], probe: icmp", "icmp", 0),
        ("ips: [h], probe: udp", "udp", 9435),
        ("ips: [h], probe: dns, query: {name: x}", "dns", 53),
        ("ips: [h], probe: http", "http", 80),
        ("ips: [h], probe: ntp", "ntp", 123),
        ("ips: [h], probe: kube-apiserver", "kube-apiserver", 443),
    ],
)
def test_a_group_may_say_kind_and_port(group: str, kind: str, port: int) -> None:
    [(_, got_kind, _, got_port)] = kinds(f"mesh: {{a: {{{group}}}}}")
    assert (got_kind, got_port) == (kind, port)


def test_a_target_that_is_there_twice_is_probed_once_per_group() -> None:
    text = b"mesh: {a: {ips: [h, h]}, b: {ips: [h]}, c: {name: b, ips: [h]}}"
    found = read_pinglist(text)
    assert [(t.text, t.tor) for t in targets(found)] == [("h", "a"), ("h", "b")]
    assert list(warnings(found)) == ["mesh.a.ips: h is there twice, it is probed once"]


def test_an_interval_under_the_floor_is_raised_with_a_warning() -> None:
    found = read_pinglist(b"setting: {interval: 0.5}\nmesh: {a: {ips: [h]}}")
    assert interval_of(found.setting) == 10.0
    assert list(warnings(found)) == [
        "setting.interval: 0.5 s is raised to 10 s, the least between two probes of a pair"
    ]


def test_a_timeout_longer_than_a_round_is_cut_with_a_warning() -> None:
    found = read_pinglist(b"setting: {interval: 10, timeout: 11}\nmesh: {a: {ips: [h]}}")
    assert timeout_of(found.setting) == 10.0
    assert list(warnings(found)) == ["setting.timeout: 11 s is cut to the interval, 10 s"]


def test_a_list_is_summed_up_in_one_line() -> None:
    assert summary(read_pinglist(VALID / "ours.yaml")) == (
        "13 targets (3 icmp, 3 tcp, 1 udp, 1 dns, 3 http, 1 ntp, 1 kube-apiserver) every 10 s"
    )


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = schema_of(Pinglist)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def as_an_editor_reads(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("path", sorted(VALID.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_valid_file_is_valid_for_an_editor_too(
    path: Path, validator: jsonschema.Draft202012Validator
) -> None:
    assert [error.message for error in validator.iter_errors(as_an_editor_reads(path))] == []


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(INVALID.glob("*.yaml")) if path.stem != "not-yaml"],
    ids=lambda path: path.stem,
)
def test_an_invalid_file_is_invalid_for_an_editor_too(
    path: Path, validator: jsonschema.Draft202012Validator
) -> None:
    assert validator.is_valid(as_an_editor_reads(path)) == (path.stem in BEYOND_A_SCHEMA)


def kernmesh(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exporter.cli", *words], capture_output=True, text=True, timeout=60
    )


def test_the_command_line_checks_a_list_and_says_what_it_will_do() -> None:
    done = kernmesh("pinglist", "check", VALID / "formats.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "ok: 4 targets (4 icmp) every 60 s\n",
        "",
    )


def test_the_command_line_names_every_problem_of_a_list() -> None:
    done = kernmesh("pinglist", "check", INVALID / "target-name.yaml")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 3)


def test_the_command_line_prints_the_schema() -> None:
    assert json.loads(kernmesh("schema", "pinglist").stdout) == schema_of(Pinglist)
