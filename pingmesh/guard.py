"""What an agent may be told to reach: a pinglist is remote control, so the agent decides.

The rule: judged is the address that will be spoken to, after resolution, never the name. Whatever
is allowed, nobody is sent to broadcast, multicast or unspecified addresses.
"""

from collections.abc import Sequence
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple

from pingmesh.address import family_of

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
_NEVER = ("0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "::/128", "ff00::/8")
_NAT64 = 0x64FF9B << 64
PROBES_PER_ADDRESS = 1.0
"""Per second and agent, whatever the list says: as many as ten ways to ask one address in ten
seconds."""


class Network(NamedTuple):
    """Addresses of `family` that are `value` under `mask`, as numbers: lists are long."""

    family: int
    mask: int
    value: int
    text: str


class Guard:
    """Made of words (see WORDS), addresses and networks. An empty `allow` allows everything that
    is not denied. Raises ValueError on an entry that is none of these."""

    def __init__(self, allow: Sequence[str] = (), deny: Sequence[str] = ()) -> None:
        self._allow = _networks(allow)
        self._deny = _networks(deny)
        self._never = _networks(_NEVER)

    def check(self, address: str) -> str | None:
        """Why this numeric address may not be probed, None where it may."""
        meant = _meanings(address)
        if not meant:
            return "no IP address"
        if _among(meant, self._never):
            return f"{address} is broadcast, multicast or no host's address"
        if (network := _among(meant, self._deny)) is not None:
            return f"{address} is denied by {network.text}"
        if self._allow and _among(meant, self._allow) is None:
            return f"{address} is not among those allowed"
        return None


def _among(meant: Sequence[tuple[int, int]], networks: Sequence[Network]) -> Network | None:
    for family, number in meant:
        for network in networks:
            if network.family == family and number & network.mask == network.value:
                return network
    return None


def _meanings(address: str) -> Sequence[tuple[int, int]]:
    """Family and number. An IPv6 address that stands for an IPv4 one (mapped, 6to4, NAT64) is
    judged as both; its zone means nothing here."""
    family = family_of(address)
    if family is None:
        return ()
    plain = address.partition("%")[0]
    number = int.from_bytes(inet_pton(family, plain), "big")
    if family == AF_INET:
        return ((AF_INET, number),)
    if number >> 32 == 0xFFFF or number >> 32 == _NAT64:
        return ((AF_INET6, number), (AF_INET, number & 0xFFFFFFFF))
    if number >> 112 == 0x2002:
        return ((AF_INET6, number), (AF_INET, number >> 80 & 0xFFFFFFFF))
    return ((AF_INET6, number),)


def _networks(words: Sequence[str]) -> tuple[Network, ...]:
    found: list[Network] = []
    for word in words:
        try:
            networks = [ip_network(text, strict=False) for text in WORDS.get(word, (word,))]
        except ValueError:
            want = ", ".join(WORDS)
            raise ValueError(
                f'no network, got "{word}", want an address, a network such as 10.0.0.0/8, or '
                f"one of {want}"
            ) from None
        found += [
            Network(
                AF_INET if network.version == 4 else AF_INET6,
                int(network.netmask),
                int(network.network_address),
                str(network),
            )
            for network in networks
        ]
    return tuple(found)
