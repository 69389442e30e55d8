"""A process lets go, in two steps: one thread confines itself before it serves, and hands that down
to all that it starts; when whoever still needed more has ended, all threads are sealed.

The rule: each mechanism by itself. One that cannot be had is a line and a 0 on /metrics.
"""

import errno
import logging
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from exporter.errors import NoData
from exporter.privileges import calls, capabilities, inforce, landlock, seccomp
from exporter.privileges.capabilities import NUMBERS
from exporter.privileges.inforce import InForce
from exporter.privileges.landlock import Places
from exporter.privileges.places import UNWATCHED
from exporter.privileges.strays import Strays

if TYPE_CHECKING:
    from prometheus_client import Metric

log = logging.getLogger(__name__)

_READ_SEARCH = NUMBERS["CAP_DAC_READ_SEARCH"]
_BPF, _SYS_ADMIN = NUMBERS["CAP_BPF"], NUMBERS["CAP_SYS_ADMIN"]
_ENDING_SECONDS = 2.0
_MAP_CREATE, _ARRAY = 0, 2  # include/uapi/linux/bpf.h


class Needs(NamedTuple):
    """What a role goes on needing. `capabilities` are kept as far as it has them. `maps`: it reads
    BPF maps again. `all_files` is why it must reach any file, "" where it need not. `processes`:
    it forks. `network`: it makes sockets."""

    capabilities: frozenset[int] = frozenset()
    places: Places = Places()
    maps: bool = False
    all_files: str = ""
    processes: bool = False
    network: bool = True


class Privileges:
    """One per process. `confine` in the thread that starts all others, then `seal`. Where `drop` is
    False both do nothing, and what is in force is told all the same. `said`: in the log, too."""

    def __init__(self, drop: bool, said: bool = True) -> None:
        self.drop, self._said = drop, said
        self.sealed = False
        self._needs = Needs()
        self._left_out: dict[str, str] = {}
        self._kept: frozenset[int] | None = None
        self._outside: frozenset[int] | None = None
        self._strays = Strays(())

    def confine(self, needs: Needs) -> None:
        """This thread, and those that it starts from now on. Raises nothing."""
        if not self.drop:
            return
        self._needs = needs
        others: frozenset[int] = frozenset()
        with suppress(OSError):  # then nothing will be told to be in force
            others = inforce.threads() - {threading.get_native_id()}
        wanted = needs.capabilities | (_for_maps() if needs.maps else frozenset())
        self._try("no_new_privs", calls.no_new_privileges)
        if needs.all_files:
            self._leave_out("landlock", needs.all_files)
        elif self._try("landlock", lambda: _restrict(needs.places)):
            self._outside = others
            read = set(needs.places.read) - UNWATCHED
            self._strays = Strays(sorted(read))
        if self._outside is None:
            # It would open every file there is.
            wanted -= {_READ_SEARCH}
        self._try("capabilities", lambda: self._keep(wanted))

    def seal(self) -> None:
        """Every thread there is, once those that were not confined have ended. Raises nothing."""
        if not self.drop or self.sealed:
            return
        self._try("seccomp", lambda: _filter(self._needs))
        self.sealed = True
        try:
            now = self._settled()
        except OSError as error:  # no /proc of our own: nobody can tell
            for mechanism in inforce.MECHANISMS:
                self._leave_out(mechanism, f"as far as is known: {_words(error)}")
            return
        for mechanism, on in now.mechanisms().items():
            if not on and mechanism not in self._left_out:
                self._leave_out(mechanism, "a thread is without it")
        names = " ".join(map(capabilities.name_of, sorted(now.capabilities))) or "none"
        there = " ".join(name for name, on in now.mechanisms().items() if on)
        if self._said:
            log.info("privileges dropped", extra={"in_force": there, "capabilities": names})

    @property
    def hides_files(self) -> bool:
        return self._outside is not None

    def in_force(self) -> InForce:
        """Asks the kernel. Raises OSError where it does not say."""
        return inforce.look(self._kept, self._outside)

    def collect(self) -> "Iterable[Metric]":
        from exporter.privileges.metrics import families  # not in the actuator's memory

        try:
            return families(self.in_force())
        except OSError as error:
            raise NoData(f"what is in force is not told: {_words(error)}") from None

    def problems(self) -> Iterator[str]:
        for mechanism, reason in self._left_out.items():
            yield f"privileges: {mechanism} is not in force: {reason}"
        for path in self._strays.found():
            yield (
                f"{path} was replaced since the start, and Landlock keeps the new one from being "
                "read: restart kernmesh"
            )

    def _settled(self) -> InForce:
        """What is in force when threads that have just ended are gone from the kernel, too."""
        give_up = time.monotonic() + _ENDING_SECONDS
        while True:
            now = self.in_force()
            lacking = {name for name, on in now.mechanisms().items() if not on}
            if lacking <= self._left_out.keys() or time.monotonic() > give_up:
                return now
            time.sleep(0.001)

    def _keep(self, wanted: frozenset[int]) -> None:
        now = capabilities.held(inforce.fields_of(threading.get_native_id()))
        self._kept = capabilities.keep_only(wanted, now)

    def _try(self, mechanism: str, call: Callable[[], None]) -> bool:
        try:
            call()
        except OSError as error:
            self._leave_out(mechanism, _words(error))
            return False
        return True

    def _leave_out(self, mechanism: str, reason: str) -> None:
        self._left_out[mechanism] = reason
        if self._said:
            log.warning("privileges: %s is not in force: %s", mechanism, reason)


