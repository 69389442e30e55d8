"""Public fakes for the seams: time, the host's files, and kernel maps as rows.

For tests of kernmesh and of whoever extends it. Nothing here is imported by the running agent.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exporter.ebpf.maps import AttachedFunction, BpfMap, MapInfo, MapRows
from exporter.errors import BpfError
from exporter.hostfs import HostFs


class FakeClock:
    """A Clock that stands still until `advance` is called. Seconds."""

    def __init__(self, monotonic: float = 1000.0, wall: float = 1_700_000_000.0) -> None:
        self._monotonic = monotonic
        self._wall = wall

    def monotonic(self) -> float:
        return self._monotonic

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        """Time passes on both clocks; never backwards."""
        if seconds < 0:
            raise ValueError(f"time goes forward only, got {seconds} s")
        self._monotonic += seconds
        self._wall += seconds

    def set_wall(self, seconds: float) -> None:
        """What an administrator or NTP step does: only the wall clock jumps."""
        self._wall = seconds


def fake_host(folder: Path, files: Mapping[str, str | bytes]) -> HostFs:
    """A HostFs over `folder`. Keys are paths as on a host without the leading slash:
    "proc/stat", "sys/class/…", "sys/fs/cgroup/…", anything else is under the root."""
    fs = HostFs(folder / "proc", folder / "sys", folder / "sys/fs/cgroup", folder, folder)
    for root in fs:
        root.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    return fs


Value = int | bytes | Sequence[int] | Sequence[Sequence[int]]
"""What a row may be given as: a u64; packed bytes; u64s (one per CPU, or the words of a struct);
or, per CPU, the words of a struct."""


def _pack(value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, int):
        return (value & (1 << 64) - 1).to_bytes(8, "little")
    return b"".join(_pack(part) for part in value)


class FakeMap:
    """A BpfMap from rows. `rows` may be changed between reads; `error` makes every read raise."""

    def __init__(
        self,
        name: str,
        rows: Mapping[bytes, Value],
        *,
        kind: str = "hash",
        key_size: int = 4,
        value_size: int = 8,
        cpus: int = 1,
        max_entries: int = 1024,
        size: int | None = 4096,
        error: BpfError | None = None,
    ) -> None:
        """`key_size` is taken from the first row where there is one. `size` is MapInfo.bytes."""
        self.rows: dict[bytes, Value] = dict(rows)
        self.error = error
        self.reads = 0
        key_size = len(next(iter(rows))) if rows else key_size
        stride = (value_size + 7) // 8 * 8
        self._info = MapInfo(
            name, kind, key_size, value_size, stride, max_entries, cpus, id=1, bytes=size
        )

    @property
    def info(self) -> MapInfo:
        return self._info

    def read(self) -> MapRows:
        self.reads += 1
        if self.error is not None:
            raise self.error
        width = self._info.cpus * self._info.value_stride
        values = [_pack(value) for value in self.rows.values()]
        for key, value in zip(self.rows, values, strict=True):
            if len(key) != self._info.key_size or len(value) != width:
                raise ValueError(
                    f"fake map {self._info.name}: row {key!r} has {len(key)} key and "
                    f"{len(value)} value bytes, want {self._info.key_size} and {width}"
                )
        return MapRows(b"".join(self.rows), b"".join(values), len(values))

    def put(self, key: bytes, value: bytes) -> None:
        if self.error is not None:
            raise self.error
        if key not in self.rows and len(self.rows) >= self._info.max_entries:
            raise BpfError(f"map {self._info.name}: is full")
        self.rows[key] = value

    def delete(self, keys: Sequence[bytes]) -> None:
        if self.error is not None:
            raise self.error
        for key in keys:
            self.rows.pop(key, None)


@dataclass
class FakeProgram:
    """A LoadedProgram from facts. `error` makes `functions` and `refused_updates` raise."""

    name: str
    bpf_maps: Sequence[FakeMap] = ()
    attached: Sequence[AttachedFunction] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    problems: Sequence[str] = ()
    error: BpfError | None = None
    closed: int = 0
    sinks: dict[str, list[Callable[[bytes], None]]] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)

    @property
    def maps(self) -> Mapping[str, BpfMap]:
        return {bpf_map.info.name: bpf_map for bpf_map in self.bpf_maps}

    def functions(self) -> Sequence[AttachedFunction]:
        if self.error is not None:
            raise self.error
        return self.attached

    def refused_updates(self) -> Mapping[str, int]:
        if self.error is not None:
            raise self.error
        return self.refused

    def listen(self, name: str, sink: Callable[[bytes], None]) -> None:
        if self.error is not None:
            raise self.error
        self.sinks.setdefault(name, []).append(sink)

    def lost_events(self) -> Mapping[str, int]:
        return {name: self.lost.get(name, 0) for name in self.sinks}

    def close(self) -> None:
        self.closed += 1
