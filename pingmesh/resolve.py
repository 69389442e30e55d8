"""Names to addresses, kept as long as their TTL says: /etc/hosts first, then DNS.

The rule: a name is asked for when its turn to be probed has come and what is known is too old;
nobody waits longer than a probe may take. Both families; the preferred one first.
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from exporter.clock import Clock
from pingmesh.address import family_of

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver as DnsResolver

SHORTEST_TTL, LONGEST_TTL = 5.0, 3600.0
FAILURE_TTL = 5.0
HOSTS_TTL = 60.0


class NoAddress(Exception):
    """The name has none, or it could not be asked for; the text says which."""


class Found(NamedTuple):
    """Numeric addresses of the family that was taken; `ttl` seconds."""

    addresses: tuple[str, ...]
    ttl: float


class Lookup(Protocol):
    """Where names are asked for; a table in tests."""

    async def find(self, name: str, family: int) -> Found:
        """Raises NoAddress. An empty answer is one."""


class Resolver:
    """`prefer` is AF_INET or AF_INET6."""

    def __init__(self, clock: Clock, lookup: Lookup, prefer: int) -> None:
        self._clock, self._lookup = clock, lookup
        self._order = (
            (socket.AF_INET6, socket.AF_INET)
            if prefer == socket.AF_INET6
            else (socket.AF_INET, socket.AF_INET6)
        )
        self._known: dict[str, tuple[float, Found | NoAddress]] = {}
        self._asking: dict[str, asyncio.Task[str]] = {}

    def peek(self, host: str) -> str | None:
        """The address, where it is numeric or known and fresh."""
        if family_of(host) is not None:
            return host
        until, found = self._known.get(host, (0.0, None))
        if isinstance(found, Found) and self._clock.monotonic() < until:
            return found.addresses[0]
        return None

    async def address(self, host: str, timeout: float) -> str:
        """Raises NoAddress. All who want one name wait for one query."""
        address = self.peek(host)
        if address is not None:
            return address
        until, found = self._known.get(host, (0.0, None))
        if isinstance(found, NoAddress) and self._clock.monotonic() < until:
            raise found
        asking = self._asking.get(host)
        if asking is None:
            asking = asyncio.create_task(self._ask(host))
            self._asking[host] = asking
            asking.add_done_callback(lambda done: self._asked(host, done))
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(asking)
        except TimeoutError:
            raise NoAddress(f"{host}: no answer in {timeout:g} s") from None

    def forget(self, keep: Sequence[str]) -> None:
        """Drops what is known of names that no list has any more."""
        self._known = {host: self._known[host] for host in keep if host in self._known}

    def _asked(self, host: str, done: asyncio.Task[str]) -> None:
        self._asking.pop(host, None)
        if not done.cancelled():
            done.exception()  # who waited has it; nobody may have waited

    async def _ask(self, host: str) -> str:
        reason = NoAddress(f"{host}: no address")
        for family in self._order:
            try:
                found = await self._lookup.find(host, family)
            except NoAddress as error:
                reason = error
                continue
            if found.addresses:
                ttl = min(max(found.ttl, SHORTEST_TTL), LONGEST_TTL)
                self._known[host] = (self._clock.monotonic() + ttl, found)
                return found.addresses[0]
        self._known[host] = (self._clock.monotonic() + FAILURE_TTL, reason)
        raise reason

    def close(self) -> None:
        for asking in self._asking.values():
            asking.cancel()


class SystemLookup:
    """/etc/hosts and the name servers of /etc/resolv.conf, read anew when they change.

    dnspython is imported at the first name that needs it: most meshes are made of addresses."""

    def __init__(self, etc: Path = Path("/etc"), patience: float = 10.0) -> None:
        self._hosts_file, self._resolv_file = etc / "hosts", etc / "resolv.conf"
        self._patience = patience
        self._hosts: Mapping[str, Sequence[str]] = {}
        self._hosts_stamp = self._resolv_stamp = -1
        self._resolver: DnsResolver | None = None

    async def find(self, name: str, family: int) -> Found:
        bare = name.rstrip(".").lower()
        listed = tuple(a for a in self._listed().get(bare, ()) if family_of(a) == family)
        if listed:
            return Found(listed, HOSTS_TTL)
        return await self._ask(name, family)

    def _listed(self) -> Mapping[str, Sequence[str]]:
        stamp = _stamp(self._hosts_file)
        if stamp != self._hosts_stamp:
            self._hosts_stamp, self._hosts = stamp, _read_hosts(self._hosts_file)
        return self._hosts

    async def _ask(self, name: str, family: int) -> Found:
        import dns.asyncresolver
        import dns.exception

        stamp = _stamp(self._resolv_file)
        if self._resolver is None or stamp != self._resolv_stamp:
            try:
                self._resolver = dns.asyncresolver.Resolver(str(self._resolv_file))
            except dns.exception.DNSException as error:
                raise NoAddress(f"{name}: {error}") from error
            self._resolv_stamp = stamp
        kind = "AAAA" if family == socket.AF_INET6 else "A"
        try:
            answer = await self._resolver.resolve(
                name, kind, search=True, lifetime=self._patience, raise_on_no_answer=False
            )
        except (dns.exception.DNSException, OSError) as error:
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise NoAddress(f"{name}: {text}") from error
        if answer.rrset is None:
            return Found((), 0.0)
        return Found(tuple(record.to_text() for record in answer.rrset), float(answer.rrset.ttl))


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read_hosts(path: Path) -> Mapping[str, Sequence[str]]:
    """hosts(5): lower-case names to addresses, in file order."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    found: dict[str, list[str]] = {}
    for line in lines:
        address, *names = line.partition("#")[0].split() or [""]
        if family_of(address) is not None:
            for name in names:
                found.setdefault(name.lower(), []).append(address)
    return found
