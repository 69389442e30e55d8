"""Configured commands, run one beside another while requests are answered: what `slo` asks.

The rule: only what Start named is run, without a shell, with an environment of its own, for a
bounded time and a bounded output; whatever it started dies with it. One that cannot be killed yet
(it waits for a dead file server, it is frozen) is waited for by nobody.
"""

import os
import selectors
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress

from exporter.actuator.protocol import Answer

_MOST_OUTPUT = 32_768
_MOST_AT_ONCE = 4
_ENDING_SECONDS = 0.005
_REAPING_SECONDS = 1.0
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


class _Running:
    __slots__ = ("deadline", "name", "output", "pid", "pipe", "request", "silent")

    def __init__(self, request: int, name: str, pid: int, pipe: int, deadline: float) -> None:
        self.request, self.name, self.pid, self.pipe = request, name, pid, pipe
        self.deadline, self.output, self.silent = deadline, bytearray(), False


class Commands:
    """`poll` when one of its descriptors is readable, or a deadline has come."""

    def __init__(
        self, commands: Mapping[str, Sequence[str]], selector: selectors.BaseSelector
    ) -> None:
        self._commands, self._selector = commands, selector
        self._running: dict[int, _Running] = {}
        self._dying: list[int] = []

    def start(self, request: int, name: str, seconds: float, now: float) -> Answer | None:
        """None: the answer comes later."""
        argv = self._commands.get(name)
        if argv is None:
            return Answer(request, refused=f"command {name!r}: none of that name is configured")
        if len(self._running) + len(self._dying) >= _MOST_AT_ONCE:
            return Answer(request, refused=f"{_MOST_AT_ONCE} commands are running already")
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.posix_spawn(
                argv[0],
                list(argv),
                _ENVIRONMENT,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, theirs, 1),
                ],
                setpgroup=0,
                setsigdef=[signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1],
            )
        except OSError as error:
            os.close(ours)
            return Answer(request, refused=f"command {name!r}: {argv[0]}: {error.strerror}")
        finally:
            os.close(theirs)
        os.set_blocking(ours, False)
        self._running[ours] = _Running(request, name, pid, ours, now + seconds)
        self._selector.register(ours, selectors.EVENT_READ, "command")
        return None

    def next_look(self, now: float) -> float | None:
        """When to poll, if nothing is readable before."""
        looks = [
            now + _ENDING_SECONDS if each.silent else each.deadline
            for each in self._running.values()
        ]
        if self._dying:
            looks.append(now + _REAPING_SECONDS)
        return min(looks, default=None)

    def poll(self, now: float) -> list[Answer]:
        self._dying = [pid for pid in self._dying if not _reaped(pid)]
        answers = []
        for running in list(self._running.values()):
            if not running.silent and self._read(running):
                running.silent = True  # programs close their output shortly before they end
                self._selector.unregister(running.pipe)
            if running.silent and _has_ended(running.pid):
                answers.append(self._finish(running, ""))
            elif len(running.output) > _MOST_OUTPUT or now >= running.deadline:
                answers.append(self._finish(running, _why(running, now)))
        return answers

    def end(self) -> None:
        for running in list(self._running.values()):
            self._finish(running, "kernmesh is ending")

    def _read(self, running: _Running) -> bool:
        while len(running.output) <= _MOST_OUTPUT:
            try:
                data = os.read(running.pipe, 65_536)
            except BlockingIOError:
                return False
            if not data:
                return True
            running.output += data
        return False

    def _finish(self, running: _Running, problem: str) -> Answer:
        del self._running[running.pipe]
        if not running.silent:
            self._selector.unregister(running.pipe)
        os.close(running.pipe)
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)  # nobody is left behind
        if problem:
            self._dying.append(running.pid)
            return Answer(running.request, refused=f"command {running.name!r}: {problem}")
        _, status = os.waitpid(running.pid, 0)  # has ended
        code = os.waitstatus_to_exitcode(status)
        output = bytes(running.output[:_MOST_OUTPUT]).decode("utf-8", "replace")
        return Answer(running.request, status=code, output=output)


def _has_ended(pid: int) -> bool:
    """Leaves it to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _reaped(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def _why(running: _Running, now: float) -> str:
    if now >= running.deadline:
        return "was not done in time, and was ended"
    return f"said more than {_MOST_OUTPUT} bytes, and was ended"
