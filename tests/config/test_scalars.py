"""Words that are more than text: durations, addresses, URLs, expressions."""

import subprocess
import sys

import pytest

from exporter.config import Duration, GoDuration, HttpUrl, ListenAddress, Regexp


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("1m30s", 90),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("5us", 5e-6),
        ("5µs", 5e-6),
        ("5ns", 5e-9),
        ("1d", 86400),
        ("2w", 1209600),
        ("1y", 31536000),
        ("0", 0),
        ("0s", 0),
    ],
)
def test_a_duration_is_its_seconds_and_shows_as_written(text: str, seconds: float) -> None:
    assert Duration(text) == pytest.approx(seconds, rel=1e-12)
    assert str(Duration(text)) == text


@pytest.mark.parametrize(
    "text", ["", "10", "s", "-1s", "1 s", "1s ", "1.s", "1M", "1e3s", "1s1", "٣s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        Duration(text)


def test_go_s_durations_may_be_bare_nanoseconds() -> None:
    assert GoDuration("1000000000") == pytest.approx(1)
    assert GoDuration("1h") == 3600.0
    with pytest.raises(ValueError, match="not a duration"):
        GoDuration("1.5")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":9435", "", 9435),
        ("127.0.0.1:9435", "127.0.0.1", 9435),
        ("[::1]:0", "::1", 0),
        ("[::]:80", "::", 80),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("localhost:65535", "localhost", 65535),
        ("node-1.example:80", "node-1.example", 80),
    ],
)
def test_a_listen_address_has_host_and_port_and_is_its_text(
    text: str, host: str, port: int
) -> None:
    address = ListenAddress(text)
    assert (address.host, address.port, address) == (host, port, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "80",
        "localhost",
        ":65536",
        ":-1",
        ":8o",
        ":٨٠",
        "::1:80",
        "[::1]",
        "[::1:80",
        "::1]:80",
        "[localhost]:80",
        "[fe80::1%a b]:80",
        "a b:80",
        "a/b:80",
        "-a:80",
        "a:80:80",
        "[]:80",
        "\0:80",
    ],
)
def test_what_is_no_listen_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"port|host|IPv6"):
        ListenAddress(text)


@pytest.mark.parametrize("text", ["http://a", "https://a.b:9115/x?y=z", "http://[::1]:80/"])
def test_an_http_url_is_kept_as_it_is(text: str) -> None:
    assert HttpUrl(text) == text


@pytest.mark.parametrize(
    "text", ["a", "ftp://a", "http://", "http://u:p@a", "http://a b", "http:///x"]
)
def test_what_is_no_http_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an http URL"):
        HttpUrl(text)


def test_an_expression_that_would_take_for_ever_in_python_is_fine_in_re2() -> None:
    assert Regexp("(a+)+$") == "(a+)+$"


def test_a_broken_expression_is_refused_with_re2_s_reason() -> None:
    with pytest.raises(ValueError, match=r"not a regular expression: missing \)"):
        Regexp("(a")


def test_reading_a_plain_configuration_loads_neither_re2_nor_jsonschema() -> None:
    code = (
        "import sys; from exporter.config import load_agent; load_agent(None); print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "exporter.config" in loaded
    assert not loaded & {"re2", "_re2", "jsonschema", "zoneinfo", "prometheus_client"}
