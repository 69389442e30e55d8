"""Pinglists over HTTP: the same on every replica, cheap for those who have them, kept when a file
goes bad."""

import asyncio
import gzip
import json
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
import yaml
from starlette.types import Message

from exporter.config import Duration, schema_of
from exporter.errors import ConfigError
from exporter.privileges.inforce import IN_FORCE, MECHANISMS
from pingmesh.controller_config import (
    ControllerConfig,
    Probing,
    TopologyRules,
    load_controller,
)
from pingmesh.lists import Lists, Shared
from pingmesh.networks import Made, Networks
from pingmesh.pinglist import Expect, Group, Setting, read_pinglist, targets
from pingmesh.serving import Pinglists
from pingmesh.topology import Member, Topology

WATCHDOG_SECONDS = 60.0
MEMBERS = [
    Member(f"n{i}", f"z{i // 6}", f"r{i // 3 % 2}", (f"10.0.0.{i}", f"fd00::{i:x}"))
    for i in range(12)
]
CUSTOM = {
    "web": Group("www", ips=("http://h/",), expect=Expect(tls_expiry=Duration("7d"))),
    "z0/r0": Group(ips=("8.8.8.8",)),
}


def lists(members: list[Member] = MEMBERS, **shared: Any) -> Lists:
    return Lists(Topology(members), Shared(**shared))


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(
    path: str,
    method: str = "GET",
    *,
    served: Lists | None = None,
    known: bool = True,
    stale: str | None = None,
    **headers: str,
) -> Answer:
    """One request to the app, without a socket."""
    found = served or lists()
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("a pinglist's request has no body")

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    raw = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    scope = {"type": "http", "path": path, "method": method, "headers": raw}
    networks = Networks({"nodes": Made(found)}, waiting=False) if known else Networks()
    app = Pinglists(behind, lambda: networks, lambda: stale)
    asyncio.run(app(scope, receive, send))
    start, body = sent
    answered = {k.decode(): v.decode() for k, v in start["headers"]}
    if start["status"] != 299:
        assert app.served == {start["status"]: 1}
    return Answer(start["status"], answered, body["body"])


def test_a_list_is_a_pinglist_of_the_whole_topology_with_zones_and_racks() -> None:
    found = read_pinglist(ask("/pinglist/n0").body)
    assert found.setting.labels == {"zone": "z0", "rack": "r0"}
    assert [(t.text, t.tor) for t in targets(found)][:2] == [
        ("fd00::1", "z0/r0"),
        ("fd00::2", "z0/r0"),
    ]
    assert found.mesh["z0/r1"].labels == {"zone": "z0", "rack": "r1"}
    assert {group.probe for group in found.mesh.values()} == {"icmp"}


def test_yaml_and_json_are_the_same_list() -> None:
    served = lists(setting=Setting(interval=15.0), custom=CUSTOM)
    as_json = ask("/pinglist/n7", served=served, accept="application/json")
    as_yaml = ask("/pinglist/n7", served=served)
    assert as_json.headers["content-type"] == "application/json"
    assert as_yaml.headers["content-type"] == "application/yaml"
    assert json.loads(as_json.body) == yaml.safe_load(as_yaml.body)
    assert as_json.headers["etag"] != as_yaml.headers["etag"]


def test_custom_groups_are_everybody_s_and_keep_what_they_say() -> None:
    for name in ("n0", "n11"):
        found = read_pinglist(ask(f"/pinglist/{name}", served=lists(custom=CUSTOM)).body)
        assert found.mesh["web"] == CUSTOM["web"]
        assert found.mesh["z0/r0 (custom)"] == CUSTOM["z0/r0"]


@pytest.mark.parametrize(
    ("setting", "first"),
    [(Setting(ip_protocol="ip4"), "10.0.0.1"), (Setting(), "fd00::1")],
)
def test_the_preferred_family_s_address_is_probed(setting: Setting, first: str) -> None:
    found = read_pinglist(lists(setting=setting).yaml("n0"))
    assert targets(found)[0].text == first


def test_a_node_without_the_preferred_family_is_probed_at_what_it_has() -> None:
    two = [Member("a", "", "", ("10.0.0.1",)), Member("b", "", "", ("10.0.0.2",))]
    assert [t.text for t in targets(read_pinglist(lists(two).yaml("a")))] == ["10.0.0.2"]


