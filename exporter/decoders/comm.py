"""comm: a task's name (16 bytes, include/linux/sched.h TASK_COMM_LEN) as text.

A name is whatever a program calls itself: what cannot be printed becomes U+FFFD, so that it can
neither break a line nor hide in one.
"""

from exporter.decoders import string


def decode(raw: bytes) -> str:
    return "".join(
        each if each.isprintable() else "\ufffd"
        for each in string.decode(raw).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    )
