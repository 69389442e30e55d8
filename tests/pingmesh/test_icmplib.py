"""icmplib as the reference: of the same hosts the same probes are lost, and who is farther for one
is farther for the other. Loss is nft's in a network namespace, distance a host that waits."""

import asyncio
import subprocess
from collections import Counter
from statistics import median

import icmplib
import pytest

from tests.peers import PEERS, environment
from tests.pingmesh.test_faults import after, hosts
from tests.pingmesh.test_lanes import Round, namespace, one_round, packets

pytestmark = pytest.mark.bpf  # needs root: network namespaces


def nft(rules: str) -> None:
    """In this thread's network namespace."""
    program = PEERS / "usr/sbin/nft"
    assert program.exists(), f"{program} is missing: make .cache/peers/.targets"
    subprocess.run([program, "-f", "-"], input=rules.encode(), env=environment(), check=True)


def by_icmplib(address: str, count: int, timeout: float = 0.2) -> icmplib.Host:
    return icmplib.ping(address, count=count, interval=0.001, timeout=timeout)


def by_us(*addresses: str, count: int, timeout: float = 0.2) -> list[Round]:
    """So many rounds of 50 ms."""
    listed = ", ".join(f"'{address}'" for address in addresses)
    start = packets(f"mesh: {{a: {{ips: [{listed}]}}}}", timeout=timeout, interval=0.05)
    return asyncio.run(one_round(start, rounds=count))


def lost(rounds: list[Round]) -> Counter[str]:
    return Counter(
        target for each in rounds for target, reason in each.results.items() if reason != "ok"
    )


@pytest.mark.parametrize("groups", ["0 2147483647", "1 0"], ids=["datagram", "raw"])
@pytest.mark.parametrize(
    ("drop", "count", "wanted"),
    [("counter", 30, 0), ("numgen inc mod 10 < 3 drop", 30, 9), ("drop", 10, 10)],
    ids=["none", "three of ten", "all"],
)
def test_as_many_are_lost_as_icmplib_loses(groups: str, drop: str, count: int, wanted: int) -> None:
    """Echo requests to two of three hosts are dropped on arrival."""
    rules = (
        "table inet loss { chain input { type filter hook input priority 0;\n"
        f"ip daddr 127.0.0.2 icmp type echo-request {drop}\n"
        f"ip6 daddr ::1 icmpv6 type echo-request {drop}\n"
        "}\n}\n"
    )
    with namespace(groups):
        nft(rules)
        ours = lost(by_us("127.0.0.1", "127.0.0.2", "::1", count=count))
        theirs = {each: by_icmplib(each, count) for each in ("127.0.0.1", "127.0.0.2", "::1")}
    found = {each: (ours[each], host.packets_sent - host.packets_received)
             for each, host in theirs.items()}  # fmt: skip
    assert found == {
        "127.0.0.1": (0, 0),
        "127.0.0.2": (wanted, wanted),
        "::1": (wanted, wanted),
    }


def test_who_is_farther_for_icmplib_is_farther_for_us_and_nobody_nearer_than_he_is() -> None:
    waits = {"127.1.0.1": 0.0, "127.1.0.2": 0.04, "127.1.0.3": 0.08, "127.1.0.4": 0.12}
    with namespace(), hosts({address: after(wait) for address, wait in waits.items()}):
        rounds = by_us(*waits, count=10, timeout=5.0)
        theirs = {address: by_icmplib(address, 5, 5.0).avg_rtt / 1000 for address in waits}
    ours = {
        address: median(each.flight.rtts[list(each.results).index(address)] for each in rounds)
        for address in waits
    }
    assert lost(rounds) == {}
    for found in (ours, theirs):
        assert sorted(found, key=lambda address: found[address]) == list(waits)
        assert all(found[address] >= wait for address, wait in waits.items())
