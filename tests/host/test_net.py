"""/proc/net/dev, and how loaded the busiest link was."""

from pathlib import Path

import pytest

from exporter.errors import KernmeshError
from exporter.host.net import NetTotals, busiest_percent, parse_net_dev

HEAD = "Inter-|   Receive\n face |bytes\n"
TEXT = (
    HEAD
    + "    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n  eth0:17 2 0 4 5 6 7 8 9 1 0 2 0 0 0 0\n"
)
ZERO = NetTotals(0, 0, 0, 0, 0, 0, 0, 0)
GIGABIT = 125e6


def test_each_interface_has_what_it_received_and_what_it_sent() -> None:
    assert parse_net_dev(TEXT) == {
        "lo": NetTotals(1, 2, 3, 4, 9, 10, 11, 12),
        "eth0": NetTotals(17, 2, 0, 4, 9, 1, 0, 2),
    }


def test_this_machine_has_a_loopback() -> None:
    assert "lo" in parse_net_dev(Path("/proc/net/dev").read_text())


@pytest.mark.parametrize(
    "line", ["eth0", "eth0: 1 2 3", "eth0: " + "x " * 16, "a: " + "9" * 5000 + " 1" * 15]
)
def test_a_line_that_is_none_is_said(line: str) -> None:
    with pytest.raises(KernmeshError, match="want sixteen numbers after a name"):
        parse_net_dev(HEAD + line, "p")


def moved(receive: int = 0, transmit: int = 0) -> NetTotals:
    return ZERO._replace(receive_bytes=receive, transmit_bytes=transmit)


@pytest.mark.parametrize(
    ("after", "speeds", "seconds", "percent"),
    [
        ({"a": moved(625_000_000, 1)}, {"a": GIGABIT}, 10.0, 50.0),
        ({"a": moved(1, 625_000_000)}, {"a": GIGABIT}, 10.0, 50.0),
        ({"a": moved(125_000_000), "b": moved(0)}, {"a": GIGABIT, "b": GIGABIT}, 10.0, 10.0),
        ({"a": moved(2_000_000_000)}, {"a": GIGABIT}, 10.0, 100.0),
        ({"a": moved(625_000_000)}, {"a": 0.0}, 10.0, None),
        ({"a": moved(625_000_000)}, {}, 10.0, None),
        ({"c": moved(1)}, {"c": GIGABIT}, 10.0, None),
        ({"a": moved(-5)}, {"a": GIGABIT}, 10.0, None),
        ({"a": moved(5)}, {"a": GIGABIT}, 0.0, None),
    ],
    ids=["received", "sent", "the busiest", "offloaded", "no speed", "no link", "new", "anew",
         "no time"],
)  # fmt: skip
def test_the_busier_direction_of_the_busiest_link_counts(
    after: dict[str, NetTotals], speeds: dict[str, float], seconds: float, percent: float | None
) -> None:
    assert busiest_percent({"a": ZERO, "b": ZERO}, after, speeds, seconds) == percent
