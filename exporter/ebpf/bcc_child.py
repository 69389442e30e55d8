"""The process that bcc lives in: compiles, loads and attaches what it is told, hands the file
descriptors to its parent and ends. So LLVM's 125 MB are nobody's for long.

`python -m exporter.ebpf.bcc_child FD`: JSON messages on a socket, each answered by one, with file
descriptors beside it. It decides nothing, and imports nothing of kernmesh.
"""

import ctypes
import errno
import importlib.util
import json
import os
import socket
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

# include/uapi/linux/bpf.h, enum bpf_prog_type
_KPROBE, _TRACEPOINT, _RAW_TRACEPOINT = 2, 5, 17
_KINDS = {"kprobe": _KPROBE, "kretprobe": _KPROBE, "uprobe": _KPROBE, "uretprobe": _KPROBE}
_KINDS |= {"tracepoint": _TRACEPOINT, "tp": _TRACEPOINT}
_KINDS |= {"raw_tp": _RAW_TRACEPOINT, "raw_tracepoint": _RAW_TRACEPOINT}
_MOVE = 0xB7
_LOG_BYTES = 1 << 20
_MESSAGE_BYTES = 1 << 20

Answer = tuple[dict[str, object], Sequence[int]]


class Bcc:
    """bcc's Python package from its own folder, so that nothing else of that place is seen."""

    def __init__(self, folder: str) -> None:
        spec = importlib.util.spec_from_file_location(
            "bcc", Path(folder) / "__init__.py", submodule_search_locations=[folder]
        )
        if spec is None or spec.loader is None:
            raise ImportError(f"{folder}: is no Python package")
        bcc = importlib.util.module_from_spec(spec)
        sys.modules["bcc"] = bcc
        spec.loader.exec_module(bcc)
        self._bpf: Any = bcc.BPF
        self._lib: Any = bcc.lib
        self._module: Any = None
        self._probes = 0

    def compile(self, text: str, flags: Sequence[str]) -> Answer:
        self._module = self._bpf(text=text.encode(), cflags=flags).module
        return {}, ()

    def constants(self, text: str, flags: Sequence[str], names: Sequence[str]) -> Answer:
        """What functions return that are `return <constant>;` and nothing else."""
        module = self._bpf(text=text.encode(), cflags=flags).module
        values = []
        for name in names:
            start = self._lib.bpf_function_start(module, name.encode())
            # struct bpf_insn: code, registers, offset, immediate; BPF_MOV64_IMM(r0, …)
            code, _, _, number = struct.unpack("=BBhi", ctypes.string_at(start, 8))
            if code != _MOVE:
                return {"error": f"{name} is no constant"}, ()
            values.append(number)
        return {"values": values}, ()

    def maps(self, names: Sequence[str]) -> Answer:
        fds = [self._lib.bpf_table_fd(self._module, name.encode()) for name in names]
        missing = [name for name, fd in zip(names, fds, strict=True) if fd < 0]
        if missing:
            return {"error": f"bcc has made no map {', '.join(missing)}"}, ()
        return {}, fds

    def load(self, function: str, section: str, files: Sequence[str]) -> Answer:
        """The program's descriptor, then one for each place that it is attached to."""
        kind, _, target = section.partition("/")
        if kind not in _KINDS:
            return {"error": f"{kind} programs are not for bcc"}, ()
        fd, log = self._load(function, _KINDS[kind])
        if fd < 0:
            return {"error": os.strerror(-fd), "errno": -fd, "log": log}, ()
        links: list[int] = []
        try:
            for attach in self._ways(kind, target, files):
                ctypes.set_errno(0)
                link = attach(fd)
                if link < 0:
                    return self._given_up(ctypes.get_errno() or -link, [fd, *links])
                links.append(link)
        except Exception as error:  # bcc raises nothing more exact
            for each in (fd, *links):
                os.close(each)
            return {"error": str(error)}, ()
        return {}, [fd, *links]

    def _given_up(self, number: int, fds: Sequence[int]) -> Answer:
        for fd in fds:
            os.close(fd)
        return {"error": f"cannot be attached: {os.strerror(number)}", "errno": number}, ()

    def _load(self, function: str, kind: int) -> tuple[int, str]:
        """A descriptor, or −errno and what the verifier says."""
        lib, module, name = self._lib, self._module, function.encode()
        start = lib.bpf_function_start(module, name)
        if not start:
            return -errno.ENOENT, f"bcc has made no function {function}"
        arguments = (
            *(module, kind, name, start, lib.bpf_function_size(module, name)),
            *(lib.bpf_module_license(module), lib.bpf_module_kern_version(module)),
        )
        ctypes.set_errno(0)
        fd = lib.bcc_func_load(*arguments, 0, None, 0, None, 0xFFFFFFFF)
        if fd >= 0:
            return fd, ""
        number = ctypes.get_errno() or errno.EINVAL
        log = ctypes.create_string_buffer(_LOG_BYTES)
        again = lib.bcc_func_load(*arguments, 1, log, _LOG_BYTES, None, 0xFFFFFFFF)
        if again >= 0:
            return again, ""
        return -number, log.value.decode(errors="replace")

    def _ways(self, kind: str, target: str, files: Sequence[str]) -> Sequence[Callable[[int], int]]:
        lib = self._lib
        at_return = int(kind in ("kretprobe", "uretprobe"))
        if kind in ("raw_tp", "raw_tracepoint"):
            return [lambda fd: lib.bpf_attach_raw_tracepoint(fd, target.encode())]
        if kind in ("tracepoint", "tp"):
            group, _, event = target.partition("/")
            return [lambda fd: lib.bpf_attach_tracepoint(fd, group.encode(), event.encode())]
        if kind in ("kprobe", "kretprobe"):
            symbol, _, offset = target.partition("+")
            probe = (self._name(), symbol.encode(), int(offset or "0", 0), 0)
            return [lambda fd: lib.bpf_attach_kprobe(fd, at_return, *probe)]
        symbol, _, offset = target.partition(":")[2].partition("+")
        find = self._bpf._check_path_symbol
        places = [
            find(file.encode(), symbol.encode(), None, -1, int(offset or "0", 0)) for file in files
        ]
        return [
            partial(_on_uprobe, lib, at_return, (self._name(), path, address, -1))
            for path, address in places
        ]

    def _name(self) -> bytes:
        """Old kernels list probes in tracefs, by a name that must be new."""
        self._probes += 1
        return f"kernmesh_{os.getpid()}_{self._probes}".encode()


