"""Bytes on the wire: what is built is read back, what is not ours is not believed."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingmesh.probes.packets import (
    ECHO_BYTES,
    REPLY,
    TOKEN_BYTES,
    Token,
    body,
    echo_request,
    ip_header_bytes,
    read_echo,
    read_error,
    read_token,
    reason_of,
)

WORDS = st.integers(0, 0xFFFF)
TOKENS = st.builds(
    Token, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
)
V4, V6 = socket.AF_INET, socket.AF_INET6


def rfc1071(data: bytes) -> int:
    """As the RFC adds it up, word by word."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


@given(TOKENS, WORDS, st.integers(0, 2000))
def test_an_echo_request_sums_up_to_nothing(token: Token, ident: int, size: int) -> None:
    packet = echo_request(V4, ident, *token, size)
    assert rfc1071(packet) == 0
    assert len(packet) == ECHO_BYTES + max(size, TOKEN_BYTES)
    assert struct.unpack_from(">BB2xHH", packet) == (8, 0, ident, token.slot & 0xFFFF)
    assert packet[ECHO_BYTES:] == body(*token, size)


def test_a_sum_of_all_ones_is_written_as_zero() -> None:
    rest = sum(struct.unpack(">10H", echo_request(V4, 0, 0, 0, 0)[8:])) + 0x0800
    packet = echo_request(V4, 0, 0, 0, -rest % 0xFFFF)
    assert packet[2:4] == b"\0\0"
    assert rfc1071(packet) == 0


@given(TOKENS, WORDS, WORDS, st.integers(0, 40), st.binary(max_size=40))
def test_an_echo_is_read_back_if_it_is_the_one_that_is_waited_for(
    token: Token, ident: int, other: int, size: int, before: bytes
) -> None:
    packet = before + b"\0" + echo_request(V4, ident, *token, size)[1:]
    at = len(before)
    assert read_echo(packet, at, 0, ident) == token
    assert read_echo(packet, at, 0, -1) == token
    assert (read_echo(packet, at, 0, other) is None) == (other != ident)
    assert read_echo(packet, at, 129, ident) is None
    assert read_echo(packet[: at + ECHO_BYTES + TOKEN_BYTES - 1], at, 0, ident) is None


@given(st.binary(max_size=60), st.integers(0, 40))
def test_any_bytes_are_an_echo_or_none(data: bytes, offset: int) -> None:
    found = read_echo(data, offset, 0, -1)
    assert found is None or body(*found) == data[offset + 8 : offset + 8 + TOKEN_BYTES]


@given(TOKENS, st.integers(0, 2000))
def test_a_token_is_read_back(token: Token, size: int) -> None:
    assert read_token(b"12345678" + body(*token, size), 8) == token
    assert read_token(body(*token, size, REPLY), 0, REPLY) == token
    assert read_token(body(*token, size, REPLY)) is None


@given(st.binary(max_size=100), st.integers(0, 100))
def test_any_bytes_are_a_token_or_none(data: bytes, offset: int) -> None:
    token = read_token(data, offset)
    assert token is None or body(*token) == data[offset : offset + TOKEN_BYTES]


def error_v4(kind: int, code: int, quoted: bytes, destination: str, protocol: int = 1) -> bytes:
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(quoted), 0, 0, 64, protocol, 0, b"\x7f\0\0\1",
        socket.inet_aton(destination),
    )  # fmt: skip
    return struct.pack(">BBHI", kind, code, 0, 0) + header + quoted


def error_v6(kind: int, code: int, quoted: bytes, destination: str) -> bytes:
    header = struct.pack(
        ">IHBB16s16s", 6 << 28, len(quoted), 58, 64, b"\0" * 16,
        socket.inet_pton(V6, destination),
    )  # fmt: skip
    return struct.pack(">BBHI", kind, code, 0, 0) + header + quoted


@given(TOKENS, WORDS)
def test_an_error_says_which_probe_it_speaks_of(token: Token, ident: int) -> None:
    sequence = token.slot & 0xFFFF
    quoted = echo_request(V4, ident, *token)
    found = read_error(V4, error_v4(11, 0, quoted, "192.0.2.9"))
    assert found == ("ttl", "192.0.2.9", ident, sequence, token)
    found = read_error(V6, error_v6(1, 4, echo_request(V6, ident, *token), "fd00::9"))
    assert found == ("refused", "fd00::9", ident, sequence, token)


def test_an_error_that_quotes_eight_bytes_has_no_token() -> None:
    quoted = echo_request(V4, 7, 1, 9, 2)[:8]
    assert read_error(V4, error_v4(3, 1, quoted, "192.0.2.9")) == (
        "unreachable",
        "192.0.2.9",
        7,
        9,
        None,
    )


@pytest.mark.parametrize("family", [V4, V6])
@given(data=st.binary(max_size=120))
def test_any_bytes_are_an_error_message_or_none(family: int, data: bytes) -> None:
    found = read_error(family, data)
    assert found is None or found.reason in ("ttl", "unreachable", "refused", "mtu", "prohibited")


def test_errors_about_other_protocols_are_not_ours() -> None:
    quoted = echo_request(V4, 7, 1, 9, 2)
    assert read_error(V4, error_v4(3, 1, quoted, "192.0.2.9", protocol=17)) is None
    reply = b"\0" + quoted[1:]
    assert read_error(V4, error_v4(3, 1, reply, "192.0.2.9")) is None


@pytest.mark.parametrize(
    ("family", "kind", "code", "reason"),
    [
        (V4, 3, 0, "unreachable"), (V4, 3, 1, "unreachable"), (V4, 3, 3, "refused"),
        (V4, 3, 4, "mtu"), (V4, 3, 9, "prohibited"), (V4, 3, 10, "prohibited"),
        (V4, 3, 13, "prohibited"), (V4, 11, 0, "ttl"), (V4, 12, 0, "unreachable"),
        (V4, 0, 0, None), (V4, 8, 0, None),
        (V6, 1, 0, "unreachable"), (V6, 1, 1, "prohibited"), (V6, 1, 3, "unreachable"),
        (V6, 1, 4, "refused"), (V6, 2, 0, "mtu"), (V6, 3, 0, "ttl"), (V6, 4, 1, "unreachable"),
        (V6, 129, 0, None),
    ],
)  # fmt: skip
def test_each_message_has_its_reason(family: int, kind: int, code: int, reason: str | None) -> None:
    assert reason_of(family, kind, code) == reason


@given(st.binary(max_size=60))
def test_an_ip_header_is_as_long_as_it_says(data: bytes) -> None:
    length = ip_header_bytes(data)
    assert length == 0 or (len(data) >= 20 and data[0] == 0x40 | length // 4)
