"""PEM that was read already, for OpenSSL, which takes paths only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pem_file(data: bytes) -> Iterator[str]:
    """A path that OpenSSL can open, of memory that has no other name: what is loaded is what was
    read, whatever happens to the files meanwhile."""
    fd = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
