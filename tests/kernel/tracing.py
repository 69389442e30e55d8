"""The kernel's own trace buffer, as an oracle that reads the same events without BPF."""

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Trace:
    """An instance of tracefs, mounted where nobody else looks, with the events of one process;
    None: of all."""

    def __init__(self, folder: Path, pid: int | None, *events: str) -> None:
        self._folder = folder / "instances" / f"kernmesh-{uuid.uuid4()}"
        self._folder.mkdir()
        (self._folder / "buffer_size_kb").write_text("8192")
        if pid is not None:
            (self._folder / "set_event_pid").write_text(str(pid))
        for event in events:
            (self._folder / "events" / event / "enable").write_text("1")

    def lines(self) -> list[str]:
        text = (self._folder / "trace").read_text()
        return [line for line in text.splitlines() if not line.startswith("#")]

    def close(self) -> None:
        self._folder.rmdir()


@contextmanager
def tracefs(folder: Path) -> Iterator[None]:
    """Mounted at `folder`, which is made."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tracefs", "nodev", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def tracing(folder: Path, pid: int | None, *events: str) -> Iterator[Trace]:
    with tracefs(folder):
        trace = Trace(folder, pid, *events)
        try:
            yield trace
        finally:
            trace.close()
