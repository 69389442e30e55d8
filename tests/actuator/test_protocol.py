"""What comes over the actuator's socket is a message or a ValueError: nothing else may end it."""

from collections.abc import Callable

import pytest

from exporter.actuator.protocol import MOST_BYTES, read_answer, read_request, read_start

DEEP = b'{"x":' * 5000


@pytest.mark.parametrize("read", [read_request, read_start, read_answer])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b'{"do": "set"}',
        b'{"run": "\xff", "do": "undo"}',
        b'{"limits":' + DEEP,
        DEEP,
        b'{"y": ' + b"[" * 5000,
    ],
)
def test_what_is_no_message_is_a_value_error(read: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(ValueError):
        read(data)


def test_a_request_of_more_than_a_datagram_is_none() -> None:
    with pytest.raises(ValueError, match="want at most"):
        read_request(b" " * (MOST_BYTES + 1))
