"""Who may ask: passwords hashed with bcrypt, and bearer tokens.

The rule: nothing that is compared tells by its time what was right, a password is hashed off the
loop and one at a time, and who guesses is soon not listened to. What was verified is remembered by
a keyed hash of user, hash and password, as exporter-toolkit does, so a scraper costs nothing.
"""

import asyncio
import binascii
import hmac
import logging
import secrets
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import Literal, NamedTuple

from exporter.clock import Clock
from exporter.threads import in_thread

REMEMBERED = 256
"""Of each kind: verified, refused."""
WAITING = 16
"""Passwords that wait to be hashed; one more is told to come back."""
GUESSES = 10
GUESS_SECONDS = 6.0
"""A wrong password costs an address one of its GUESSES; it gets one back in this time."""
ADDRESSES = 1024
LONGEST_PASSWORD = 72
"""Bytes that bcrypt takes; what is longer would be compared by its beginning."""

Verdict = Literal["yes", "no", "later"]
Check = Callable[[bytes, bytes], bool]

log = logging.getLogger(__name__)


class Known(NamedTuple):
    """`users`: hashes by name; `tokens`: SHA-256 of each."""

    users: Mapping[str, bytes] = {}
    tokens: Sequence[bytes] = ()


def check_bcrypt(password: bytes, hashed: bytes) -> bool:
    import bcrypt  # only who has users needs it

    try:
        return bcrypt.checkpw(password, hashed)
    except ValueError:  # no such hash, or a zero in the password
        return False


class Credentials:
    """One per server; `known` comes with each question, so that a change counts at once."""

    def __init__(self, clock: Clock, check: Check = check_bcrypt) -> None:
        self._clock, self._check = clock, check
        self._secret = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, None] = OrderedDict()
        self._refused: OrderedDict[bytes, None] = OrderedDict()
        self._guessed: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._one = asyncio.Lock()
        self._waiting = 0
        self.hashed = 0
        """Passwords that had to be."""

    async def verdict(self, known: Known, headers: Sequence[bytes], address: str) -> Verdict:
        """`headers` are all Authorization headers of a request from `address`."""
        if len(headers) != 1:
            return "no"
        scheme, _, rest = headers[0].partition(b" ")
        match scheme.lower():
            case b"bearer" if known.tokens:
                given, found = sha256(rest.strip()).digest(), False
                for token in known.tokens:
                    found |= hmac.compare_digest(given, token)
                return "yes" if found else "no"
            case b"basic" if known.users:
                return await self._basic(known.users, rest, address)
        return "no"

    async def _basic(self, users: Mapping[str, bytes], sent: bytes, address: str) -> Verdict:
        try:
            name, colon, password = b64decode(sent.strip(), validate=True).partition(b":")
            user = name.decode()
        except (binascii.Error, UnicodeDecodeError):
            return "no"
        if not colon or len(password) > LONGEST_PASSWORD:
            return "no"
        there = user in users
        # Who does not exist takes as long as who does.
        hashed = users[user] if there else max(users.values(), key=lambda each: each[4:6])
        key = self._key(b"there" if there else b"", name, hashed, password)
        if (remembered := self._remembered(key)) is not None:
            return remembered
        block = _block(address)
        if self._waiting >= WAITING or self._guesses(block) < 1:
            return "later"
        self._waiting += 1
        try:
            async with self._one:
                if (remembered := self._remembered(key)) is not None:  # asked twice at once
                    return remembered
                if self._guesses(block) < 1:
                    return "later"
                right = await in_thread(lambda: self._check(password, hashed), "password")
                self.hashed += 1
                return self._learn(key, right and there, block)
        finally:
            self._waiting -= 1

    def _learn(self, key: bytes, right: bool, block: str) -> Verdict:
        kept = self._verified if right else self._refused
        kept[key] = None
        if len(kept) > REMEMBERED:
            kept.popitem(last=False)
        if not right:
            self._guessed[block] = (self._guesses(block) - 1, self._clock.monotonic())
            self._guessed.move_to_end(block)
            if len(self._guessed) > ADDRESSES:
                self._guessed.popitem(last=False)
            log.warning("wrong user or password", extra={"client": block})
        return "yes" if right else "no"

    def _remembered(self, key: bytes) -> Verdict | None:
        if key in self._verified:
            self._verified.move_to_end(key)
            return "yes"
        return "no" if key in self._refused else None

    def _guesses(self, block: str) -> float:
        """How many wrong passwords an address still has."""
        left, at = self._guessed.get(block, (float(GUESSES), 0.0))
        return min(float(GUESSES), left + (self._clock.monotonic() - at) / GUESS_SECONDS)

    def _key(self, *parts: bytes) -> bytes:
        """Of parts with their lengths, so that none can pass for another's end (CVE-2022-46146)."""
        whole = b"".join(len(part).to_bytes(4) + part for part in parts)
        return hmac.digest(self._secret, whole, "sha256")


def _block(address: str) -> str:
    """What one host may have: an IPv4 address, an IPv6 network of 64 bits."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return f"{IPv6Address(int(found) >> 64 << 64)}/64"
    return str(found)
