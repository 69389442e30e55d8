"""tcp-syn-backlog against a listener that accepts nothing."""

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kernel.conftest import Load, numbers
from tests.kernel.quiet import least
from tests.kernel.tasks import by_way

pytestmark = pytest.mark.bpf

SUM = 22  # after 21 slots and the overflow


@pytest.mark.parametrize("way", ["ready_btf", "ready_raw"])
@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_the_nth_connection_finds_those_before_it_waiting(
    shipped: Path, loaded: Load, way: str, family: int, address: str
) -> None:
    running = loaded(by_way(shipped, "tcp-syn-backlog", way))

    def read() -> dict[int, int]:
        row = numbers(running, "tcp_syn_backlog").get(bytes(4), [0] * (SUM + 1))
        return dict(enumerate(row))

    def connect() -> None:
        with ExitStack() as stack:
            server = stack.enter_context(
                socket.create_server((address, 0), family=family, backlog=200)
            )
            for _ in range(120):
                stack.enter_context(socket.create_connection(server.getsockname()[:2]))

    found = {slot: count for slot, count in least(read, connect).items() if count}
    assert found == {0: 1, 1: 50, 2: 50, 3: 19, SUM: sum(range(120))}
