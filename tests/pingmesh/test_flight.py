"""A round's bookkeeping: settled once, and only by what is proven to be the answer."""

import math

import pytest

from pingmesh.flight import ANSWERED, FAILED, SKIPPED, WAITING, Flight
from pingmesh.probes.packets import Token

NS = 1_000_000_000
T = 5000 * NS


def flight(count: int = 3) -> Flight:
    made = Flight(7, count, timeout=2.0)
    for index in range(count):
        made.sent(index, f"10.0.0.{index}", 100.0 + index, T + index * NS)
    return made


def reply(made: Flight, token: Token, source: str, arrived_ns: int, now: float) -> None:
    made.answer(token.slot, token.cookie, source, arrived_ns, now)


def test_an_answer_in_time_has_the_kernel_s_round_trip() -> None:
    made = flight()
    reply(made, made.token(1), "10.0.0.1", T + NS + 250_000, now=101.5)
    assert made.rtts[1] == pytest.approx(0.00025)
    assert (made.states[1], made.settled, made.done) == (ANSWERED, 1, False)
    assert dict(made.strays) == {}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"cookie": 0x6775657373656421}, "forged"),
        ({"slot": 3}, "foreign"),
        ({"slot": 2**32 - 1}, "foreign"),
        ({"slot": 0}, "forged"),
    ],
)
def test_a_forged_or_foreign_reply_never_counts(change: dict[str, object], kind: str) -> None:
    made = flight()
    token = Token(**{**made.token(1)._asdict(), **change})
    reply(made, token, "10.0.0.1", T + NS + 1, now=101.5)
    assert (dict(made.strays), made.settled) == ({kind: 1}, 0)
    assert bytes(made.states) == bytes([WAITING] * 3)


def test_a_reply_from_another_address_never_counts() -> None:
    made = flight()
    reply(made, made.token(1), "10.0.0.2", T + NS + 1, now=101.5)
    assert (dict(made.strays), made.states[1]) == ({"wrong source": 1}, WAITING)


def test_a_second_answer_is_a_duplicate_and_changes_nothing() -> None:
    made = flight()
    reply(made, made.token(0), "10.0.0.0", T + 1000, now=100.1)
    reply(made, made.token(0), "10.0.0.0", T + 9000, now=100.2)
    assert dict(made.strays) == {"duplicate": 1}
    assert made.rtts[0] == pytest.approx(1e-6)


def test_an_answer_after_the_timeout_is_late_and_the_probe_stays_lost() -> None:
    made = flight()
    made.expire(102.0)
    assert (made.states[0], made.reasons) == (FAILED, {0: "timeout"})
    reply(made, made.token(0), "10.0.0.0", T + 3 * NS, now=103.0)
    assert (dict(made.strays), made.states[0]) == ({"late": 1}, FAILED)
    assert math.isnan(made.rtts[0])


def test_an_answer_that_was_read_late_but_arrived_in_time_counts() -> None:
    made = flight()
    reply(made, made.token(0), "10.0.0.0", T + NS, now=109.0)
    assert made.rtts[0] == pytest.approx(1.0)


@pytest.mark.parametrize("stamp", [T - 3600 * NS, T + 3600 * NS, 0])
def test_a_clock_that_was_set_makes_no_round_trip_longer_than_the_wait(stamp: int) -> None:
    made = flight()
    reply(made, made.token(0), "10.0.0.0", stamp, now=100.012)
    assert made.rtts[0] == pytest.approx(0.012)


def test_what_waits_too_long_is_given_up_in_the_order_it_was_sent() -> None:
    made = flight()
    assert made.next_expiry() == 102.0
    reply(made, made.token(0), "10.0.0.0", T + 1, now=100.1)
    assert made.next_expiry() == 103.0
    made.expire(103.0)
    assert (made.reasons, made.next_expiry()) == ({1: "timeout"}, 104.0)
    made.expire(200.0)
    assert (made.done, made.next_expiry()) == (True, None)


def test_what_was_not_made_for_a_local_reason_is_not_lost() -> None:
    made = Flight(1, 2, 2.0)
    made.fail(0, "permission")
    made.fail(1, "unreachable", "10.0.0.254")
    assert bytes(made.states) == bytes([SKIPPED, FAILED])
    assert (made.done, made.hops) == (True, {1: "10.0.0.254"})


def test_a_probe_is_settled_once() -> None:
    made = flight()
    made.fail(0, "unreachable")
    made.fail(0, "timeout")
    made.succeed(0, 1.0)
    assert (made.settled, made.reasons[0]) == (1, "unreachable")


def test_an_error_without_a_token_is_matched_by_sequence_and_destination() -> None:
    count = 0x10000 + 5
    made = Flight(1, count, 2.0)
    for index in (3, 0x10003):
        made.sent(index, f"10.0.{index >> 16}.3", 100.0, T)
    assert made.find(None, 3, "10.0.1.3") == 0x10003
    assert made.find(None, 3, "10.9.9.9") is None
    assert made.find(None, 4, "10.0.0.3") is None


def test_an_error_with_a_wrong_cookie_is_nobody_s() -> None:
    made = flight()
    assert made.find(made.token(1), 1, "") == 1
    assert made.find(made.token(1)._replace(cookie=0x6775657373656421), 1, "10.0.0.1") is None
    assert made.find(made.token(1)._replace(number=9), 1, "10.0.0.1") is None


def test_cookies_differ_from_probe_to_probe_and_round_to_round() -> None:
    one, other = Flight(1, 100, 2.0), Flight(1, 100, 2.0)
    assert len({f.token(i).cookie for f in (one, other) for i in range(100)}) == 200
