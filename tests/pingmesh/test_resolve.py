"""Names: both families, kept as long as the TTL says, asked once for all who wait."""

import asyncio
import socket
from pathlib import Path

import pytest

from exporter.testing import FakeClock
from pingmesh.resolve import FAILURE_TTL, Found, NoAddress, Resolver, SystemLookup

V4, V6 = socket.AF_INET, socket.AF_INET6


class Table:
    """A Lookup from (name, family) to Found. `gate`, if set, is waited for before answers."""

    def __init__(self, rows: dict[tuple[str, int], Found]) -> None:
        self.rows = rows
        self.asked: list[tuple[str, int]] = []
        self.gate: asyncio.Event | None = None

    async def find(self, name: str, family: int) -> Found:
        self.asked.append((name, family))
        if self.gate is not None:
            await self.gate.wait()
        try:
            return self.rows[name, family]
        except KeyError:
            raise NoAddress(f"{name}: no such name") from None


BOTH: dict[tuple[str, int], Found] = {
    ("h", V4): Found(("10.0.0.1",), 30.0),
    ("h", V6): Found(("fd00::1",), 60.0),
}


@pytest.mark.parametrize(
    ("rows", "prefer", "address"),
    [
        (BOTH, V6, "fd00::1"),
        (BOTH, V4, "10.0.0.1"),
        ({("h", V4): BOTH["h", V4]}, V6, "10.0.0.1"),
        ({("h", V6): BOTH["h", V6]}, V4, "fd00::1"),
        ({("h", V4): BOTH["h", V4], ("h", V6): Found((), 0.0)}, V6, "10.0.0.1"),
    ],
)
def test_the_preferred_family_is_taken_and_the_other_where_there_is_none(
    rows: dict[tuple[str, int], Found], prefer: int, address: str
) -> None:
    resolver = Resolver(FakeClock(), Table(rows), prefer)
    assert asyncio.run(resolver.address("h", 1.0)) == address


@pytest.mark.parametrize("address", ["10.0.0.1", "::1", "fe80::1%eth0"])
def test_an_address_is_not_asked_for(address: str) -> None:
    table = Table({})
    assert asyncio.run(Resolver(FakeClock(), table, V4).address(address, 1.0)) == address
    assert table.asked == []


def test_a_name_is_asked_again_when_its_ttl_is_over() -> None:
    async def main() -> None:
        clock, table = FakeClock(), Table(dict(BOTH))
        resolver = Resolver(clock, table, V4)
        assert resolver.peek("h") is None
        await resolver.address("h", 1.0)
        clock.advance(29.9)
        assert resolver.peek("h") == "10.0.0.1"
        table.rows["h", V4] = Found(("10.0.0.2",), 30.0)
        clock.advance(0.2)
        assert resolver.peek("h") is None
        assert await resolver.address("h", 1.0) == "10.0.0.2"
        assert len(table.asked) == 2

    asyncio.run(main())


def test_a_name_without_address_is_asked_again_soon_and_not_at_once() -> None:
    async def main() -> None:
        clock, table = FakeClock(), Table({})
        resolver = Resolver(clock, table, V4)
        for _ in range(2):
            with pytest.raises(NoAddress, match="no such name"):
                await resolver.address("h", 1.0)
        assert len(table.asked) == 2  # one per family
        clock.advance(FAILURE_TTL)
        table.rows.update(BOTH)
        assert await resolver.address("h", 1.0) == "10.0.0.1"

    asyncio.run(main())


def test_all_who_want_a_name_wait_for_one_query() -> None:
    async def main() -> None:
        table = Table(dict(BOTH))
        table.gate = asyncio.Event()
        resolver = Resolver(FakeClock(), table, V4)
        waiting = [asyncio.create_task(resolver.address("h", 5.0)) for _ in range(5)]
        await asyncio.sleep(0)
        table.gate.set()
        assert await asyncio.gather(*waiting) == ["10.0.0.1"] * 5
        assert table.asked == [("h", V4)]

    asyncio.run(main())


def test_a_name_server_that_hangs_costs_a_probe_its_timeout_and_no_more() -> None:
    async def main() -> None:
        table = Table(dict(BOTH))
        table.gate = asyncio.Event()
        resolver = Resolver(FakeClock(), table, V4)
        with pytest.raises(NoAddress, match=r"h: no answer in 0\.01 s"):
            await resolver.address("h", 0.01)
        table.gate.set()
        assert await resolver.address("h", 5.0) == "10.0.0.1"

    asyncio.run(main())


def test_the_hosts_file_goes_before_dns_and_is_read_again_when_it_changes(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.9 One one.example # home\n::9 one\nbroken\n\n")
    lookup = SystemLookup(tmp_path)
    assert asyncio.run(lookup.find("ONE.", V4)).addresses == ("127.0.0.9",)
    assert asyncio.run(lookup.find("one", V6)).addresses == ("::9",)
    hosts.write_text("127.0.0.10 one one\n127.0.0.11 one\n")
    assert asyncio.run(lookup.find("one", V4)).addresses[0] == "127.0.0.10"


def test_without_resolv_conf_a_name_has_no_address(tmp_path: Path) -> None:
    with pytest.raises(NoAddress, match=r"^nowhere\.example: "):
        asyncio.run(SystemLookup(tmp_path).find("nowhere.example", V4))