def _on_uprobe(lib: Any, at_return: int, place: tuple[bytes, bytes, int, int], fd: int) -> int:
    return int(lib.bpf_attach_uprobe(fd, at_return, *place))


def serve(parent: socket.socket) -> None:
    """Until the parent hangs up."""
    bcc: Bcc | None = None
    while True:
        message = parent.recv(_MESSAGE_BYTES)
        if not message:
            return
        asked: Mapping[str, Any] = json.loads(message)
        what = asked["do"]
        fds: Sequence[int] = ()
        try:
            if what == "import":
                bcc = Bcc(asked["folder"])
                answer: dict[str, object] = {}
            elif bcc is None:
                answer = {"error": "bcc is not imported"}
            elif what == "compile":
                answer, fds = bcc.compile(asked["text"], asked["flags"])
            elif what == "constants":
                answer, fds = bcc.constants(asked["text"], asked["flags"], asked["names"])
            elif what == "maps":
                answer, fds = bcc.maps(asked["names"])
            else:
                answer, fds = bcc.load(asked["function"], asked["section"], asked["files"])
        except Exception as error:  # the edge of this process: the parent decides
            answer, fds = {"error": f"{type(error).__name__}: {error}"}, ()
        socket.send_fds(parent, [json.dumps(answer).encode()], list(fds))
        if what == "load":
            for fd in fds:
                os.close(fd)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as inherited:
        serve(inherited)
    # Not through bcc's own goodbye, which would detach what the parent holds now.
    os._exit(0)
