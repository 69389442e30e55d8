"""`python -m tests.agent.tried FLAGS`: an agent that tries, when asked to, what whoever took it
over would. It is the agent but for one route, which runs each in a thread of the agent's own.
"""

import argparse
import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from exporter.app import Agent, run_agent
from exporter.commands import agent
from exporter.commands.flags import role_options
from exporter.commands.output import show
from exporter.decoders.syscall_names import names
from exporter.ebpf import libbpf
from exporter.ebpf.libbpf import LibbpfError
from exporter.threads import in_thread

_NUMBERS = {name: number for number, name in names(os.uname().machine).items()}


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_NUMBERS[name], *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _connect_packets() -> None:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()


def _listen() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 47_474))


def _cgroup() -> Path:
    root = Path("/sys/fs/cgroup")
    return next(each for each in (root / "cpu", root) if (each / "cgroup.procs").exists())


TRIES: Mapping[str, Callable[[], object]] = {
    "read /etc/shadow": lambda: Path("/etc/shadow").read_bytes(),
    "list /root": lambda: list(Path("/root").iterdir()),
    "read its parent's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "run a program": lambda: subprocess.run(["/bin/true"], check=True),
    "fork": lambda: os.fork() or os._exit(0),
    "move a process into a cgroup": lambda: (_cgroup() / "cgroup.procs").write_text("0"),
    "make a cgroup": lambda: (_cgroup() / "kernmesh-tried").mkdir(),
    "load a BPF program": lambda: libbpf.library().try_trivial_program(),
    "write a file": lambda: Path("/tmp/kernmesh-tried").write_text("x"),
    "change a file's mode": lambda: Path("/etc/hosts").chmod(0o644),
    "be somebody else": lambda: os.setresuid(1, 1, 1),
    "mount": lambda: _call("mount", b"none", b"/mnt", b"tmpfs", 0, None),
    "leave its namespaces": lambda: _call("unshare", 0x10000000),
    "count what others do": lambda: _call("perf_event_open", bytes(120), -1, 0, -1, 0),
    "trace its parent": lambda: _call("ptrace", 0x4206, os.getppid(), None, None),
    "signal its parent": lambda: os.kill(os.getppid(), 0),
    "listen on another port": _listen,
    "hear all packets": _connect_packets,
}


class Tried(Agent):
    def routes(self) -> Sequence[BaseRoute]:
        async def attempt(request: Request) -> JSONResponse:
            what = TRIES[request.query_params["what"]]
            return JSONResponse(await in_thread(lambda: _refusal(what), "try"))

        return (*super().routes(), Route("/try", attempt))


def _refusal(what: Callable[[], object]) -> str | None:
    """The error's name; None where it was done."""
    try:
        what()
    except LibbpfError as error:
        return f"LibbpfError {error.errno}"
    except OSError as error:
        return f"OSError {error.errno}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser()
    agent.add_arguments(parser)
    return run_agent(role_options(parser.parse_args()), show, Tried)


if __name__ == "__main__":
    sys.exit(main())
