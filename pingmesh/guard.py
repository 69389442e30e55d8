"""What an agent may be told to reach: a pinglist is remote control, so the agent decides.

The rule: judged is the address that will be spoken to, after resolution, never the name. Whatever
is allowed, nobody is sent to broadcast, multicast or unspecified addresses.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

WORDS: dict[str, tuple[str, ...]] = {
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    # Cloud providers' instance metadata: most in 169.254.0.0/16; AWS and GCP over IPv6, Alibaba,
    # Azure, Oracle.
    "metadata": (
        "169.254.0.0/16",
        "fd00:ec2::/32",
        "fd20:ce::254/128",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
    ),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
    "all": ("0.0.0.0/0", "::/0"),
}
_NEVER = tuple(
    map(ip_network, ("0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "::/128", "ff00::/8"))
)
_NAT64 = IPv6Network("64:ff9b::/96")
PROBES_PER_ADDRESS = 1.0
"""Per second and agent, whatever the list says: as many as ten ways to ask one address in ten
seconds."""


class Guard:
    """Made of words (see WORDS), addresses and networks. An empty `allow` allows everything that
    is not denied. Raises ValueError on an entry that is none of these."""

    def __init__(self, allow: Sequence[str] = (), deny: Sequence[str] = ()) -> None:
        self._allow = _networks(allow)
        self._deny = _networks(deny)
        self.check = lru_cache(maxsize=4096)(self._check)

    def _check(self, address: str) -> str | None:
        """Why this numeric address may not be probed, None where it may."""
        try:
            meant = {*_meanings(ip_address(address))}
        except ValueError:
            return "no IP address"
        for network in _NEVER:
            if any(each in network for each in meant):
                return f"{address} is broadcast, multicast or no host's address"
        for network in self._deny:
            if any(each in network for each in meant):
                return f"{address} is denied by {network}"
        if self._allow and not any(each in network for each in meant for network in self._allow):
            return f"{address} is not among those allowed"
        return None


def _meanings(address: Address) -> Sequence[Address]:
    """An IPv6 address that stands for an IPv4 one is judged as both."""
    if isinstance(address, IPv4Address):
        return (address,)
    plain = IPv6Address(int(address))  # without its zone
    inner = plain.ipv4_mapped or plain.sixtofour
    if inner is None and plain in _NAT64:
        inner = IPv4Address(int(plain) & 0xFFFFFFFF)
    return (plain, inner) if inner is not None else (plain,)


def _networks(words: Sequence[str]) -> tuple[Network, ...]:
    found: list[Network] = []
    for word in words:
        try:
            found += [ip_network(text, strict=False) for text in WORDS.get(word, (word,))]
        except ValueError:
            want = ", ".join(WORDS)
            raise ValueError(
                f'no network, got "{word}", want an address, a network such as 10.0.0.0/8, or '
                f"one of {want}"
            ) from None
    return tuple(found)
