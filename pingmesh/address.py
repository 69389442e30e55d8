"""One target's text to what it means: a URL, host:port, a bare address or a name.

Pure; knows no pinglist and asks no resolver.
"""

import re
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

_V4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_URL = re.compile(r"https?://[!-~]+")


class Address(str):
    """A numeric address, of either family: nobody is asked for it."""

    want = "an IPv4 or IPv6 address"
    json_schema = {"type": "string"}  # noqa: RUF012 # as the loader's other text types

    def __new__(cls, text: str) -> "Address":
        if family_of(text) is None:
            raise ValueError("no IP address")
        return super().__new__(cls, text)


class Place(NamedTuple):
    """`host` is a name or an address without brackets; `port` None where the text has none;
    `url` the text itself where it is a URL, else ""."""

    host: str
    port: int | None = None
    url: str = ""


def read_place(text: str) -> Place:
    """Raises ValueError with what is wrong with it."""
    if _V4.fullmatch(text):
        if family_of(text) is None:
            raise ValueError("no IPv4 address")
        return Place(text)
    if "://" in text:
        return _url(text)
    if text.startswith("["):
        inner, bracket, port = text[1:].partition("]")
        if not bracket or not _is_v6(inner):
            raise ValueError("no IPv6 address in the brackets")
        if port and not port.startswith(":"):
            raise ValueError("something behind the brackets that is no port")
        return Place(inner, _port(port[1:]) if port else None)
    if text.count(":") > 1:
        if not _is_v6(text):
            raise ValueError("no IPv6 address")
        return Place(text)
    host, colon, port = text.partition(":")
    if not host:
        raise ValueError("is empty" if not text else "no host")
    if _V4.fullmatch(host):
        if family_of(host) is None:
            raise ValueError("no IPv4 address")
    elif not _NAME.fullmatch(host) or ".." in host:
        raise ValueError("no host name or address")
    return Place(host, _port(port) if colon else None)


def family_of(host: str) -> int | None:
    """AF_INET or AF_INET6 of a numeric address (a zone may follow %), None of anything else."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host.partition("%")[0] if family != socket.AF_INET else host)
        except (OSError, ValueError):
            continue
        return family
    return None


def _is_v6(text: str) -> bool:
    address, percent, zone = text.partition("%")
    return family_of(address) == socket.AF_INET6 and (not percent or bool(_ZONE.fullmatch(zone)))


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise ValueError("no port between 1 and 65535")
    return int(text)


def _url(text: str) -> Place:
    if not _URL.fullmatch(text):
        raise ValueError("no http:// or https:// URL")
    parts = urlsplit(text)
    if "@" in parts.netloc:
        raise ValueError("a user name in the URL, which would show in metrics")
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("no port between 1 and 65535") from None
    if port == 0:
        raise ValueError("no port between 1 and 65535")
    if not (family_of(host) or _NAME.fullmatch(host)):
        raise ValueError("no host name or address")
    return Place(host, port or (443 if parts.scheme == "https" else 80), text)
