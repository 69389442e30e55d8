"""A program that is in the kernel: its maps, its functions' statistics, and its end.

Reading and closing exclude each other, since file descriptors are reused once closed.
"""

import contextlib
import ctypes
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from exporter.ebpf import budget, libbpf
from exporter.ebpf.events import EventBuffer, Sink
from exporter.ebpf.hooks import HookReport
from exporter.ebpf.libbpf_object import Object
from exporter.ebpf.mapread import READABLE, Reader
from exporter.ebpf.maps import AttachedFunction, BpfMap, MapInfo, MapRows
from exporter.errors import BpfError

_REFUSED = "refused_"
_SNAPSHOT = "snapshot_"


class Lifetime:
    """Open once, closed once; `held` while the kernel is asked so that nothing closes meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def held(self, what: str) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise BpfError(f"{what}: its program is closed")
            yield

    @contextlib.contextmanager
    def ending(self) -> Iterator[bool]:
        """True for the first who ends it."""
        with self._lock:
            first = not self._closed
            self._closed = True
            yield first


class MapInKernel(Protocol):
    """A map that a backend has loaded; sizes in bytes."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def key_size(self) -> int: ...
    @property
    def value_size(self) -> int: ...
    @property
    def max_entries(self) -> int: ...
    @property
    def id(self) -> int: ...
    @property
    def fd(self) -> int: ...


class FunctionInKernel(Protocol):
    """A function that a backend has loaded and attached; `section` as its object has it."""

    @property
    def name(self) -> str: ...
    @property
    def section(self) -> str: ...
    def info(self) -> libbpf.ProgramInfo: ...


class Held(Protocol):
    """What a backend holds open while a program runs. `snapshots` are maps that `iterate` fills
    anew; `refused` counts updates that maps refused, by map."""

    @property
    def functions(self) -> Sequence[FunctionInKernel]: ...
    @property
    def maps(self) -> Sequence[MapInKernel]: ...
    @property
    def snapshots(self) -> Collection[str]: ...
    def iterate(self) -> None: ...
    def refused(self) -> Mapping[str, int]: ...
    def close(self) -> None: ...


class HeldObject:
    """An object in libbpf's hands (Held)."""

    def __init__(self, lib: libbpf.Libbpf, obj: Object, attached: Sequence[str]) -> None:
        self._lib, self._object = lib, obj
        self.functions = [each for each in obj.functions if each.name in attached]
        self.maps = [each for each in obj.maps if not each.internal]
        names = {each.name for each in self.maps}
        self.snapshots = names & {
            name.removeprefix(_SNAPSHOT)
            for name in obj.variables(".rodata")
            if name.startswith(_SNAPSHOT)
        }
        self._bss = next((m for m in obj.maps if m.internal and m.name.endswith(".bss")), None)
        self._refused = {
            variable.removeprefix(_REFUSED): place.offset
            for variable, place in obj.variables(".bss").items()
            if variable.startswith(_REFUSED) and variable.removeprefix(_REFUSED) in names
        }

    def iterate(self) -> None:
        self._object.iterate()

    def refused(self) -> Mapping[str, int]:
        if self._bss is None or not self._refused:
            return {}
        values = ctypes.create_string_buffer(self._bss.value_size)
        self._lib.call("bpf_map_lookup_elem", self._bss.fd, bytes(4), values)
        return {
            name: int.from_bytes(values.raw[offset : offset + 8], sys.byteorder)
            for name, offset in self._refused.items()
        }

    def close(self) -> None:
        self._object.close()


class KernelMap:
    """A loaded map (maps.BpfMap). `refresh`, if there is one, is called before each read."""

    refresh: Callable[[], None] | None = None

    def __init__(
        self, lib: libbpf.Libbpf, loaded: MapInKernel, cpus: int, batch: bool, life: Lifetime
    ) -> None:
        kind = loaded.kind
        self._info = MapInfo(
            name=loaded.name,
            kind=kind,
            key_size=loaded.key_size,
            value_size=loaded.value_size,
            value_stride=budget.value_stride(kind, loaded.value_size),
            max_entries=loaded.max_entries,
            cpus=cpus if budget.is_per_cpu(kind) else 1,
            id=loaded.id,
            bytes=_memory_bytes(loaded.fd),
        )
        self._lib, self._fd, self._life = lib, loaded.fd, life
        self._reader = Reader(lib, self._info, loaded.fd, batch) if kind in READABLE else None

    @property
    def info(self) -> MapInfo:
        return self._info

    def read(self) -> MapRows:
        if self._reader is None:
            raise BpfError(f"map {self._info.name}: a {self._info.kind} map has no rows to read")
        with self._life.held(f"map {self._info.name}"):
            if self.refresh is not None:
                self.refresh()
            return self._reader()

    def put(self, key: bytes, value: bytes) -> None:
        name = self._info.name
        with self._life.held(f"map {name}"):
            try:
                self._lib.call("bpf_map_update_elem", self._fd, key, value, 0)
            except libbpf.LibbpfError as error:
                raise BpfError(f"map {name}: {key.hex()} cannot be set: {error}") from None

    def delete(self, keys: Sequence[bytes]) -> None:
        if self._reader is None:
            raise BpfError(f"map {self._info.name}: a {self._info.kind} map has no rows")
        with self._life.held(f"map {self._info.name}"):
            self._reader.delete(keys)

    def empty(self) -> None:
        """For `refresh` only, while the program is held."""
        if self._reader is not None:
            self._reader.empty()


