"""Every row of a map in as few system calls as the kernel allows, as packed bytes.

Rows are never touched one by one in Python, except where the kernel has no batch lookup (hashes
before 5.6, per-CPU arrays before 5.13). It must not know what keys and values mean.
"""

import ctypes
import errno
from collections.abc import Callable, Iterable

from exporter.ebpf.libbpf import Libbpf, LibbpfError
from exporter.ebpf.maps import MapInfo, MapRows
from exporter.errors import BpfError

READABLE = frozenset(
    ["hash", "array", "percpu_hash", "percpu_array", "lru_hash", "lru_percpu_hash", "lpm_trie"]
)
_FIRST_CHUNK = 256
_ENOTSUPP = 524  # the kernel's own, not in errno.h: this map type has no batch lookup
_NO_BATCH = frozenset({errno.EINVAL, errno.ENOTSUP, _ENOTSUPP})

Read = Callable[[], MapRows]


class BatchReader:
    """Reads by BPF_MAP_LOOKUP_BATCH. `chunk` rows are asked for at first, then as many as the
    last read found and some more, so that a steady map takes one call."""

    def __init__(self, lib: Libbpf, info: MapInfo, fd: int, chunk: int = _FIRST_CHUNK) -> None:
        self._lib, self._info, self._fd = lib, info, fd
        self._chunk = chunk

    def __call__(self) -> MapRows:
        info = self._info
        row_bytes = info.value_stride * info.cpus
        keys, values, total = bytearray(), bytearray(), 0
        position: ctypes.Array[ctypes.c_char] | None = None
        chunk = min(self._chunk, info.max_entries)
        while total < info.max_entries:
            key_buffer = ctypes.create_string_buffer(chunk * info.key_size)
            value_buffer = ctypes.create_string_buffer(chunk * row_bytes)
            following = ctypes.create_string_buffer(max(info.key_size, 8))
            count = ctypes.c_uint32(chunk)
            more = True
            try:
                self._lib.call(
                    "bpf_map_lookup_batch",
                    self._fd,
                    position,
                    following,
                    key_buffer,
                    value_buffer,
                    ctypes.byref(count),
                    None,
                )
            except LibbpfError as error:
                if error.errno == errno.ENOSPC and chunk < info.max_entries:
                    chunk = min(chunk * 2, info.max_entries)  # one hash bucket holds more than this
                    continue
                if error.errno != errno.ENOENT:
                    raise
                more = False
            keys += memoryview(key_buffer)[: count.value * info.key_size]
            values += memoryview(value_buffer)[: count.value * row_bytes]
            total += count.value
            if not more:
                break
            position = following
            chunk = min(max(chunk, total), info.max_entries)
        self._chunk = total + total // 8 + _FIRST_CHUNK
        return MapRows(bytes(keys), bytes(values), total)


class StepReader:
    """Reads by BPF_MAP_GET_NEXT_KEY and one lookup for each key: every kernel has these."""

    def __init__(self, lib: Libbpf, info: MapInfo, fd: int) -> None:
        self._lib, self._info, self._fd = lib, info, fd

    def __call__(self) -> MapRows:
        info = self._info
        value = ctypes.create_string_buffer(info.value_stride * info.cpus)
        rows: dict[bytes, bytes] = {}  # a key that goes while we walk starts the walk anew
        key: ctypes.Array[ctypes.c_char] | None = None
        for _ in range(2 * info.max_entries):
            following = ctypes.create_string_buffer(info.key_size)
            try:
                self._lib.call("bpf_map_get_next_key", self._fd, key, following)
            except LibbpfError as error:
                if error.errno != errno.ENOENT:
                    raise
                break
            key = following
            try:
                self._lib.call("bpf_map_lookup_elem", self._fd, key, value)
            except LibbpfError as error:
                if error.errno != errno.ENOENT:
                    raise
                continue
            rows[key.raw] = value.raw
        return MapRows(b"".join(rows), b"".join(rows.values()), len(rows))


class Reader:
    """The batch reader, and the other one for good as soon as the kernel says it has no batch."""

    def __init__(self, lib: Libbpf, info: MapInfo, fd: int, batch: bool = True) -> None:
        if info.kind not in READABLE:
            raise BpfError(f"map {info.name}: a {info.kind} map has no rows that can be read")
        self._lib, self._info, self._fd = lib, info, fd
        self._step = StepReader(lib, info, fd)
        self._read: Read = BatchReader(lib, info, fd) if batch else self._step

    def __call__(self) -> MapRows:
        try:
            return self._read()
        except LibbpfError as error:
            if self._read is self._step or error.errno not in _NO_BATCH:
                raise
        self._read = self._step
        return self._read()

    def empty(self) -> None:
        """Deletes every row of a hash."""
        rows, size = self(), self._info.key_size
        starts = range(0, rows.count * size, size)
        self.delete(rows.keys[start : start + size] for start in starts)

    def delete(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            try:
                self._lib.call("bpf_map_delete_elem", self._fd, key)
            except LibbpfError as error:
                if error.errno != errno.ENOENT:
                    raise
