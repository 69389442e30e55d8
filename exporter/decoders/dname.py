"""dname: a DNS name in wire format (RFC 1035, section 3.1) as dotted text without the last dot.

The root is ".". What is no wire format (a length that points past the end) is given back as it
is, as upstream does.
"""


def decode(raw: bytes) -> str:
    labels: list[bytes] = []
    offset = 0
    while offset < len(raw) and raw[offset]:
        end = offset + 1 + raw[offset]
        if end > len(raw):
            return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape")
        labels.append(raw[offset + 1 : end])
        offset = end
    return b".".join(labels).decode("utf-8", "surrogateescape") or "."


def rewrite(text: str) -> str:
    """For `string` before `dname`, which is how upstream's files have it."""
    return decode(text.encode("utf-8", "surrogateescape"))
