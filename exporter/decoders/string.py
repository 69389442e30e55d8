"""string: bytes up to the first NUL, as UTF-8.

Bytes that are no UTF-8 are kept as lone surrogates, so that a decoder that follows (dname, hex)
gets back what the kernel wrote; the end of the chain makes them U+FFFD.
"""


def decode(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape")