def test_a_mesh_of_one_is_an_empty_list_that_can_be_read() -> None:
    one = lists([Member("a", "z", "", ("::1",))])
    assert read_pinglist(one.yaml("a")).mesh == {}
    assert read_pinglist(one.json("a")).mesh == {}


def test_probing_goes_into_every_group() -> None:
    served = lists(probing=Probing(probe="udp", port=7, payload=1200))
    groups = read_pinglist(served.yaml("n0")).mesh.values()
    assert {(g.probe, g.port, g.payload) for g in groups} == {("udp", 7, 1200)}


def test_replicas_and_restarts_give_the_same_bytes() -> None:
    assert {n: lists(MEMBERS[::-1]).yaml(n) for n in ("n0", "n5")} == {
        n: lists().yaml(n) for n in ("n0", "n5")
    }


def test_lists_made_from_the_last_ones_are_the_ones_made_anew() -> None:
    before = lists()
    for name in before.topology.names:
        before.digest(name)
    moved = [m._replace(addresses=("fd01::1",)) if m.name == "n3" else m for m in MEMBERS[:-1]]
    topology = Topology(moved, before=before.topology)
    after = Lists(topology, Shared(), before)
    assert {n: after.yaml(n) for n in topology.names} == {
        n: lists(moved).yaml(n) for n in topology.names
    }


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 304),
        ({"accept": "application/json"}, 304),
        ({"accept_encoding": "gzip"}, 304),
    ],
)
def test_who_has_it_gets_no_body(headers: dict[str, Any], status: int) -> None:
    first = ask("/pinglist/n0", **headers)
    for held in (first.headers["etag"], f'"x", W/{first.headers["etag"]}', "*"):
        again = ask("/pinglist/n0", if_none_match=held, **headers)
        assert (again.status, again.body) == (status, b"")
        assert again.headers["etag"] == first.headers["etag"]


def test_another_representation_or_content_is_sent_whole() -> None:
    etag = ask("/pinglist/n0").headers["etag"]
    assert ask("/pinglist/n0", if_none_match=etag, accept_encoding="gzip").status == 200
    assert ask("/pinglist/n0", if_none_match=etag, accept="application/json").status == 200
    assert ask("/pinglist/n1", if_none_match=etag).status == 200
    assert ask("/pinglist/n0", if_none_match=etag[:-2] + '"').status == 200
    fewer = lists(MEMBERS[:2])
    assert ask("/pinglist/n0", if_none_match=etag, served=fewer).status == 200


def test_a_member_s_change_leaves_the_etags_of_those_that_do_not_probe_it() -> None:
    before = lists()
    after = lists([m._replace(addresses=("fd01::1",)) if m.name == "n3" else m for m in MEMBERS])
    touched = {a.name for a, b in before.topology.pairs() if b.name == "n3"}
    changed = {n for n in before.topology.names if before.digest(n) != after.digest(n)}
    assert changed == touched
    assert len(touched) < len(MEMBERS) - 1


