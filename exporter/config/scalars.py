"""Values that are written as one word of text and are more than text once read.

Each class is made from its text and raises ValueError for anything else, so it serves argparse's
`type=` as well. `want` says in a message what is right; `json_schema` says it to an editor.
"""

import re
import socket
from typing import Any, ClassVar, Protocol, Self, TypeGuard

_UNIT_SECONDS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0,
    "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0,
}  # fmt: skip
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d|w|y)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_HTTP_URL = r"^https?://(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]]+)(:[0-9]{1,5})?(/\S*)?$"


class TextType(Protocol):
    """A class whose values are made from a scalar's text. `json_schema` is for that text."""

    want: ClassVar[str]
    json_schema: ClassVar[dict[str, Any]]

    def __init__(self, text: str) -> None: ...


def is_text_type(cls: type) -> TypeGuard[type[TextType]]:
    return hasattr(cls, "want") and hasattr(cls, "json_schema")


class Duration(float):
    """Seconds, written as Go and Prometheus do: 10s, 1m30s, 1.5h, 1d; a day is 24 h, a year 365 d.

    A bare number is refused, but for 0: seconds or nanoseconds, nobody could tell."""

    want: ClassVar[str] = "a duration such as 10s, 1m30s or 1d"
    json_schema: ClassVar[dict[str, Any]] = {
        "type": ["string", "integer"],
        "pattern": r"^(([0-9]+(\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d|w|y))+$",
        "minimum": 0,
        "maximum": 0,
    }
    text: str

    def __new__(cls, text: str) -> Self:
        if text != "0" and not _DURATION.fullmatch(text):
            raise ValueError("not a duration")
        seconds = sum(float(n) * _UNIT_SECONDS[unit] for n, unit in _PART.findall(text))
        if seconds > 1000 * _UNIT_SECONDS["y"]:
            raise ValueError("longer than 1000 years")
        self = super().__new__(cls, seconds)
        self.text = text
        return self

    def __str__(self) -> str:
        """As it was written."""
        return self.text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"


class GoDuration(Duration):
    """As Go's YAML and JSON readers have it in files of others: a bare number is nanoseconds."""

    want: ClassVar[str] = "a duration such as 10s or 1h30m, or a number of nanoseconds"

    def __new__(cls, text: str) -> Self:
        bare = text.isascii() and text.isdigit()
        self = super().__new__(cls, f"{text}ns" if bare else text)
        self.text = text
        return self


class ListenAddress(str):
    """Where to listen, as Go programs write it. `host` is "" for all addresses of the machine,
    never has brackets; `port` 0 lets the kernel choose. The text itself is kept: it is a str."""

    want: ClassVar[str] = "HOST:PORT, [IPV6]:PORT or :PORT (port 0 to 65535)"
    json_schema: ClassVar[dict[str, Any]] = {
        "type": "string",
        "pattern": r"^(\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%[^\]]+)?\]|[^:\[\]\s]*):[0-9]{1,5}$",
    }
    host: str
    port: int

    def __new__(cls, text: str) -> Self:
        host, colon, port = text.rpartition(":")
        if not colon:
            raise ValueError("no port")
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
            raise ValueError("no port between 0 and 65535")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            if not _is_ipv6(host):
                raise ValueError("no IPv6 address in the brackets")
        elif _is_ipv6(host):
            raise ValueError("IPv6 address without brackets")
        elif host and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?", host):
            raise ValueError("no host name or address")
        self = super().__new__(cls, text)
        self.host, self.port = host, int(port)
        return self


class HttpUrl(str):
    """An http:// or https:// address with a host; no user name in it (it would show in logs)."""

    want: ClassVar[str] = "http://HOST[:PORT][/PATH] or https://…"
    json_schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": _HTTP_URL}

    def __new__(cls, text: str) -> Self:
        if not re.fullmatch(_HTTP_URL, text):
            raise ValueError("not an http URL")
        return super().__new__(cls, text)


class Regexp(str):
    """An RE2 expression, kept as text. RE2's, because upstream's files hold that, and because
    `(a+)+$` must not stop the agent. The library is loaded only when a file has one."""

    want: ClassVar[str] = "a regular expression as RE2 reads it"
    json_schema: ClassVar[dict[str, Any]] = {"type": "string"}

    def __new__(cls, text: str) -> Self:
        import re2  # 2 MB that most agents never need

        options = re2.Options()
        options.log_errors = False
        try:
            re2.compile(text, options)
        except re2.error as error:
            reason = error.args[0] if error.args else "not a regular expression"
            if isinstance(reason, bytes):
                reason = reason.decode(errors="replace")
            raise ValueError(f"not a regular expression: {reason}") from error
        return super().__new__(cls, text)


def _is_ipv6(host: str) -> bool:
    address, percent, zone = host.partition("%")
    if percent and not re.fullmatch(r"[A-Za-z0-9_.-]+", zone):
        return False
    try:
        socket.inet_pton(socket.AF_INET6, address)
    except (OSError, ValueError):
        return False
    return True
