"""What a thread's status says of capabilities."""

from exporter.privileges.capabilities import NUMBERS, held, name_of

STATUS = {
    "CapInh": "0000000000000000",
    "CapPrm": "0000000400002000",
    "CapEff": "0000000000002000",
    "CapBnd": "000001ffffffffff",
    "CapAmb": "0000000000000000",
}


def test_what_a_thread_can_take_counts_as_what_it_has() -> None:
    found = held(STATUS)
    assert {name_of(each) for each in found.effective} == {"CAP_NET_RAW"}
    assert {name_of(each) for each in found.usable} == {"CAP_NET_RAW", "CAP_SYSLOG"}
    assert found.bounding == frozenset(NUMBERS.values())


def test_a_capability_of_a_newer_kernel_has_its_number_for_a_name() -> None:
    assert (name_of(40), name_of(63)) == ("CAP_CHECKPOINT_RESTORE", "CAP_63")