class KernelProgram:
    """A program that a backend has loaded and attached (maps.LoadedProgram), and `hooks`: what
    became of each. It closes what is held."""

    def __init__(
        self,
        lib: libbpf.Libbpf,
        name: str,
        backend: Literal["core", "bcc"],
        held: Held,
        hooks: Sequence[HookReport],
        batch: bool,
    ) -> None:
        self._lib, self._name, self._held = lib, name, held
        self._buffers: dict[str, EventBuffer] = {}
        self.backend = backend
        self._hooks = tuple(hooks)
        self._problems = tuple(
            f"{hook.name}: {hook.reason}" for hook in hooks if hook.taken is None
        )
        self._life = Lifetime()
        cpus = lib.possible_cpus()
        self._maps = {
            loaded.name: KernelMap(lib, loaded, cpus, batch, self._life) for loaded in held.maps
        }
        self._snapshots = [each for name, each in self._maps.items() if name in held.snapshots]
        for each in self._snapshots:
            each.refresh = self._take_snapshot

    @property
    def name(self) -> str:
        return self._name

    @property
    def maps(self) -> Mapping[str, BpfMap]:
        return self._maps

    @property
    def hooks(self) -> tuple[HookReport, ...]:
        return self._hooks

    @property
    def problems(self) -> Sequence[str]:
        return self._problems

    def _take_snapshot(self) -> None:
        """Maps of what there is now (SNAPSHOT_MAP) are filled anew by the program's iterators."""
        for each in self._snapshots:
            each.empty()
        self._held.iterate()

    def functions(self) -> Sequence[AttachedFunction]:
        with self._life.held(self._name):
            counting = _statistics_enabled()
            return [_described(each, self.backend, counting) for each in self._held.functions]

    def refused_updates(self) -> Mapping[str, int]:
        with self._life.held(self._name):
            return self._held.refused()

    def listen(self, name: str, sink: Sink) -> None:
        with self._life.held(self._name):
            if name not in self._buffers:
                found = next((each for each in self._held.maps if each.name == name), None)
                if found is None:
                    raise BpfError(f"{self._name}: has no map {name} to listen to")
                self._buffers[name] = EventBuffer(self._lib, name, found.kind, found.fd)
            self._buffers[name].add(sink)

    def lost_events(self) -> Mapping[str, int]:
        refused = self.refused_updates() if self._buffers else {}
        return {name: each.lost + refused.get(name, 0) for name, each in self._buffers.items()}

    def close(self) -> None:
        with self._life.ending() as first:
            if first:
                for buffer in self._buffers.values():
                    buffer.close()
                self._held.close()


def _described(function: FunctionInKernel, backend: str, counting: bool) -> AttachedFunction:
    info = function.info()
    # Counted before and not now is still known; never counted is not 0 but unknown.
    known = counting or info.run_count > 0
    return AttachedFunction(
        name=function.name,
        hook=function.section,
        id=info.id,
        tag=info.tag,
        attached=True,
        run_time_ns=info.run_time_ns if known else None,
        run_count=info.run_count if known else None,
        missed=info.missed,
        backend=backend,
    )


def _statistics_enabled() -> bool:
    """Whether the kernel counts runs (Documentation/admin-guide/sysctl/kernel.rst)."""
    try:
        return Path("/proc/sys/kernel/bpf_stats_enabled").read_bytes().strip() == b"1"
    except OSError:
        return False


def _memory_bytes(fd: int) -> int | None:
    """kernel/bpf/syscall.c: bpf_map_show_fdinfo. None where /proc does not say."""
    try:
        lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key == "memlock":
            return int(value)
    return None
