"""tcp-window-clamps against TCP_INFO and clocks."""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from exporter.ebpf.loaded import KernelProgram
from tests.kernel.conftest import Load, counts
from tests.kernel.netns import Host, joined
from tests.kernel.quiet import least
from tests.kernel.tasks import by_way
from tests.kernel.workloads import eventually

pytestmark = pytest.mark.bpf

OPEN, DISORDER, CWR, RECOVERY, LOSS = range(5)  # linux/tcp.h: enum tcp_ca_state
PROBE_WAYS = ["segment_btf", "segment_raw"]
ALWAYS = ("state_raw", "congestion_raw")
CLOSED = 7  # include/net/tcp_states.h
PORT = 7000
LOST_SECONDS = 0.1
WATCHDOG_SECONDS = 60.0


class TcpInfo(NamedTuple):
    """Of struct tcp_info, linux/tcp.h."""

    state: int
    congestion_state: int
    unacknowledged: int
    rcv_ssthresh: int


def info(connection: socket.socket) -> TcpInfo:
    data = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    # 8 bytes, then u32s: rto ato snd_mss rcv_mss unacked sacked lost retrans fackets, four times,
    # pmtu rcv_ssthresh
    words = struct.unpack_from("=16I", data, 8)
    return TcpInfo(data[0], data[1], words[4], words[14])


def clamps(running: KernelProgram) -> dict[str, int]:
    return {"all": counts(running, "tcp_window_clamps_total")[bytes(4)]}


def state_ns(running: KernelProgram) -> dict[int, int]:
    found = counts(running, "tcp_congestion_state_seconds_total")
    return {struct.unpack("=I", key)[0]: value for key, value in found.items()}


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    with joined() as made:
        yield made


@contextmanager
def connected(
    one: Host, other: Host, set_up: Callable[[socket.socket], None] = lambda _: None
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection from one to the other. `set_up` gets the listener and then the client."""
    server = other.inside(lambda: socket.create_server((other.ipv4, PORT)))
    client = one.inside(lambda: socket.socket(socket.AF_INET))
    with server, client:
        set_up(server)
        set_up(client)
        client.settimeout(WATCHDOG_SECONDS)
        client.connect((other.ipv4, PORT))
        connection, _ = server.accept()
        with connection:
            yield client, connection


@pytest.mark.parametrize("way", PROBE_WAYS)
def test_each_window_that_an_application_cuts_is_seen_with_the_next_segment(
    shipped: Path, loaded: Load, hosts: tuple[Host, Host], way: str
) -> None:
    running = loaded(by_way(shipped, "tcp-window-clamps", way, *ALWAYS))

    def cut() -> None:
        with connected(*hosts) as (client, connection):
            for limit in range(16000, 6000, -1000):
                client.send(b"x")
                assert connection.recv(1)
                before = info(connection).rcv_ssthresh
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, limit)
                assert info(connection).rcv_ssthresh < before
            client.send(b"x")
            assert connection.recv(1)

    assert least(lambda: clamps(running), cut, rounds=8) == {"all": 10}


@pytest.mark.parametrize("way", PROBE_WAYS)
def test_windows_that_memory_cuts_lie_between_what_tcp_info_shows_and_calls_to_prune(
    shipped: Path, loaded: Load, hosts: tuple[Host, Host], way: str
) -> None:
    running = loaded(by_way(shipped, "tcp-window-clamps", way, *ALWAYS))
    one, other = hosts
    one.send_single_segments()

    def small(end: socket.socket) -> None:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20000)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 300)

    before = clamps(running)["all"]
    seen = 0
    with connected(one, other, small) as (client, connection):
        client.setblocking(False)
        limits = [info(connection).rcv_ssthresh]

        def overfill() -> bool:
            with suppress(BlockingIOError):
                client.send(bytes(100_000))
            limits.append(info(connection).rcv_ssthresh)
            return limits[-1] < limits[0] // 2

        assert eventually(overfill, WATCHDOG_SECONDS)
        seen = sum(after < before for before, after in pairwise(limits))
    found = clamps(running)["all"] - before
    assert 1 <= seen <= found <= other.counter("TcpExt", "PruneCalled")


CHANGES = [(way, changes) for way in PROBE_WAYS for changes in (True, False)]


@pytest.mark.parametrize(("way", "changes"), CHANGES)
def test_time_in_the_loss_state_lies_between_what_tcp_info_shows(
    shipped: Path, loaded: Load, hosts: tuple[Host, Host], way: str, changes: bool
) -> None:
    functions = [way, "state_raw", *(["congestion_raw"] if changes else [])]
    running = loaded(by_way(shipped, "tcp-window-clamps", *functions))
    one, other = hosts
    before = state_ns(running)
    with connected(one, other) as (client, connection):
        client.send(b"x")
        assert connection.recv(1)
        assert eventually(lambda: info(client).unacknowledged == 0, WATCHDOG_SECONDS)
        one.reach(other, lost=True)
        client.send(b"y")
        not_yet = time.monotonic_ns()
        assert eventually(lambda: info(client).congestion_state == LOSS, WATCHDOG_SECONDS)
        entered = time.monotonic_ns()
        time.sleep(LOST_SECONDS)
        still = time.monotonic_ns()
        one.reach(other)
        assert eventually(lambda: info(client).congestion_state == OPEN, WATCHDOG_SECONDS)
        left = time.monotonic_ns()
    lost = state_ns(running).get(LOSS, 0) - before.get(LOSS, 0)
    if changes:
        assert still - entered <= lost <= left - not_yet
    else:
        # Seen with the next segment only, and that is the one which ends it.
        assert lost <= left - not_yet


@pytest.mark.parametrize("way", PROBE_WAYS)
def test_all_states_together_are_the_connections_lives(
    shipped: Path, loaded: Load, hosts: tuple[Host, Host], way: str
) -> None:
    running = loaded(by_way(shipped, "tcp-window-clamps", way, *ALWAYS))

    def live() -> None:
        start = time.monotonic_ns()
        with connected(*hosts) as (client, connection):
            begun = time.monotonic_ns()
            for _ in range(100):
                client.send(b"x")
                assert connection.recv(1)
            time.sleep(LOST_SECONDS)
            ending = time.monotonic_ns()
            # at once, without waiting for late segments
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            assert eventually(lambda: info(connection).state == CLOSED, WATCHDOG_SECONDS)
            lives.append((ending - begun, time.monotonic_ns() - start))

    lives: list[tuple[int, int]] = []

    def all_states() -> dict[str, int]:
        return {"all": sum(state_ns(running).values())}

    found = least(all_states, live, rounds=8)["all"]
    # both ends'
    assert 2 * min(life for life, _ in lives) <= found <= 2 * max(most for _, most in lives)
