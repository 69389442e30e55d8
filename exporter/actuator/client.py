"""The agent's side of the actuator: start it early, ask it from any thread, close it last.

The rule: what cannot be asked is an answer too (`refused`), never an exception. A process that
died is said, started anew as long as that can be done, and puts back first what was in force.
"""

import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from exporter.actuator.protocol import MOST_BYTES, Answer, AnyRequest, Start, encode, read_answer
from exporter.errors import KernmeshError
from exporter.threads import Lasting

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 20.0
_END_SECONDS = 20.0
_FIRST_WAIT, _LAST_WAIT = 0.1, 60.0
_WAIT_AFTER_ORDER = 2.0


class Actuator:
    """`start()`, then `ask` from any thread, then `close()`, which waits until all is put back."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[Answer]] = {}
        self._next = 1
        self._channel: socket.socket | None = None
        self._closing = threading.Event()
        self._begun = threading.Condition()
        self._hearing: Lasting | None = None
        self.pid = 0
        self.starts = 0
        """Workers that have begun; more than one: so many less one died."""
        self.problem = ""
        """Why nothing can be done now, "" where something can."""

    def start(self) -> None:
        """Returns when it answers. Raises KernmeshError where it cannot be started."""
        try:
            self._spawn()
        except OSError as error:
            raise KernmeshError(f"actuator: cannot be started: {error}") from None
        assert self._channel is not None
        self._channel.settimeout(_ANSWER_SECONDS)
        try:
            said = self._channel.recv(MOST_BYTES + 1)
        except TimeoutError:
            said = b""
        if not said:
            self.close()
            raise KernmeshError(f"actuator: did not answer within {_ANSWER_SECONDS:.0f} s")
        self._channel.settimeout(None)
        self._take(read_answer(said))
        self._hearing = Lasting(self._keep, "actuator")
        self._hearing.start()

    def ask(self, request: AnyRequest, seconds: float = _ANSWER_SECONDS) -> Answer:
        """Never raises: `refused` says what went wrong."""
        mine: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        with self._lock:
            number = self._next
            self._next += 1
            data = encode(replace(request, id=number))
            if self._channel is None:
                return Answer(
                    number, failed=True, refused=self.problem or "the actuator is not running"
                )
            if len(data) > MOST_BYTES:
                return Answer(
                    number, refused=f"the request has {len(data)} bytes, most {MOST_BYTES}"
                )
            self._waiting[number] = mine
            try:
                self._channel.send(data)
            except OSError as error:
                del self._waiting[number]
                return Answer(
                    number, failed=True, refused=f"the actuator cannot be asked: {error.strerror}"
                )
        try:
            return mine.get(timeout=seconds)
        except queue.Empty:
            return Answer(
                number, failed=True, refused=f"the actuator did not answer within {seconds:.0f} s"
            )
        finally:
            with self._lock:
                self._waiting.pop(number, None)

    def wait_for_start(self, number: int, seconds: float = _ANSWER_SECONDS) -> bool:
        """Whether so many workers have begun within so long; each puts back first what was left."""
        with self._begun:
            return self._begun.wait_for(lambda: self.starts >= number, seconds)

    def close(self) -> None:
        """Everything is put back when it returns, or the log says that it took too long."""
        self._closing.set()
        with self._lock:
            if self._channel is not None:
                self._channel.shutdown(socket.SHUT_RDWR)
        if self._hearing is not None:
            self._hearing.join(_END_SECONDS)
            if self._hearing.is_alive():
                log.error("actuator: is not done undoing after %d s", _END_SECONDS)

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        package = str(Path(__file__).resolve().parents[2])
        with theirs:
            # -P: what is imported as root never comes from the folder that the agent stands in
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-P", "-m", "exporter.actuator", "3"],
                {**os.environ, "PYTHONPATH": package},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                ],
                setpgroup=0,  # ^C is the agent's, which closes us in order
                setsigdef=[signal.SIGPIPE],
                setsigmask=[],
            )
        ours.send(encode(self._start))
        with self._lock:
            self._channel = ours
        self.problem = ""

    def _keep(self) -> None:
        wait, began = _FIRST_WAIT, time.monotonic()
        while True:
            self._hear()
            if time.monotonic() - began > _LAST_WAIT:  # it was well for long
                wait = _FIRST_WAIT
            _, status = os.waitpid(self.pid, 0)
            if self._closing.is_set():
                return
            if status == 0:  # asked to by a signal, as systemd does before it ends the agent
                self.problem = "the actuator was ended, and put everything back"
                log.warning("actuator: %s", self.problem)
                wait = _WAIT_AFTER_ORDER
            else:
                self.problem = (
                    f"the actuator ended ({_ending(status)}); what was in force is put back when "
                    "it is started anew"
                )
                log.error("actuator: %s", self.problem)
            while not self._closing.wait(wait):
                wait = min(wait * 2, _LAST_WAIT)
                try:
                    self._spawn()
                    began = time.monotonic()
                    break
                except PermissionError:  # as it is for good
                    self.problem = (
                        "the actuator and its keeper were killed, and kernmesh has let go of the "
                        "privilege to start them: restart it; what was in force is put back then"
                    )
                    log.error("actuator: %s", self.problem)
                    return
                except OSError as error:
                    self.problem = f"the actuator cannot be started: {error}"
                    log.error("actuator: %s", self.problem)
            else:
                return

    def _hear(self) -> None:
        channel = self._channel
        assert channel is not None
        while True:
            try:
                data = channel.recv(MOST_BYTES + 1)
            except OSError:
                data = b""
            if not data:
                break
            self._take(read_answer(data))
        with self._lock:
            self._channel = None
            channel.close()
        self._fail_all("the actuator ended before it answered")

    def _take(self, answer: Answer) -> None:
        for note in answer.notes:
            log.warning("actuator: %s", note)
        if answer.hello:
            if self.starts:
                log.warning("actuator: was started anew; what was in force is put back")
            self._fail_all("the actuator was started anew before it answered")
            with self._begun:
                self.starts += 1
                self._begun.notify_all()
        with self._lock:
            waiting = self._waiting.get(answer.id)
        if waiting is not None:
            waiting.put(answer)

    def _fail_all(self, reason: str) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for number, each in waiting.items():
            each.put(Answer(number, failed=True, refused=reason))


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


Ask = Callable[[AnyRequest], Answer]
"""What actions need of an Actuator."""
