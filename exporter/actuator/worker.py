"""The process that does it: reads requests, answers each, undoes all when nobody asks any more.

The rule: nothing that a request says can end it, and it ends only with everything put back.
"""

import os
import selectors
import signal
import socket
import sys
import time

from msgspec.structs import replace

from exporter.actuator.cgroups import NotAllowed, Roots, allow_descriptors, hierarchies
from exporter.actuator.commands import Commands
from exporter.actuator.force import Force
from exporter.actuator.journal import Journal, JournalError, boot_id
from exporter.actuator.knobs import Unfit
from exporter.actuator.moves import Moves
from exporter.actuator.protocol import (
    MOST_BYTES,
    Answer,
    AnyRequest,
    InForce,
    Look,
    Move,
    Run,
    Set,
    Start,
    Undo,
    UndoAll,
    encode,
    read_request,
)
from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs

_RETRY_SECONDS = 30.0


def host_of(start: Start) -> HostFs:
    from pathlib import Path

    return HostFs(Path(start.proc), Path(start.sys), Path(start.cgroup), Path(start.root))


class Worker:
    """`serve` until the socket closes or SIGTERM, or nobody is left who would start another one."""

    def __init__(self, start: Start, channel: socket.socket, keeper: int | None = None) -> None:
        """`keeper` is a pidfd of the process that does that; None: this is not looked at."""
        self._channel, self._keeper = channel, keeper
        mounts = cgroup_mounts(host_of(start))
        self._journal = Journal(start.state_dir, boot_id(start.proc))
        roots = Roots(start.roots, start.pods)
        self._force = Force(self._journal, hierarchies(mounts), roots)
        self._moves = Moves(self._journal, mounts, start.proc, start.jobs)
        self._selector = selectors.DefaultSelector()
        self._commands = Commands(start.commands, self._selector)
        self._expiries: dict[str, float] = {}
        self._stop = self._undo_asked = self._alone = False
        self._no_journal = ""

    def serve(self) -> bool:
        """Whether it ended in order, with everything put back. False: its keeper was killed, and
        this process can take its place; the next worker begins by putting everything back."""
        allow_descriptors()
        wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_stop", True))
        signal.signal(signal.SIGUSR1, lambda *_: setattr(self, "_undo_asked", True))
        self._selector.register(wake, selectors.EVENT_READ, "signal")
        self._selector.register(self._channel, selectors.EVENT_READ, "request")
        if self._keeper is not None:
            self._selector.register(self._keeper, selectors.EVENT_READ, "keeper")
        self._answer(Answer(0, hello=True, notes=tuple(self._begin())))
        retry_at = time.monotonic() + _RETRY_SECONDS
        while not self._stop and not self._alone:
            for key, _ in self._selector.select(self._wait(retry_at)):
                if key.data == "signal":
                    os.read(wake, 512)
                elif key.data == "keeper":
                    self._alone = True
                elif key.data == "request" and not self._receive():
                    self._stop = True
            now = time.monotonic()
            self._expire(now)
            for answer in self._commands.poll(now):
                self._answer(answer)
            if self._undo_asked:
                self._undo_asked = False
                self._say(["asked by a signal to put everything back", *self._undo_all()])
            if now >= retry_at:
                retry_at = now + _RETRY_SECONDS
                self._say(self._force.try_again())
        self._commands.end()
        if self._alone and not self._stop:
            signal.set_wakeup_fd(-1)
            for descriptor in (wake, waker):
                os.close(descriptor)
            self._selector.close()
            self._journal.close()
            return False
        notes = self._undo_all()
        self._journal.close()
        for note in notes:
            print(f"kernmesh actuator: {note}", file=sys.stderr)  # noqa: T201 # the log's end is gone
        return True

    def _begin(self) -> list[str]:
        """Takes the journal, and puts back what is in it. Lines to say; none if nothing changed."""
        if self._journal.is_open:
            return []
        try:
            self._journal.open()
        except JournalError as error:
            said, self._no_journal = self._no_journal, str(error)
            return [] if said == self._no_journal else [self._no_journal]
        self._no_journal = ""
        notes = list(self._journal.notes)
        moved = self._moves.held()
        notes += [*self._force.take_over(), *self._moves.back()]
        if moved:
            notes.append(f"moved back after an unclean end: {sum(moved.values())} processes")
        return notes

    def _wait(self, retry_at: float) -> float:
        now = time.monotonic()
        times = [retry_at, *self._expiries.values()]
        if (look := self._commands.next_look(now)) is not None:
            times.append(look)
        return max(min(times) - now, 0.0)

    def _receive(self) -> bool:
        """False where nobody asks any more."""
        try:
            data = self._channel.recv(MOST_BYTES + 1)
        except OSError:
            return False
        if not data:
            return False
        try:
            request = read_request(data)
        except ValueError as error:  # whose it was cannot be told
            self._answer(Answer(0, notes=(f"a request was no request: {error}",)))
            return True
        answer = self._do(request)
        if answer is not None:
            self._answer(answer)
        return True

    def _do(self, request: AnyRequest) -> Answer | None:
        notes = tuple(self._begin()) if isinstance(request, Set | Move) else ()
        try:
            answer = self._act(request)
        except (NotAllowed, Unfit, JournalError) as error:
            text = self._no_journal or str(error) if isinstance(error, JournalError) else str(error)
            failed = isinstance(error, JournalError)
            return Answer(request.id, refused=text, failed=failed, notes=notes)
        except OSError as error:
            # one of a file was put into words where it was met; any other is a cgroup's
            text = str(error.strerror or error)
            name = f"{error.filename}: " if error.filename else ""
            return Answer(request.id, refused=f"{name}{text}", failed=True, notes=notes)
        except Exception as error:  # nothing that is asked may end it while things are in force
            text = f"{type(error).__name__}: {error}"
            return Answer(request.id, refused=text, failed=True, notes=notes)
        if answer is None:
            return None
        return replace(answer, id=request.id, notes=notes + answer.notes)

    def _act(self, request: AnyRequest) -> Answer | None:
        match request:
            case Set():
                answer = self._force.set(request)
                if not request.dry:
                    self._expiries.pop(request.run, None)
                    if request.seconds is not None:
                        self._expiries[request.run] = time.monotonic() + request.seconds
                return answer
            case Look():
                return self._force.look(request)
            case Undo():
                if request.knob is None and request.path is None:
                    self._expiries.pop(request.run, None)
                return self._force.undo(request.run, request.knob, request.path)
            case UndoAll():
                return Answer(request.id, notes=tuple(self._undo_all()))
            case Move():
                return self._moves.move(request)
            case Run():
                now = time.monotonic()
                return self._commands.start(request.id, request.command, request.seconds, now)
            case InForce():
                moved = tuple(
                    f"job {job}: {count} processes moved"
                    for job, count in self._moves.held().items()
                )
                return Answer(request.id, held=self._force.held(), notes=moved)

    def _expire(self, now: float) -> None:
        for run in [run for run, at in self._expiries.items() if at <= now]:
            del self._expiries[run]
            self._say(list(self._force.undo(run).notes))

    def _undo_all(self) -> list[str]:
        self._expiries.clear()
        if not self._journal.is_open:
            return []
        return [*self._force.undo_all().notes, *self._moves.back()]

    def _say(self, notes: list[str]) -> None:
        if notes:
            self._answer(Answer(0, notes=tuple(notes)))

    def _answer(self, answer: Answer) -> None:
        try:
            self._channel.send(encode(answer), socket.MSG_DONTWAIT)
        except OSError:
            return  # nobody hears, or reads: what is to be undone never waits for that
