"""What each decoder that needs no host makes of bytes or text; the formats are upstream's."""

import errno as errno_module
import ipaddress
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.decoders import comm, dname, errno, hex, inet_ip, string, uint
from exporter.decoders.regexp import Regexp
from exporter.decoders.regexp import problem as regexp_problem
from exporter.decoders.static_map import StaticMap
from exporter.decoders.syscall import Syscall
from exporter.errors import DecodeError, SkipRow


def native(number: int, size: int) -> bytes:
    return number.to_bytes(size, sys.byteorder)


@pytest.mark.parametrize(
    ("decoded", "want"),
    [
        (hex.decode(b"\x01\xfe\x00"), "01fe00"),
        (uint.decode(b"\x07"), "7"),
        (uint.decode(native(65535, 2)), "65535"),
        (uint.decode(native(1 << 31, 4)), "2147483648"),
        (uint.decode(b"\xff" * 8), "18446744073709551615"),
        (string.decode(b"kswapd0\0garbage"), "kswapd0"),
        (string.decode(b"sixteen bytes ok"), "sixteen bytes ok"),
        (comm.decode(b"kworker/0:1\0\xff\xff\0\0"), "kworker/0:1"),
        (comm.decode("rot13-ü\0".encode().ljust(16, b"\0")), "rot13-ü"),
        (comm.decode(b"two\nlines\x1b[31m\0"), "two\ufffdlines\ufffd[31m"),
        (comm.decode(b"\xff-not-utf8\0\0\0\0\0\0"), "\ufffd-not-utf8"),
        (comm.decode(b"a-cut-n\xc3\xb6\xc3\xb6sixte"), "a-cut-nöösixte"),
        (inet_ip.decode(b"\x7f\0\0\1"), "127.0.0.1"),
        (inet_ip.decode(bytes(15) + b"\1"), "::1"),
        (inet_ip.decode(bytes(10) + b"\xff\xff\x01\x02\x03\x04"), "1.2.3.4"),
        (inet_ip.decode(b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01"), "2001:db8::1"),
        (dname.decode(b""), "."),
        (dname.decode(b"\x03com"), "com"),
        (dname.decode(b"\x07example\x03com\0\0\0\0"), "example.com"),
        (dname.decode(b"\x05com"), "\x05com"),
        (dname.rewrite("\x07example\x03com"), "example.com"),
        (errno.rewrite("2"), "ENOENT"),
        (errno.rewrite("11"), "EAGAIN"),
        (errno.rewrite("35"), "EDEADLK"),
        (errno.rewrite("95"), "ENOTSUP"),
        (errno.rewrite("512"), "ERESTARTSYS"),
        (errno.rewrite("0"), "unknown:0"),
        (errno.rewrite("4000"), "unknown:4000"),
        (Syscall("x86_64").rewrite("0"), "read"),
        (Syscall("x86_64").rewrite("336"), "uprobe"),
        (Syscall("x86_64").rewrite("435"), "clone3"),
        (Syscall("aarch64").rewrite("63"), "read"),
        (Syscall("aarch64").rewrite("435"), "clone3"),
        (Syscall("x86_64").rewrite("400"), "unknown_syscall:400"),
        (Syscall("s390x").rewrite("3"), "unknown_syscall:3"),
        (StaticMap({"1": "read"}, allow_unknown=False).rewrite("1"), "read"),
        (StaticMap({"1": "read"}, allow_unknown=False).rewrite("3"), "unknown:3"),
        (StaticMap({"1": "read"}, allow_unknown=True).rewrite("3"), "3"),
        (Regexp(["^systemd-journal$", "^syslog-ng$"]).rewrite("syslog-ng"), "syslog-ng"),
        (Regexp(["^(kswapd).*$"]).rewrite("kswapd0"), "kswapd"),
        (Regexp(["wap"]).rewrite("kswapd0"), "wap"),
        (Regexp(["^(a)?b$"]).rewrite("b"), ""),
    ],
)
def test_a_decoder_gives_the_text_that_upstream_gives(decoded: str, want: str) -> None:
    assert decoded == want


def test_this_machines_system_calls_have_names() -> None:
    assert Syscall().rewrite("435") == "clone3"


@pytest.mark.parametrize("number", sorted(errno_module.errorcode))
def test_every_error_number_has_a_name_that_means_that_number(number: int) -> None:
    assert getattr(errno_module, errno.rewrite(str(number))) == number


def test_a_regexp_without_a_match_leaves_the_row_out() -> None:
    with pytest.raises(SkipRow):
        Regexp(["^systemd-journal$"]).rewrite("systemd-bananad")


def test_no_regexp_runs_away() -> None:
    with pytest.raises(SkipRow):
        Regexp(["^(?:a+)+$"]).rewrite("a" * 4000 + "b")


@pytest.mark.parametrize(
    ("expressions", "said"),
    [
        ([], "regexp: got no `regexps`, want at least one expression"),
        (["a", "(b"], "regexp: '(b' is no RE2 expression: missing ): (b"),
        (
            [r"(a)\1"],
            r"regexp: '(a)\\1' is no RE2 expression: invalid escape sequence: \1",
        ),
        (
            ["(a)(b)"],
            "regexp: '(a)(b)' has 2 groups, want none or one: "
            "write (?:…) for those that only group",
        ),
    ],
)
def test_a_wrong_regexp_is_said_in_one_line(expressions: list[str], said: str) -> None:
    assert regexp_problem(expressions) == said


@pytest.mark.parametrize("text", ["", "-1", "0x10", "٣", "1 ", "9" * 21, str(1 << 64)])
def test_what_is_no_64_bit_decimal_number_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match=r"^errno: got "):
        errno.rewrite(text)


@pytest.mark.parametrize("size", [0, 3, 5, 16])
def test_an_integer_of_an_odd_size_is_refused(size: int) -> None:
    with pytest.raises(DecodeError, match=rf"^uint: got {size} bytes, want 1, 2, 4 or 8"):
        uint.decode(bytes(size))


@pytest.mark.parametrize("size", [0, 8, 17])
def test_an_address_of_an_odd_size_is_refused(size: int) -> None:
    with pytest.raises(DecodeError, match=rf"^inet_ip: got {size} bytes, want 4 or 16"):
        inet_ip.decode(bytes(size))


@given(st.integers(0, 2**64 - 1))
def test_an_integer_reads_as_itself(number: int) -> None:
    assert int(uint.decode(native(number, 8))) == number


@given(st.binary(min_size=16, max_size=16))
def test_an_ipv6_address_reads_back_as_the_same_address(raw: bytes) -> None:
    back = ipaddress.ip_address(inet_ip.decode(raw))
    mapped = back if back.version == 6 else ipaddress.IPv6Address(f"::ffff:{back}")
    assert mapped.packed == raw


@given(st.binary(max_size=300))
def test_any_bytes_are_some_dns_name(raw: bytes) -> None:
    assert isinstance(dname.decode(raw), str)
