"""What an agent may be told to reach."""

import pytest

from exporter.config.pingmesh import REACH_WORDS
from pingmesh.guard import WORDS, Guard

DEFAULT = ("link-local", "metadata")


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254",
        "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd20:ce::254",
        "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
    ],
)  # fmt: skip
def test_metadata_and_link_local_addresses_are_denied_however_they_are_written(
    address: str,
) -> None:
    assert "denied by" in str(Guard((), DEFAULT).check(address))


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "0.1.2.3", "255.255.255.255", "224.0.0.1", "239.1.1.1", "::", "ff02::1",
     "::ffff:224.0.0.1"],
)  # fmt: skip
def test_nobody_is_sent_to_many_hosts_or_to_none(address: str) -> None:
    assert "broadcast" in str(Guard(("all",), ()).check(address))


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::1", "2001:db8::1", "8.8.8.8"])
def test_what_is_not_denied_may_be_probed(address: str) -> None:
    assert Guard((), DEFAULT).check(address) is None


def test_where_something_is_allowed_nothing_else_is() -> None:
    guard = Guard(("10.0.0.0/8", "2001:db8::/32", "192.0.2.7"), DEFAULT)
    assert [guard.check(a) for a in ("10.9.9.9", "2001:db8::5", "192.0.2.7")] == [None] * 3
    assert guard.check("192.0.2.8") == "192.0.2.8 is not among those allowed"


def test_denied_goes_before_allowed() -> None:
    guard = Guard(("10.0.0.0/8",), ("10.1.0.0/16",))
    assert guard.check("10.1.0.1") == "10.1.0.1 is denied by 10.1.0.0/16"


def test_a_name_is_no_address() -> None:
    assert Guard().check("example.org") == "no IP address"


@pytest.mark.parametrize("word", ["10.0.0.0/33", "local", "", "10.0.0.0/8/8"])
def test_an_entry_that_is_no_network_is_refused_by_name(word: str) -> None:
    with pytest.raises(ValueError, match="no network, got"):
        Guard((word,))


def test_the_words_that_agent_yaml_takes_are_the_guard_s() -> None:
    assert set(REACH_WORDS) == set(WORDS)
