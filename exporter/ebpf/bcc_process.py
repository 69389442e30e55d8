"""The parent's side of the process that bcc lives in (bcc_child.py): ask, get file descriptors.

It must not know what is loaded, nor when to try what.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from exporter.ebpf.kernel_headers import Headers, join
from exporter.errors import BpfError
from exporter.hostfs import HostFs

_PACKAGES = ("usr/lib/python3/dist-packages/bcc", "usr/lib/python3*/site-packages/bcc")
_SLOW_SECONDS = 300  # an emulated or throttled CPU takes one of them for a program
_MOST_DESCRIPTORS = 250  # SCM_MAX_FD is 253
_ANSWER_BYTES = 4 << 20


def package(host: HostFs) -> Path | None:
    """The folder of the distribution's bcc; PyPI's package of that name is another one. Not the
    host's, where that is another: the library that it loads is the agent's own too."""
    found = (folder for place in _PACKAGES for folder in sorted(host.own.glob(place)))
    return next((folder for folder in found if (folder / "libbcc.py").exists()), None)


class BccError(Exception):
    """bcc refused; `number` is the errno or 0, `log` what the verifier or the compiler said."""

    def __init__(self, text: str, number: int = 0, log: str = "") -> None:
        self.number, self.log = number, log
        super().__init__(text)


class BccProcess:
    """Starts it at once; a context manager that ends it. What it loaded lives on as long as the
    descriptors that it handed over."""

    def __init__(self, package: Path, headers: Headers) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kernmesh-bcc-")
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 # closed by __exit__
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        ours.settimeout(_SLOW_SECONDS)
        tree = join(headers, Path(self._folder.name) / "headers")
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 # ourselves
                [sys.executable, "-m", "exporter.ebpf.bcc_child", str(theirs.fileno())],
                cwd=Path(__file__).resolve().parents[2],
                env=os.environ | {"BCC_KERNEL_SOURCE": str(tree)},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
            )
        self._ask(do="import", folder=str(package))

    def __enter__(self) -> "BccProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()
        try:
            self._process.wait(_SLOW_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()
        self._folder.cleanup()

    def compile(self, text: str, flags: Sequence[str]) -> None:
        """Makes the maps, too. BccError has the compiler's first error, and all it said."""
        try:
            self._ask(do="compile", text=text, flags=list(flags))
        except BccError as error:
            said = self.said()
            first = next((line for line in said.splitlines() if "error:" in line), str(error))
            raise BccError(first.strip(), error.number, said) from None

    def constants(self, text: str, names: Sequence[str]) -> tuple[list[int], str]:
        """header_types.Compiler."""
        try:
            answer, _ = self._ask_for(
                do="constants", text=text, flags=["-w", "-ferror-limit=0"], names=list(names)
            )
        except BccError:
            return [], self.said()
        return list(answer["values"]), ""

    def maps(self, names: Sequence[str]) -> list[int]:
        """Descriptors in the names' order."""
        found: list[int] = []
        for start in range(0, len(names), _MOST_DESCRIPTORS):
            found += self._ask(do="maps", names=list(names[start : start + _MOST_DESCRIPTORS]))
        return found

    def load(self, function: str, section: str, files: Sequence[str]) -> list[int]:
        """Loads and attaches: the program's descriptor, then those that keep it attached."""
        return self._ask(do="load", function=function, section=section, files=list(files))

    def said(self) -> str:
        """All that bcc has printed since it was asked last."""
        self._said.seek(self._asked_at)
        return self._said.read().decode(errors="replace")

    def _ask(self, **what: object) -> list[int]:
        return self._ask_for(**what)[1]

    def _ask_for(self, **what: object) -> tuple[dict[str, Any], list[int]]:
        self._asked_at = os.fstat(self._said.fileno()).st_size
        try:
            self._socket.sendall(json.dumps(what).encode())
            answer, fds, _, _ = socket.recv_fds(self._socket, _ANSWER_BYTES, _MOST_DESCRIPTORS)
        except OSError as error:
            raise BccError(f"bcc's process gave no answer: {error}", 0, self.said()) from None
        if not answer:
            raise BccError("bcc's process died", 0, self.said())
        said = json.loads(answer)
        if "error" in said:
            for fd in fds:
                with suppress(OSError):
                    os.close(fd)
            raise BccError(said["error"], said.get("errno", 0), said.get("log", ""))
        return said, list(fds)


def missing(host: HostFs, headers: Headers | None, release: str) -> str | None:
    """One line of what is to be installed before bcc can work; None where all is there."""
    if package(host) is None:
        return f"bcc is not installed: apt-get install python3-bpfcc linux-headers-{release}"
    if headers is None:
        return f"there are no kernel headers for bcc: apt-get install linux-headers-{release}"
    return None


def open_process(host: HostFs, headers: Headers) -> BccProcess:
    """Raises BpfError with one line where bcc cannot be started."""
    folder = package(host)
    if folder is None:
        raise BpfError("bcc is not installed: apt-get install python3-bpfcc")
    try:
        return BccProcess(folder, headers)
    except BccError as error:
        raise BpfError(f"bcc does not start: {error}", error.log) from None
