"""Configuration: every YAML file that a user writes or that another program's user has written."""

import json
from collections.abc import Callable
from pathlib import Path

from exporter.config import load_agent
from exporter.config.web import load_web
from exporter.ebpf.spec import read_program
from exporter.kube.access import read_kubeconfig
from exporter.labeller.config import load_labeller
from exporter.labeller.rule_file import read_rules
from exporter.labeller.settings import check, crane_plan
from exporter.pressure.annotations import read_policy
from pingmesh.controller_config import load_controller
from pingmesh.inventory import read_inventory
from pingmesh.pinglist import read_pinglist, summary, targets, warnings
from tests.fuzz.ground import of_checkout, of_docs, put
from tests.fuzz.mutate import spoil_yaml
from tests.fuzz.target import Case, Target

_HASH = "$2y$10$" + "a" * 53
_WEB = f"""\
tls_server_config: {{cert_file: a, key_file: b, cipher_suites: [TLS_AES_128_GCM_SHA256],
  curve_preferences: [X25519], client_auth_type: RequireAndVerifyClientCert, client_ca_file: c,
  client_allowed_sans: [a.example], min_version: TLS12, max_version: TLS13}}
http_server_config: {{http2: false, headers: {{X-Frame-Options: deny}}}}
rate_limit: {{interval: 1s, burst: 20}}
basic_auth_users: {{alice: {_HASH}}}
bearer_token_files: {{agents: token}}
open_paths: [/-/healthy]
"""
_KUBECONFIG = json.dumps(
    {
        "clusters": [
            {"name": "k", "cluster": {"server": "https://10.0.0.1:6443/",
                                      "certificate-authority-data": "YWJj",
                                      "tls-server-name": "k"}}
        ],
        "users": [{"name": "u", "user": {"token": "t", "client-certificate-data": "YWJj",
                                         "client-key": "/dev/null"}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "n"}}],
        "current-context": "c",
        "preferences": {},
    }
).encode()  # fmt: skip
_RULES = b"""\
PromJob: node
Rulename:
  cpu: {Promsql: "100 - avg by (instance) (rate(x[1m]))", Threshold: "80"}
  mem-a: {Promsql: mem, Threshold: "0.8"}
"""
_LABELLER = b"agents: {}\nlevels: {cpu: {high: 80, low: 70}}\nevictions: {never: [a]}\n"


def _of(name: str, read: Callable[[Path], object]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        read(put(name, data))

    return run


def _pinglist(data: bytes) -> None:
    found = read_pinglist(data, "pinglist.yaml")
    targets(found)
    summary(found)
    list(warnings(found))


def _labeller(data: bytes) -> None:
    config = load_labeller(put("labeller.yaml", data))
    check(config)
    crane_plan(config)


def _web(data: bytes) -> None:
    list(load_web(put("web.yml", data)).notes())


TARGET = Target(
    "files",
    "YAML: agent, controller, labeller, pinglist, inventory, web configuration, kubeconfig, "
    "dynamicScheduler's rule.yaml, crane's policy, ebpf_exporter's programs",
    (
        Case(
            "agent.yaml",
            _of("agent.yaml", load_agent),
            lambda: of_checkout("tests/config/valid/*.yaml", "tests/config/agent/*.yaml"),
            spoil_yaml,
        ),
        Case(
            "controller.yaml",
            _of("controller.yaml", load_controller),
            lambda: of_docs("yaml", "pingmesh-controller", "tls"),
            spoil_yaml,
        ),
        Case(
            "labeller.yaml",
            _labeller,
            lambda: [_LABELLER, *of_docs("yaml", "pressure")],
            spoil_yaml,
        ),
        Case(
            "pinglist.yaml",
            _pinglist,
            lambda: of_checkout("tests/pingmesh/valid/*.yaml", "tests/pingmesh/invalid/*.yaml"),
            spoil_yaml,
        ),
        Case(
            "inventory.yaml",
            lambda data: read_inventory(data, "inventory.yaml"),
            lambda: [
                b"nodes:\n  a: {ips: [10.0.0.1, fd00::1], zone: z, rack: r, host: h}\n"
                b"  b: {ips: [10.0.0.2]}\n"
            ],
            spoil_yaml,
        ),
        Case("web.yml", _web, lambda: [_WEB.encode(), *of_docs("yaml", "tls")], spoil_yaml),
        Case("kubeconfig", _of("kubeconfig", read_kubeconfig), lambda: [_KUBECONFIG], spoil_yaml),
        Case("rule.yaml", _of("rule.yaml", read_rules), lambda: [_RULES], spoil_yaml),
        Case(
            "policy.yaml",
            _of("policy.yaml", read_policy),
            lambda: of_checkout("tests/pressure/crane-policy.yaml"),
            spoil_yaml,
        ),
        Case(
            "program.yaml",
            _of("program.yaml", read_program),
            lambda: of_checkout("bpf/*.yaml", "tests/config/program/*.yaml"),
            spoil_yaml,
            tested="tests/ebpf/test_fuzz_check.py",
        ),
    ),
)