def test_gzip_is_for_those_who_take_it() -> None:
    packed = ask("/pinglist/n0", accept_encoding="br, gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == ask("/pinglist/n0").body
    assert "content-encoding" not in ask("/pinglist/n0", accept_encoding="gzip;q=0").headers


@pytest.mark.parametrize(
    ("accept", "type_"),
    [
        ("*/*", "yaml"),
        ("application/json, */*", "yaml"),
        ("application/json, */*;q=0.1", "json"),
        ("application/yaml, application/json;q=0.5", "yaml"),
        ("application/json;q=x", "yaml"),
        ("text/html", "yaml"),
    ],
)
def test_json_is_for_those_who_prefer_it(accept: str, type_: str) -> None:
    answer = ask("/pinglist/n0", accept=accept)
    assert answer.headers["content-type"] == f"application/{type_}"


def test_who_is_no_member_and_who_is_too_early_are_told() -> None:
    gone = ask("/pinglist/nobody")
    assert (gone.status, gone.body) == (404, b"no node 'nobody' among the members\n")
    early = ask("/pinglist/n0", known=False)
    assert (early.status, early.headers["retry-after"]) == (503, "5")
    assert ask("/pinglist/n0", "POST").status == 405
    assert ask("/pinglist/").status == 404
    assert ask("/metrics").status == 299


def test_head_is_get_without_the_body() -> None:
    answer = ask("/pinglist/n0", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) == len(ask("/pinglist/n0").body)


def test_lists_of_members_that_may_be_out_of_date_say_so() -> None:
    assert ask("/pinglist/n0", stale="file: gone").headers["x-kernmesh-stale"] == "file: gone"
    assert "x-kernmesh-stale" not in ask("/pinglist/n0").headers


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "inventory: is missing, want a file of nodes here, or source.kubernetes"),
        ("source: {}", "inventory: is missing"),
        ("source: {kubernetes: {opt_in: 7, rack_label: ''}}", "source.kubernetes.rack_label: "),
        ("source: {kubernetes: {nodez: a}}", "did you mean nodes?"),
        ("inventory: i\nrefresh: 0.5s", "refresh: too short, got 0.5s, want at least 1s"),
        ("inventory: i\nprobing: {probe: tcp}", "probing.port: is missing"),
        ("inventory: i\nprobing: {port: 7}", "probing.port: has no meaning for probe icmp"),
        ("inventory: i\nprobing: {probe: http}", "probing.probe: "),
        ("inventory: i\ntopology: {max_targets: 0}", "topology.max_targets: "),
        ("inventory: i\ntopology: {max_target: 5}", "did you mean max_targets?"),
        (
            "inventory: i\nmesh: {window: 30s}",
            "mesh.window: too short, got 30s, want at least twice every (30s)",
        ),
        (
            "inventory: i\nmesh: {thresholds: {zone: {yellow: 6, red: 5}}}",
            "mesh.thresholds.zone.yellow: too large, got 6, want at most red (5)",
        ),
        ("inventory: i\nserver: {listen: [9115]}", "server.listen[0]: "),
    ],
)
def test_what_is_wrong_with_controller_yaml_is_said(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "controller.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_controller(path)
    assert problem in str(raised.value)


def test_custom_targets_count_among_the_most_that_an_agent_gets() -> None:
    assert TopologyRules(max_targets=10).rules(4).max_targets == 6
    assert TopologyRules(max_targets=10).rules(40).max_targets == 1


def test_the_schema_takes_what_the_loader_takes(tmp_path: Path) -> None:
    path = tmp_path / "controller.yaml"
    text = "inventory: i.yaml\nsetting: {interval: 10, labels: {dc: x}}\nmesh: {every: 10s}\n"
    path.write_text(text)
    load_controller(path)
    validator = jsonschema.Draft202012Validator(schema_of(ControllerConfig))
    validator.validate(yaml.safe_load(text))
    validator.validate({"source": {"kubernetes": {"nodes": "a=b", "opt_in": None}}})
    assert list(validator.iter_errors({"inventory": "i", "probing": {"probe": "x"}}))


class Running:
    """A real `kernmesh controller`, as a user starts it."""

    def __init__(self, config: Path) -> None:
        command = (sys.executable, "-m", "exporter.cli", "controller", "--config", str(config))
        self.process = subprocess.Popen(
            [*command, "--web.listen-address", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._changed = threading.Condition()
        self.text = ""
        self._readers = [
            threading.Thread(target=self._read, args=(pipe,), daemon=True)
            for pipe in (self.process.stdout, self.process.stderr)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, pipe: Any) -> None:
        for line in pipe:
            with self._changed:
                self.text += line
                self._changed.notify_all()

    def wait_for(self, pattern: str) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            return re.search(pattern, self.text)

        with self._changed:
            self._changed.wait_for(
                lambda: found() or self.process.poll() is not None, WATCHDOG_SECONDS
            )
            match = found()
            assert match, self.text
            return match

    def get(self, path: str, method: str = "GET") -> str:
        url = self.wait_for(r"metrics: (\S+)/metrics")[1]
        request = urllib.request.Request(url + path, method=method)
        with urllib.request.urlopen(request, timeout=WATCHDOG_SECONDS) as answer:
            return str(answer.read(), "utf-8")

    def sample(self, series: str) -> float:
        [value] = re.findall(rf"^{re.escape(series)} (\S+)$", self.get("/metrics"), re.MULTILINE)
        return float(value)


@contextmanager
def controller(folder: Path, inventory: str, more: str = "") -> Iterator[Running]:
    (folder / "inventory.yaml").write_text(inventory)
    config = folder / "controller.yaml"
    config.write_text(f"inventory: {folder}/inventory.yaml\nrefresh: 1s\n{more}")
    running = Running(config)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


TWO = "nodes:\n  a: {ips: ['::1']}\n  b: {ips: ['::2']}\n"


def test_a_controller_serves_follows_its_files_and_ends(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.yaml"
    with controller(tmp_path, TWO) as running:
        found = read_pinglist(running.get("/pinglist/a").encode())
        assert [t.text for t in targets(found)] == ["::2"]
        assert running.get("/-/ready") == "kernmesh is ready.\n"
        assert running.get("/-/healthy") == "kernmesh is healthy.\n"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            running.get("/pinglist/c")
        assert running.sample("kernmesh_controller_members") == 2
        assert running.sample('kernmesh_controller_pinglists_served_total{code="404"}') == 1
        for mechanism in MECHANISMS:  # it serves from here on, and can do nothing else
            assert running.sample(f'{IN_FORCE}{{mechanism="{mechanism}"}}') == 1
        assert "kernmesh_capability_effective{" not in running.get("/metrics")

        inventory.write_text(TWO + "  c: {ips: ['::3']}\n")
        running.wait_for(r'msg="members changed" members=3')
        assert len(targets(read_pinglist(running.get("/pinglist/c").encode()))) == 2

        inventory.write_text("nodes: {a: {}}\n")
        running.wait_for(r"members of source file stay: .*nodes\.a\.ips: is missing")
        assert running.get("/pinglist/c")
        assert running.sample("kernmesh_controller_members_stale") == 1
        assert running.sample('kernmesh_controller_source_up{source="file"}') == 0

        running.process.send_signal(signal.SIGHUP)
        running.wait_for("reload refused: .*nodes.a.ips: is missing")
        assert running.sample("kernmesh_config_last_reload_successful") == 0
        inventory.write_text(TWO)
        running.process.send_signal(signal.SIGHUP)
        running.wait_for(r"msg=reloaded members=2")
        assert running.sample("kernmesh_controller_members_stale") == 0

        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(WATCHDOG_SECONDS) == 0


def test_custom_targets_are_followed_and_kept_when_they_go_bad(tmp_path: Path) -> None:
    custom = tmp_path / "pinglist.yaml"
    custom.write_text("mesh: {public: {ips: [10.9.9.9]}}\n")
    with controller(tmp_path, TWO, f"pinglist: {custom}\n") as running:
        assert "10.9.9.9" in running.get("/pinglist/a")
        custom.write_text("mesh: {public: {ips: [10.8.8.8]}}\n")
        running.wait_for("members changed")
        assert "10.8.8.8" in running.get("/pinglist/a")
        custom.write_text("mesh: {public: {ips: [a b]}}\n")
        running.wait_for(r"custom targets stay as they were: .*mesh\.public\.ips\[0\]")
        assert "10.8.8.8" in running.get("/pinglist/a")


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ("inventory: {folder}/none.yaml\n", "kernmesh: {folder}/none.yaml: No such file"),
        ("inventory: {folder}/bad.yaml\n", "{folder}/bad.yaml:1: nodes.a.ips: is missing"),
        (
            "inventory: {folder}/good.yaml\npinglist: {folder}/bad.yaml\n",
            "{folder}/bad.yaml:1: nodes: ",
        ),
        ("", "{folder}/controller.yaml:1: inventory: is missing"),
        (
            "inventory: {folder}/good.yaml\nserver: {{web_config: '{folder}/none.yml'}}\n",
            "{folder}/none.yml: cannot be read: No such file",
        ),
    ],
)
def test_a_controller_that_cannot_start_says_why_in_lines(
    tmp_path: Path, config: str, line: str
) -> None:
    (tmp_path / "good.yaml").write_text(TWO)
    (tmp_path / "bad.yaml").write_text("nodes: {a: {}}\n")
    path = tmp_path / "controller.yaml"
    path.write_text(config.format(folder=tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "exporter.cli", "controller", "--config", str(path)],
        capture_output=True,
        text=True,
        timeout=WATCHDOG_SECONDS,
    )
    assert done.returncode == 1
    assert line.format(folder=tmp_path) in done.stderr
    assert "Traceback" not in done.stderr
