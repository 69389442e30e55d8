"""Functions at interfaces and in cgroups: attached where the YAML says, and gone when it ends."""

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.ebpf.kernel import load
from exporter.ebpf.spec import AttachSpec, HookSpec, Program
from exporter.errors import BpfError
from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs
from tests.agent.running import running
from tests.kernel.conftest import Load, counts, program
from tests.kernel.workloads import eventually

pytestmark = pytest.mark.bpf

AT = {"at_xdp": 1, "at_tc": 2, "at_cgroup": 3}


def placed(folder: Path, *places: AttachSpec) -> Program:
    """The test program with these places, and no other functions than those."""
    wanted = [each.function for each in places]
    hooks = [HookSpec(name, ((name,),)) for name in wanted]
    others = tuple(sorted(AT.keys() - wanted))
    if others:
        hooks.append(HookSpec("not this time", (("none", *others),), optional=True))
    read = program(folder, "places", hooks)
    spec = read.spec.__class__(hooks=tuple(hooks), attach=places)
    return read._replace(spec=spec)


def seen(loaded: object, function: str) -> int:
    found = counts(loaded, "seen_total")  # type: ignore[arg-type]
    return found.get(AT[function].to_bytes(4, "little"), 0)


def send_to_loopback(packets: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to:
        to.bind(("127.0.0.1", 0))
        for _ in range(packets):
            to.sendto(b"x", to.getsockname())


@pytest.mark.parametrize(
    "place",
    [
        AttachSpec("at_xdp", ("lo",)),
        AttachSpec("at_tc", ("lo",)),
        AttachSpec("at_tc", ("lo",), "egress"),
    ],
    ids=["xdp", "tc ingress", "tc egress"],
)
def test_packets_of_an_interface_are_seen(compiled: Path, loaded: Load, place: AttachSpec) -> None:
    at_interface = loaded(placed(compiled, place))
    send_to_loopback(50)
    assert eventually(lambda: seen(at_interface, place.function) >= 50)
    at_interface.close()
    assert programs_at("lo") == []


def programs_at(interface: str, *inside: str) -> list[str]:
    """Names of BPF functions at an interface, as the kernel tells bpftool."""
    shown = subprocess.run(
        [*inside, "bpftool", "-j", "net", "show", "dev", interface],
        check=True,
        capture_output=True,
        text=True,
    )
    (kinds,) = json.loads(shown.stdout)
    return [kind for kind in ("xdp", "tc") for _ in kinds.get(kind, ())]


@pytest.fixture
def cgroup() -> Iterator[Path]:
    (unified,) = (mount for mount in cgroup_mounts(HostFs()) if mount.version == 2)
    folder = unified.folder / "kernmesh-test-places"
    folder.mkdir()
    yield folder
    folder.rmdir()


def test_what_a_cgroup_s_processes_do_is_seen(compiled: Path, loaded: Load, cgroup: Path) -> None:
    place = AttachSpec("at_cgroup", cgroup=str(cgroup))
    in_cgroup = loaded(placed(compiled, place))
    script = (
        'echo $$ > "$0"/cgroup.procs; exec python3 -c "import socket\n'
        "for _ in range(4): socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
        ".connect(('127.0.0.1', 9))\""
    )
    subprocess.run(["sh", "-ec", script, cgroup], check=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
        outside.connect(("127.0.0.1", 9))
    assert seen(in_cgroup, "at_cgroup") == 4


NOWHERE = {
    "at_xdp": "xdp: nothing says where to attach it: name interfaces for at_xdp under `attach`",
    "at_tc": "tc: nothing says where to attach it: name interfaces for at_tc under `attach`",
    "at_cgroup": "cgroup/connect4: nothing says where to attach it: name a cgroup for at_cgroup "
    "under `attach`",
}


@pytest.mark.parametrize("function", AT)
def test_a_function_without_a_place_says_so_and_the_others_run(
    compiled: Path, loaded: Load, function: str
) -> None:
    hooks = [HookSpec("packets", (("at_xdp",),))] if function != "at_xdp" else []
    spec = program(compiled, "places").spec.__class__(
        hooks=tuple(hooks),
        attach=(AttachSpec("at_tc" if function == "at_xdp" else "at_xdp", ("lo",)),),
    )
    others = loaded(program(compiled, "places")._replace(spec=spec))
    assert f"{function}: {NOWHERE[function]}" in others.problems
    assert len(others.functions()) == 1


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (AttachSpec("at_xdp", ("kernmesh9",)), "xdp: no interface kernmesh9 here"),
        (AttachSpec("at_cgroup", cgroup="/sys/fs/cgroup/none"), "No such file or directory"),
        (
            AttachSpec("at_cgroup", cgroup="/proc"),
            "cgroup /proc: is none of the unified hierarchy",
        ),
    ],
)
def test_a_place_that_is_not_there_is_one_line(compiled: Path, place: AttachSpec, why: str) -> None:
    with pytest.raises(BpfError, match=why):
        load(placed(compiled, place))


def test_an_interface_that_has_an_xdp_program_keeps_it(compiled: Path, loaded: Load) -> None:
    place = AttachSpec("at_xdp", ("lo",))
    loaded(placed(compiled, place))
    with pytest.raises(BpfError, match="interface lo has an XDP program already"):
        load(placed(compiled, place))
    assert programs_at("lo") == ["xdp"]


IN_OWN_NETWORK = (
    *("unshare", "--net", "sh", "-ec"),
    "ip link set lo up; ip link add kernmesh0 type veth peer name kernmesh1; "
    'ip link set kernmesh0 up; ip link set kernmesh1 up; exec "$@"',
    "sh",
)


def test_sigterm_with_xdp_attached_detaches_and_ends_well(compiled: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir(mode=0o755)
    (programs / "xdp.bpf.o").write_bytes((compiled / "xdp.bpf.o").read_bytes())
    (programs / "xdp.yaml").write_text(
        "metrics: {counters: [{name: seen_total, labels: "
        "[{name: where, size: 4, decoders: [{name: uint}]}]}]}\n"
    )
    config = tmp_path / "agent.yaml"
    config.write_text(f"ebpf: {{programs: [xdp], dirs: [{programs}]}}\n")
    with running("--config", config, prefix=IN_OWN_NETWORK) as agent:
        agent.wait_for(lambda agent: "metrics: " in agent.screen)
        inside = ("nsenter", "--net", "--target", str(agent.process.pid))
        with subprocess.Popen([*inside, "sleep", "60"]) as holds_the_network:
            assert "xdp/kernmesh0" in agent.screen
            assert programs_at("kernmesh0", *inside) == ["xdp"]
            inside = ("nsenter", "--net", "--target", str(holds_the_network.pid))
            assert agent.stop() == 0
            assert programs_at("kernmesh0", *inside) == []
            holds_the_network.terminate()
