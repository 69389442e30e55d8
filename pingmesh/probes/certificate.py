"""When a certificate ends, read from its DER (RFC 5280, section 4.1).

Python's ssl gives a peer's fields only where it verified the certificate; a probe that takes any
certificate still has to say when it ends. Pure; what cannot be read is None.
"""

from datetime import UTC, datetime

_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0


def not_after(der: bytes) -> float | None:
    """Seconds since 1970; None where these bytes are no certificate."""
    try:
        certificate, _ = _element(der, 0, _SEQUENCE)
        at, _ = _element(der, certificate, _SEQUENCE)  # tbsCertificate
        if der[at] == _VERSION:
            at = _end(der, at)
        for _ in ("serialNumber", "signature", "issuer"):
            at = _end(der, at)
        at, _ = _element(der, at, _SEQUENCE)  # validity
        at = _end(der, at)  # notBefore
        kind = der[at]
        start, end = _element(der, at, kind)
        text = der[start:end].decode("ascii")
    except (IndexError, ValueError):
        return None
    if kind == _UTC_TIME:  # years 1950 to 2049
        text = ("20" if text[:2] < "50" else "19") + text
    elif kind != _GENERALIZED_TIME:
        return None
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _element(der: bytes, at: int, kind: int) -> tuple[int, int]:
    """Where the content of the element at `at` begins and ends."""
    if der[at] != kind:
        raise ValueError("another element")
    length, at = der[at + 1], at + 2
    if length >= 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4:
            raise ValueError("no length")
        length, at = int.from_bytes(der[at : at + count], "big"), at + count
    if at + length > len(der):
        raise ValueError("cut off")
    return at, at + length


def _end(der: bytes, at: int) -> int:
    return _element(der, at, der[at])[1]
