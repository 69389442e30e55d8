"""tcp-retransmit against each namespace's own counters of segments sent again."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from exporter.ebpf.loaded import KernelProgram
from exporter.ebpf.spec import Program
from tests.kernel.conftest import Load, counts
from tests.kernel.netns import Host, joined
from tests.kernel.tasks import by_way
from tests.kernel.workloads import eventually

pytestmark = pytest.mark.bpf

RETRANSMIT, TAIL_LOSS_PROBE = 1, 2  # as tcp-retransmit.yaml names them
PORT = 7000
WATCHDOG_SECONDS = 60.0


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    with joined() as made:
        yield made


def by_address(folder: Path, way: str) -> Program:
    program = by_way(folder, "tcp-retransmit", way, "synack_raw")
    spec = msgspec.structs.replace(program.spec, constants={"per_address": 1})
    return program._replace(spec=spec)


def again(host: Host) -> int:
    """Segments that the host has sent again."""
    return host.counter("Tcp", "RetransSegs")


def total(running: KernelProgram) -> int:
    return counts(running, "tcp_retransmits_total")[bytes(4)]


def missed(running: KernelProgram) -> int:
    """Events that the kernel did not show it, as the CPU was in the same function already: when a
    timer of another connection interrupts it."""
    return sum(function.missed or 0 for function in running.functions())


def lose_and_find_again(one: Host, other: Host, family: int, address: str) -> None:
    """A connection from one to the other whose data is lost until it has been sent again a few
    times."""
    server = other.inside(
        lambda: socket.create_server(
            ("", PORT), family=family, dualstack_ipv6=family == socket.AF_INET6
        )
    )
    client = one.inside(lambda: socket.socket(family))
    with server, client:
        client.connect((address, PORT))
        connection, _ = server.accept()
        with connection:
            client.send(b"x")  # both know their round-trip time now
            assert connection.recv(1) == b"x"
            assert eventually(lambda: unacknowledged(client) == 0, WATCHDOG_SECONDS)
            one.reach(other, lost=True)
            client.send(b"y")
            before = again(one)
            assert eventually(lambda: again(one) >= before + 3, WATCHDOG_SECONDS)
            one.reach(other)
            connection.settimeout(WATCHDOG_SECONDS)
            assert connection.recv(1) == b"y"
            assert eventually(lambda: unacknowledged(client) == 0, WATCHDOG_SECONDS)


def unacknowledged(connection: socket.socket) -> int:
    """tcp_info.tcpi_unacked, linux/tcp.h."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int.from_bytes(info[24:28], "little")


@pytest.mark.parametrize("way", ["segment_btf", "segment_raw"])
def test_segments_sent_again_agree_with_the_namespaces_own_count_by_address(
    shipped: Path, loaded: Load, hosts: tuple[Host, Host], way: str
) -> None:
    running = loaded(by_address(shipped, way))
    one, other = hosts
    before = total(running)
    lose_and_find_again(one, other, socket.AF_INET, other.ipv4)
    v4 = socket.inet_aton(one.ipv4) + socket.inet_aton(other.ipv4)

    def found() -> dict[int, int]:
        return {
            struct.unpack("=I", key[12:])[0]: value
            for key, value in counts(running, "tcp_retransmit_ipv4_packets_total").items()
            if key[:12] == v4 + struct.pack("=I", PORT)
        }

    made = again(one)
    assert made >= 3
    # The connection's end may be sent again while the two are read, one after the other.
    assert eventually(lambda: again(one) - missed(running) <= sum(found().values()) <= again(one))

    def probes() -> int:
        return one.counter("TcpExt", "TCPLossProbes")

    assert eventually(
        lambda: probes() - missed(running) <= found().get(TAIL_LOSS_PROBE, 0) <= probes()
    )
    # others on this machine may have to send again too
    assert total(running) - before >= made - missed(running)
    assert again(other) == 0


@pytest.mark.parametrize("mapped", [False, True], ids=["ipv6", "ipv4_in_ipv6"])
def test_ipv6_has_a_metric_of_its_own_and_ipv4_in_it_is_ipv4(
    shipped: Path, loaded: Load, hosts: tuple[Host, Host], mapped: bool
) -> None:
    running = loaded(by_address(shipped, "segment_btf"))
    one, other = hosts
    address = f"::ffff:{other.ipv4}" if mapped else other.ipv6
    lose_and_find_again(one, other, socket.AF_INET6, address)
    family, version = (socket.AF_INET, "ipv4") if mapped else (socket.AF_INET6, "ipv6")
    ends = [(one.ipv4, other.ipv4), (one.ipv6, other.ipv6)][not mapped]
    start = b"".join(socket.inet_pton(family, end) for end in ends)

    def ours() -> int:
        found = counts(running, f"tcp_retransmit_{version}_packets_total")
        return sum(value for key, value in found.items() if key.startswith(start))

    # read one after the other
    assert eventually(lambda: again(one) - missed(running) <= ours() <= again(one))
    others = {"ipv4": "ipv6", "ipv6": "ipv4"}[version]
    assert not any(
        socket.inet_pton(socket.AF_INET, other.ipv4) in key
        or socket.inet_pton(socket.AF_INET6, other.ipv6) in key
        for key in counts(running, f"tcp_retransmit_{others}_packets_total")
    )


def test_answers_to_connections_sent_again_count_in_the_total(
    shipped: Path, loaded: Load, hosts: tuple[Host, Host]
) -> None:
    running = loaded(by_address(shipped, "segment_btf"))
    one, other = hosts
    before = total(running)
    other.reach(one, lost=True)
    server = other.inside(lambda: socket.create_server((other.ipv4, PORT)))
    client = one.inside(lambda: socket.socket(socket.AF_INET))
    with server, client:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.connect((other.ipv4, PORT))
        assert eventually(lambda: again(other) >= 1, WATCHDOG_SECONDS)
    made = again(one) + again(other)
    assert total(running) - before >= made - missed(running)


def test_without_being_asked_for_there_are_no_addresses(
    shipped: Path, loaded: Load, hosts: tuple[Host, Host]
) -> None:
    running = loaded(by_way(shipped, "tcp-retransmit", "segment_btf", "synack_raw"))
    one, other = hosts
    lose_and_find_again(one, other, socket.AF_INET, other.ipv4)
    made = again(one)  # before the map is read: more may come in between
    assert total(running) >= made
    assert counts(running, "tcp_retransmit_ipv4_packets_total") == {}
    assert counts(running, "tcp_retransmit_ipv6_packets_total") == {}
