"""What the checks look at: the host's files, what the configuration wants of it, and answers that
no file has. Tests make one of each by hand.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from exporter.doctor.wants import Wants
from exporter.hostfs import HostFs


class Clock(NamedTuple):
    """adjtimex(2): whether something keeps the wall clock right, and by how much it may be off at
    most, in seconds."""

    synchronised: bool
    most_off_seconds: float


class StateFolder(NamedTuple):
    """usage.state_dir, or the nearest folder above it that is there (`exists` False). `free_bytes`
    None where the filesystem does not say."""

    exists: bool
    writable: bool
    free_bytes: int | None


class ApiAnswer(NamedTuple):
    """One request to the Kubernetes API; `problem` "" where it was granted."""

    asked: str
    problem: str


class Answers(NamedTuple):
    """What was asked of the running kernel and others. `libbpf` is a version, or None and then
    `no_libbpf` says why; `no_bpf` is why the kernel takes no program (features.no_bpf), None where
    it takes one. `clock` and `state` None: not told, or not asked for. `api` is empty where the
    configuration needs none. `landlock` is its ABI, 0 where there is none. `agent` is what one that
    runs here has in force, by mechanism; None where none could be asked."""

    uid: int
    libbpf: str | None = None
    no_libbpf: str = ""
    no_bpf: str | None = None
    clock: Clock | None = None
    state: StateFolder | None = None
    api: Sequence[ApiAnswer] = ()
    landlock: int | None = None
    agent: Mapping[str, bool] | None = None


class Machine(NamedTuple):
    host: HostFs
    wants: Wants
    answers: Answers

    def text(self, path: str) -> str | None:
        """Of a file of /proc; None where it cannot be read."""
        try:
            return (self.host.proc / path).read_text(errors="replace")
        except OSError:
            return None

    def release(self) -> str | None:
        """What uname -r says."""
        text = self.text("sys/kernel/osrelease")
        return text.strip() if text else None
