"""The seam between whoever loads programs and whoever reads them: maps as rows, hooks as facts.

Backends (libbpf, bcc) make `LoadedProgram`s; collectors only read them; testing.py has fakes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol


class MapInfo(NamedTuple):
    """A map as loaded. `cpus` is 1 for a shared map, whose `value_stride` is its value_size; else
    the number of possible CPUs: a row's value then has `cpus` parts of `value_stride` =
    round_up(value_size, 8) bytes each.
    `kind` is the kernel's name: "hash", "lru_hash", "percpu_hash", "array", "percpu_array" …
    `bytes` is the kernel memory it holds (fdinfo memlock), None where the kernel does not say."""

    name: str
    kind: str
    key_size: int
    value_size: int
    value_stride: int
    max_entries: int
    cpus: int
    id: int
    bytes: int | None


class MapRows(NamedTuple):
    """`count` rows, packed: keys are count × key_size bytes, values count × cpus × value_stride.

    Order is the kernel's and is the same from read to read while no key comes or goes."""

    keys: bytes
    values: bytes
    count: int  # type: ignore[assignment]  # tuple has a method of this name


class BpfMap(Protocol):
    @property
    def info(self) -> MapInfo: ...

    def read(self) -> MapRows:
        """Every row now. Not a snapshot: rows that come or go meanwhile may be missed.

        Raises BpfError where the kernel refuses."""

    def put(self, key: bytes, value: bytes) -> None:
        """Sets one row of a shared map, or the storage of what `key` names. Raises BpfError where
        the kernel refuses, mostly because the map is full."""

    def delete(self, keys: Sequence[bytes]) -> None:
        """Takes these keys out; one that is gone already is no error.

        Raises BpfError where the kernel refuses, as it does for arrays."""


class AttachedFunction(NamedTuple):
    """A BPF function that is in the kernel. `hook` is its ELF section ("tp_btf/timer_start").
    run_time_ns and run_count are None while the kernel does not count (kernel.bpf_stats_enabled).
    `backend` is who loaded it: core (libbpf, CO-RE) or bcc.
    `missed` runs were left out by the kernel because the CPU was in a BPF function already."""

    name: str
    hook: str
    id: int
    tag: str
    attached: bool
    run_time_ns: int | None
    run_count: int | None
    missed: int | None = None
    backend: str = "core"


class LoadedProgram(Protocol):
    """One program (config) that runs. Maps are by name."""

    @property
    def name(self) -> str: ...

    @property
    def maps(self) -> Mapping[str, BpfMap]: ...

    @property
    def problems(self) -> Sequence[str]:
        """One line per function or optional hook that could not be had, though the rest runs."""

    def functions(self) -> Sequence[AttachedFunction]:
        """What is loaded, with the kernel's run statistics read now."""

    def refused_updates(self) -> Mapping[str, int]:
        """Per map: updates that the kernel refused (map full), since load. Only for maps of
        programs built with bpf/include/maps.bpf.h, which counts them."""

    def listen(self, name: str, sink: Callable[[bytes], None]) -> None:
        """From now on each event of this ring buffer or perf event array goes to `sink`, in a
        thread of the program's own, until it is closed. Raises BpfError for other maps."""

    def lost_events(self) -> Mapping[str, int]:
        """Per map that is listened to: events that found no room, since then."""

    def close(self) -> None:
        """Detaches and frees everything. A second call does nothing."""
