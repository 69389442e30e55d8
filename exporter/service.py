"""What a service manager is told: systemd's notifications (sd_notify(3)), READY to STOPPING.

The rule: nobody hears of it where nothing asked for it, and a manager that cannot be told costs
nothing. Knows no role; no library, as all there is to it is one datagram each.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import NamedTuple


class Service(NamedTuple):
    """`address` is NOTIFY_SOCKET ("@…" is abstract), None: nobody listens. `watchdog_seconds`: a
    sign of life at least so often is waited for; None: none is."""

    address: str | None = None
    watchdog_seconds: float | None = None

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str], pid: int) -> "Service":
        """What it says is taken out, so that no child speaks for us."""
        address = environ.pop("NOTIFY_SOCKET", "")
        micros = environ.pop("WATCHDOG_USEC", "")
        meant = environ.pop("WATCHDOG_PID", str(pid)) == str(pid)
        if not address.startswith(("/", "@")):
            return cls()
        every = int(micros) / 1e6 if meant and micros.isascii() and micros.isdigit() else 0.0
        return cls(address, every or None)

    def ready(self) -> None:
        self._tell("READY=1", "STATUS=serving")

    @asynccontextmanager
    async def reload(self) -> AsyncIterator[None]:
        """Says that a reload begins, and however it ended that it is over. The time is what
        Type=notify-reload (systemd 253) wants."""
        micros = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={micros}", "STATUS=reloading")
        try:
            yield
        finally:
            self.ready()

    def stopping(self) -> None:
        self._tell("STOPPING=1", "STATUS=stopping")

    async def live(self) -> None:
        """Says that the loop runs, twice as often as is waited for; returns where nobody waits."""
        if self.watchdog_seconds is None:
            return
        while True:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_seconds / 2)

    def _tell(self, *lines: str) -> None:
        if self.address is None:
            return
        where = "\0" + self.address[1:] if self.address[0] == "@" else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)  # a manager that hangs must not make us hang
            try:
                sock.sendto(os.fsencode("\n".join(lines)), where)
            except OSError:
                return