def _words(error: OSError) -> str:
    text = error.strerror or str(error)
    if error.errno in (errno.EPERM, errno.ENOSYS):
        return f"{text} (this kernel's, or a filter of the container or the service manager)"
    return text


def _restrict(places: Places) -> None:
    abi = calls.landlock_abi()
    if abi < 1:
        raise OSError(0, "this kernel has no Landlock (5.13, CONFIG_SECURITY_LANDLOCK, lsm=)")
    landlock.restrict(places, abi)


def _filter(needs: Needs) -> None:
    machine = os.uname().machine
    if machine not in seccomp.AUDIT_ARCH or sys.maxsize < 1 << 32:
        raise OSError(0, f"no filter is known for {machine}")
    from exporter.decoders.syscall_names import names  # a table that is needed once

    numbers = {name: number for number, name in names(machine).items()}
    wants = seccomp.Wants(needs.maps, needs.processes, needs.network)
    made = seccomp.program(machine, numbers, wants)
    calls.no_new_privileges()
    calls.filter_system_calls(machine, seccomp.packed(made))


def _for_maps() -> frozenset[int]:
    """What reading a map that is open takes here: nothing since kernel 5.19 (c8644cd0efe7), CAP_BPF
    before, where kernel.unprivileged_bpf_disabled is set. Found by trying."""
    machine = os.uname().machine
    try:
        fd = calls.bpf(machine, _MAP_CREATE, struct.pack("=IIII", _ARRAY, 4, 4, 1))
    except (OSError, KeyError):  # no map is to be had, or its number is not known here
        return frozenset()
    needed: list[bool] = []

    def read_without() -> None:
        key, value = bytes(4), bytearray(4)
        try:
            calls.set_capabilities(())
            calls.read_element(machine, fd, key, value)
        except OSError as error:
            needed.append(error.errno == errno.EPERM)

    other = threading.Thread(target=read_without)
    other.start()
    other.join()
    os.close(fd)
    if not any(needed):
        return frozenset()
    try:
        now = capabilities.held(inforce.fields_of(threading.get_native_id()))
    except OSError:
        return frozenset()
    return frozenset({_BPF if _BPF in now.permitted else _SYS_ADMIN})
