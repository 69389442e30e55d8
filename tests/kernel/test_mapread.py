"""Every kind of map is read whole, in batches as without, against what user space put in."""

import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from exporter.ebpf import libbpf
from exporter.ebpf.libbpf_object import Object
from exporter.ebpf.loaded import KernelMap, Lifetime
from exporter.ebpf.mapread import BatchReader
from exporter.errors import BpfError

pytestmark = pytest.mark.bpf


class OpenMaps:
    """The test program's maps, loaded, to be filled and read."""

    def __init__(self, lib: libbpf.Libbpf, obj: Object) -> None:
        self._lib = lib
        self.cpus = lib.possible_cpus()
        self._maps = {each.name: each for each in obj.maps}

    def opened(self, name: str, batch: bool = True) -> KernelMap:
        return KernelMap(self._lib, self._maps[name], self.cpus, batch, Lifetime())

    def put(self, name: str, rows: Mapping[bytes, bytes]) -> None:
        for key, value in rows.items():
            self._lib.call("bpf_map_update_elem", self._maps[name].fd, key, value, 0)

    def fd(self, name: str) -> int:
        return self._maps[name].fd


@pytest.fixture
def maps(lib: libbpf.Libbpf, compiled: Path) -> Iterator[OpenMaps]:
    obj = Object(lib, "maps", (compiled / "maps.bpf.o").read_bytes())
    obj.load()
    yield OpenMaps(lib, obj)
    obj.close()


def as_rows(read: KernelMap) -> dict[bytes, bytes]:
    """A map's rows; fails if a key comes twice."""
    info, rows = read.info, read.read()
    width = info.value_stride * info.cpus
    assert (len(rows.keys), len(rows.values)) == (rows.count * info.key_size, rows.count * width)
    keys = [rows.keys[at : at + info.key_size] for at in range(0, len(rows.keys), info.key_size)]
    values = [rows.values[at : at + width] for at in range(0, len(rows.values), width)]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, values, strict=True))


def u32(number: int) -> bytes:
    return struct.pack("=I", number)


def u64(number: int) -> bytes:
    return struct.pack("=Q", number)


def every_cpu(number: int, cpus: int) -> bytes:
    """One part for each CPU: number × 1, × 2 …"""
    return b"".join(u64(number * (cpu + 1)) for cpu in range(cpus))


# map: rows to put in, given the number of possible CPUs; an array is filled whole
CONTENTS: Mapping[str, Callable[[int], dict[bytes, bytes]]] = {
    "plain_hash": lambda _: {u64(n * 977): u64(n) for n in range(5000)},
    "small_values": lambda _: {u32(n): u32(n + 1) for n in range(2000)},
    "lru": lambda _: {u64(n): u64(n * 3) for n in range(500)},
    "per_cpu_hash": lambda cpus: {u64(n): every_cpu(n, cpus) for n in range(1500)},
    "plain_array": lambda _: {u32(n): u32(n * n) for n in range(1000)},
    "per_cpu_array": lambda cpus: {u32(n): every_cpu(n, cpus) for n in range(500)},
}


@pytest.mark.parametrize("batch", [True, False], ids=["batch", "key by key"])
@pytest.mark.parametrize("name", CONTENTS)
def test_what_was_put_in_is_read(maps: OpenMaps, name: str, batch: bool) -> None:
    rows = CONTENTS[name](maps.cpus)
    maps.put(name, rows)
    assert as_rows(maps.opened(name, batch)) == rows


@pytest.mark.parametrize("batch", [True, False], ids=["batch", "key by key"])
@pytest.mark.parametrize("name", ["plain_hash", "lru", "per_cpu_hash"])
def test_an_empty_map_has_no_rows(maps: OpenMaps, name: str, batch: bool) -> None:
    assert as_rows(maps.opened(name, batch)) == {}


def test_a_map_is_read_in_the_same_order_again(maps: OpenMaps) -> None:
    maps.put("plain_hash", CONTENTS["plain_hash"](maps.cpus))
    read = maps.opened("plain_hash")
    assert read.read() == read.read()


@pytest.mark.parametrize("chunk", [1, 2, 100])
@pytest.mark.parametrize("name", ["plain_hash", "per_cpu_hash", "plain_array", "per_cpu_array"])
def test_chunks_that_are_too_small_grow(
    lib: libbpf.Libbpf, maps: OpenMaps, name: str, chunk: int
) -> None:
    rows = CONTENTS[name](maps.cpus)
    maps.put(name, rows)
    info = maps.opened(name).info
    read = BatchReader(lib, info, maps.fd(name), chunk)()
    assert read == maps.opened(name).read()
    assert read.count == len(rows)


def test_a_map_that_grows_between_reads_is_read_whole(maps: OpenMaps) -> None:
    read = maps.opened("plain_hash")
    for size in (0, 10, 300, 4000, 20000):
        maps.put("plain_hash", {u64(n): u64(1) for n in range(size)})
        assert read.read().count == size


def test_a_ring_buffer_has_no_rows_and_says_so(maps: OpenMaps) -> None:
    ring = maps.opened("ring")
    assert ring.info.kind == "ringbuf"
    with pytest.raises(BpfError, match="map ring: a ringbuf map has no rows to read"):
        ring.read()


@pytest.mark.parametrize(
    ("name", "stride", "per_cpu"),
    [("small_values", 4, False), ("per_cpu_hash", 8, True), ("plain_hash", 8, False)],
)
def test_a_map_says_how_its_values_lie(
    maps: OpenMaps, name: str, stride: int, per_cpu: bool
) -> None:
    info = maps.opened(name).info
    assert (info.value_stride, info.cpus) == (stride, maps.cpus if per_cpu else 1)
