"""hex: any bytes as lower-case hexadecimal text."""


def decode(raw: bytes) -> str:
    return raw.hex()


def rewrite(text: str) -> str:
    """For `hex` after `string`: the bytes up to the first NUL."""
    return text.encode("utf-8", "surrogateescape").hex()
