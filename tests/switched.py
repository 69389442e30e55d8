"""A switch of the kernel's, in /proc/sys, that is on for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def switched_on(name: str) -> Iterator[None]:
    """`name` as in "kernel/bpf_stats_enabled"; it is as it was afterwards. Wants root."""
    switch = Path("/proc/sys", name)
    before = switch.read_text()
    switch.write_text("1")
    try:
        yield
    finally:
        switch.write_text(before)
