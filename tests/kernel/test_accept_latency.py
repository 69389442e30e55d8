"""accept-latency against clocks read around connect() and accept()."""

import socket
import struct
import time
from pathlib import Path

import pytest

from exporter.ebpf.loaded import KernelProgram
from tests.kernel.conftest import Load, numbers
from tests.kernel.tasks import by_way
from tests.kernel.workloads import eventually

pytestmark = pytest.mark.bpf

WAYS = [("state_btf", "any_exit_btf"), ("state_raw", "any_exit_raw")]
FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "::")]
HELD_SECONDS = 0.05  # that connections are left waiting: what is measured


def waiting(listener: socket.socket) -> int:
    """Connections that wait to be accepted: tcp_info.tcpi_unacked of a listener, linux/tcp.h."""
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int.from_bytes(info[24:28], "little")


def of_port(running: KernelProgram, port: int) -> list[int]:
    return numbers(running, "accept_latency_seconds").get(struct.pack("=H", port), [])


@pytest.mark.parametrize("way", WAYS, ids=["tp_btf", "raw_tp"])
@pytest.mark.parametrize(("family", "address"), FAMILIES, ids=["ipv4", "ipv6", "ipv4_to_ipv6"])
def test_each_accepted_connection_counts_with_the_time_that_it_waited(
    shipped: Path, loaded: Load, way: tuple[str, ...], family: int, address: str
) -> None:
    running = loaded(by_way(shipped, "accept-latency", *way))
    least = most = 0.0
    dual = address == "::"
    with socket.create_server((address, 0), family=family, dualstack_ipv6=dual) as server:
        port = server.getsockname()[1]
        to = ("127.0.0.1" if dual else address, port)
        begun, connected, connections = [], [], []
        for _ in range(20):
            begun.append(time.monotonic())
            connections.append(socket.create_connection(to))
            # The listener's end is established by what the client sends last, perhaps after
            # connect() has returned.
            assert eventually(lambda: waiting(server) == len(connections))
            connected.append(time.monotonic())
        time.sleep(HELD_SECONDS)
        for start, end in zip(begun, connected, strict=True):
            least += time.monotonic() - end
            connections.append(server.accept()[0])
            most += time.monotonic() - start
        for connection in connections:
            connection.close()
    *slots, sum_us = of_port(running, port)
    assert sum(slots) == 20
    assert least * 1e6 - 20 <= sum_us <= most * 1e6 + 20  # each is rounded to a µs
    assert running.refused_updates()["accept_latency_seconds"] == 0


def test_a_connection_that_is_never_accepted_counts_nothing(shipped: Path, loaded: Load) -> None:
    running = loaded(by_way(shipped, "accept-latency", *WAYS[0]))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        accepted = server.accept()[0]
    for connection in (*connections, accepted):
        connection.close()
    *slots, _ = of_port(running, port)
    assert sum(slots) == 1


def test_accepts_of_other_families_and_failed_ones_count_nothing(
    shipped: Path, loaded: Load, tmp_path: Path
) -> None:
    running = loaded(by_way(shipped, "accept-latency", *WAYS[0]))
    before = numbers(running, "accept_latency_seconds")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        client.connect(str(tmp_path / "socket"))
        server.accept()[0].close()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert of_port(running, port) == []
    assert b"\0\0" not in numbers(running, "accept_latency_seconds").keys() - before.keys()
