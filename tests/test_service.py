"""What a service manager hears, on a real datagram socket."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from exporter.service import Service


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(30)
        yield sock


def heard(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().split("\n")


@pytest.mark.parametrize(
    ("environ", "service"),
    [
        ({}, Service()),
        ({"NOTIFY_SOCKET": "/run/n"}, Service("/run/n")),
        ({"NOTIFY_SOCKET": "@n"}, Service("@n")),
        ({"NOTIFY_SOCKET": "vsock:2:1"}, Service()),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "30000000"}, Service("/n", 30.0)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "7"}, Service("/n", 5e-6)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "8"}, Service("/n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "soon"}, Service("/n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "0"}, Service("/n")),
    ],
)
def test_what_the_environment_asks_for_is_taken_out_of_it(
    environ: dict[str, str], service: Service
) -> None:
    environ["PATH"] = "/bin"
    assert Service.taken_from(environ, pid=7) == service
    assert environ == {"PATH": "/bin"}


def test_a_service_says_when_it_is_ready_and_when_it_stops(manager: socket.socket) -> None:
    service = Service(manager.getsockname())
    service.ready()
    service.stopping()
    assert heard(manager) == ["READY=1", "STATUS=serving"]
    assert heard(manager) == ["STOPPING=1", "STATUS=stopping"]


def test_a_reload_is_over_however_it_ended(manager: socket.socket) -> None:
    async def refused() -> None:
        async with Service(manager.getsockname()).reload():
            raise ValueError

    with pytest.raises(ValueError):
        asyncio.run(refused())
    first, time, _ = heard(manager)
    assert first == "RELOADING=1"
    assert int(time.removeprefix("MONOTONIC_USEC=")) > 0
    assert heard(manager)[0] == "READY=1"


def test_signs_of_life_come_while_the_loop_runs(manager: socket.socket) -> None:
    manager.setblocking(False)

    async def beating() -> None:
        live = asyncio.create_task(Service(manager.getsockname(), 0.01).live())
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            for _ in range(3):
                assert await loop.sock_recv(manager, 100) == b"WATCHDOG=1"
        live.cancel()

    asyncio.run(beating())


def test_who_waits_for_no_sign_of_life_gets_none() -> None:
    asyncio.run(Service("@nobody-listens-here").live())


@pytest.mark.parametrize("address", [None, "@nobody-listens-here", "/no/such/folder/notify"])
def test_a_manager_that_cannot_be_told_costs_nothing(address: str | None) -> None:
    Service(address).ready()


def test_an_abstract_address_is_reached() -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind("")  # the kernel chooses an abstract name
        manager.settimeout(30)
        Service("@" + manager.getsockname()[1:].decode()).ready()
        assert heard(manager)[0] == "READY=1"
