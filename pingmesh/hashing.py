"""Names and keys as numbers that are the same on every replica, and after every restart.

The rule: what is chosen by them moves little when there is one more or less. Knows no mesh.
"""

import hashlib
import struct
from functools import lru_cache

_MASK = (1 << 64) - 1


def place_of(name: str) -> int:
    """Where it stands among others: a hash of 64 bits that is the same everywhere."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())


def words_of(name: str, count: int) -> tuple[int, ...]:
    """`count` numbers of 32 bits; more of them begin with the same (SHAKE is extendable)."""
    digest = hashlib.shake_128(name.encode()).digest(4 * count)
    return struct.unpack(f">{count}I", digest)


@lru_cache(maxsize=65536)
def jump(key: int, count: int) -> int:
    """0..count-1; for count+1 another for one key in count+1 only (Lamping and Veach, "A fast,
    minimal memory, consistent hash algorithm", 2014)."""
    found, ahead = -1, 0
    while ahead < count:
        found = ahead
        key = (key * 2862933555777941757 + 1) & _MASK
        ahead = int((found + 1) * ((1 << 31) / ((key >> 33) + 1)))
    return found
