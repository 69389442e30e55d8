"""`python -m exporter.actuator FD`: keeps a worker at the socket FD until it ends in order.

The keeper does nothing but start the worker anew when that was killed or crashed: the new one puts
back first what the journal has. If the keeper is killed, the worker takes its place. So an agent
that has let go of its privileges still has an actuator, which lets go of what it needs not itself.
"""

import os
import signal
import socket
import sys
import time
from contextlib import suppress

from exporter.actuator.confined import confine
from exporter.actuator.protocol import MOST_BYTES, Start, read_start
from exporter.actuator.worker import Worker

_SHORT_SECONDS, _LONG_SECONDS = 0.05, 30.0
_PATIENCE_SECONDS = 60.0


def main(argv: list[str]) -> int:
    channel = socket.socket(fileno=int(argv[1]))
    told = channel.recv(MOST_BYTES)
    if not told:  # whoever started it is gone already
        return 0
    start = read_start(told)
    confine(start)
    wait = _SHORT_SECONDS
    while True:
        began = time.monotonic()
        if _one(start, channel):
            return 0
        if time.monotonic() - began > _PATIENCE_SECONDS:
            wait = _SHORT_SECONDS
        time.sleep(wait)
        wait = min(wait * 2, _LONG_SECONDS)


def _one(start: Start, channel: socket.socket) -> bool:
    """Whether the worker ended in order; True in that itself, too. Signals are its to hear: it
    undoes."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    pids: list[int] = []
    asked: list[int] = []

    def forward(number: int, frame: object) -> None:
        asked.append(number)
        with suppress(ProcessLookupError):
            if pids:
                os.kill(pids[0], number)

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, forward)
    keeper = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until it has something to undo
        in_order = Worker(start, channel, keeper).serve()
        os.close(keeper)
        return in_order  # False: now it is the keeper
    os.close(keeper)
    pids.append(pid)
    for early in asked:  # that came before there was whom to tell
        os.kill(pid, early)
    _, status = os.waitpid(pid, 0)
    pids.clear()
    return os.waitstatus_to_exitcode(status) == 0 or signal.SIGTERM in asked


if __name__ == "__main__":
    sys.exit(main(sys.argv))
