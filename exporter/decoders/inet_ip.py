"""inet_ip: an address of 4 or 16 bytes in network order; IPv4-mapped IPv6 reads as IPv4."""

from ipaddress import IPv4Address, IPv6Address

from exporter.errors import DecodeError


def decode(raw: bytes) -> str:
    if len(raw) == 4:
        return str(IPv4Address(raw))
    if len(raw) == 16:
        address = IPv6Address(raw)
        return str(address.ipv4_mapped or address)
    raise DecodeError(f"inet_ip: got {len(raw)} bytes, want 4 or 16: fix the label's size")
