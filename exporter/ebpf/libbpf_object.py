"""An object file in libbpf's hands: opened, sized, loaded, attached, closed.

The rule is libbpf.py's: each call raises LibbpfError, and nothing here decides what to do about it.
"""

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator
from typing import NamedTuple

from exporter.ebpf.libbpf import MAP_KINDS, Libbpf, LibbpfError, ProgramInfo
from exporter.errors import BpfError

LOG_BYTES = 1 << 20  # only pages that are written to exist; below 64 KiB errors become ENOSPC
_PROG_TYPE_XDP = 6
_PROG_TYPE_PERF_EVENT = 7
_ATTACH_XDP = 37
_BTF_KIND_DATASEC = 15
_KIND_NUMBERS = {name: number for number, name in MAP_KINDS.items()}
_U32 = ctypes.c_uint32


class _OpenOpts(ctypes.Structure):
    """struct bpf_object_open_opts of libbpf 1.0."""

    _fields_ = [
        ("sz", ctypes.c_size_t),
        ("object_name", ctypes.c_char_p),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", ctypes.c_char_p),
        ("reserved", ctypes.c_uint32),
        ("kconfig", ctypes.c_char_p),
        ("btf_custom_path", ctypes.c_char_p),
        ("kernel_log_buf", ctypes.c_void_p),
        ("kernel_log_size", ctypes.c_size_t),
        ("kernel_log_level", ctypes.c_uint32),
    ]


class _UprobeOpts(ctypes.Structure):
    """struct bpf_uprobe_opts of libbpf 1.0."""

    _fields_ = [
        ("sz", ctypes.c_size_t),
        ("ref_ctr_offset", ctypes.c_size_t),
        ("bpf_cookie", ctypes.c_uint64),
        ("retprobe", ctypes.c_bool),
        ("func_name", ctypes.c_char_p),
    ]


class Variable(NamedTuple):
    """Where a global variable is in its section's only map value; bytes."""

    offset: int
    size: int


class Function:
    """A BPF function of an open object."""

    def __init__(self, lib: Libbpf, handle: int) -> None:
        self._lib, self._handle = lib, handle
        self.name: str = lib.raw("bpf_program__name", handle).decode()
        self.section: str = lib.raw("bpf_program__section_name", handle).decode()

    def set_autoload(self, wanted: bool) -> None:
        self._lib.call("bpf_program__set_autoload", self._handle, wanted)

    def set_log(self, log: ctypes.Array[ctypes.c_char]) -> None:
        """Where the verifier writes if it refuses this function; must live until after load."""
        self._lib.call("bpf_program__set_log_buf", self._handle, log, len(log))

    def set_perf_event(self) -> None:
        """Before load: libbpf does not know sections "perf_event/…" with arguments."""
        self._lib.call("bpf_program__set_type", self._handle, _PROG_TYPE_PERF_EVENT)

    def set_xdp(self) -> None:
        """Before load: libbpf does not know sections "xdp/INTERFACE"."""
        self._lib.call("bpf_program__set_type", self._handle, _PROG_TYPE_XDP)
        self._lib.call("bpf_program__set_expected_attach_type", self._handle, _ATTACH_XDP)

    def attach_xdp(self, interface: int) -> int:
        """By the interface's index."""
        return self._lib.pointer("bpf_program__attach_xdp", self._handle, interface)

    def attach_cgroup(self, fd: int) -> int:
        """To an open folder of the unified hierarchy, and so to all that is below."""
        return self._lib.pointer("bpf_program__attach_cgroup", self._handle, fd)

    def create_link(self, target: int, attach_type: int) -> int:
        """A link's file descriptor, to be given to `Object.keep_fd`, for what libbpf 1.1 has no
        verb for."""
        fd = self._lib.call("bpf_program__fd", self._handle)
        return self._lib.call("bpf_link_create", fd, target, attach_type, None)

    def attach(self) -> int:
        """A link, to be given to `Object.keep`, as those of the other ways to attach."""
        return self._lib.pointer("bpf_program__attach", self._handle)

    def attach_uprobe(self, file: str, symbol: str, offset: int, at_return: bool) -> int:
        """In every process that runs this file, now and later."""
        opts = _UprobeOpts(
            sz=ctypes.sizeof(_UprobeOpts), retprobe=at_return, func_name=symbol.encode()
        )
        return self._lib.pointer(
            "bpf_program__attach_uprobe_opts",
            *(self._handle, -1, os.fsencode(file), offset, ctypes.byref(opts)),
        )

    def attach_usdt(self, file: str, provider: str, probe: str) -> int:
        """In every process that runs this file; LibbpfError ENOENT where it has no such probe."""
        return self._lib.pointer(
            "bpf_program__attach_usdt",
            *(self._handle, -1, os.fsencode(file), provider.encode(), probe.encode(), None),
        )

    def attach_perf_event(self, fd: int) -> int:
        """The link owns the file descriptor from then on."""
        return self._lib.pointer("bpf_program__attach_perf_event", self._handle, fd)

    def info(self) -> ProgramInfo:
        return self._lib.program_info(self._lib.call("bpf_program__fd", self._handle))


class Map:
    """A map of an open object; `fd` and `id` only once it is loaded."""

    def __init__(self, lib: Libbpf, handle: int) -> None:
        self._lib, self._handle = lib, handle
        self.name: str = lib.raw("bpf_map__name", handle).decode()
        self.internal: bool = lib.raw("bpf_map__is_internal", handle)

    @property
    def kind(self) -> str:
        number = self._lib.call("bpf_map__type", self._handle)
        return MAP_KINDS.get(number, f"type {number}")

    def set_kind(self, kind: str) -> None:
        self._lib.call("bpf_map__set_type", self._handle, _KIND_NUMBERS[kind])

    @property
    def key_size(self) -> int:
        return self._lib.call("bpf_map__key_size", self._handle)

    @property
    def value_size(self) -> int:
        return self._lib.call("bpf_map__value_size", self._handle)

    @property
    def max_entries(self) -> int:
        return self._lib.call("bpf_map__max_entries", self._handle)

    def set_max_entries(self, entries: int) -> None:
        self._lib.call("bpf_map__set_max_entries", self._handle, entries)

    @property
    def fd(self) -> int:
        return self._lib.call("bpf_map__fd", self._handle)

    @property
    def id(self) -> int:
        return self._lib.map_facts(self.fd).id

    def write_initial(self, offset: int, data: bytes) -> None:
        """Before load: changes the initial value of a section's map (.rodata, .data, .bss)."""
        size = ctypes.c_size_t()
        start = self._lib.pointer("bpf_map__initial_value", self._handle, ctypes.byref(size))
        if offset + len(data) > size.value:
            raise BpfError(f"{self.name}: {len(data)} bytes at {offset} end after its {size.value}")
        ctypes.memmove(start + offset, data, len(data))


class Object:
    """An object file in libbpf's hands, from open to close; loaded once at most.

    `custom_btf` is a BTF file for kernels that carry none; None takes the kernel's.
    """

    def __init__(self, lib: Libbpf, name: str, data: bytes, custom_btf: str | None = None) -> None:
        self._lib = lib
        opts = _OpenOpts(sz=ctypes.sizeof(_OpenOpts), object_name=name.encode())
        if custom_btf is not None:
            opts.btf_custom_path = os.fsencode(custom_btf)
        self._handle: int | None = lib.pointer(
            "bpf_object__open_mem", data, len(data), ctypes.byref(opts)
        )
        self._links: list[int] = []
        self._link_fds: list[int] = []
        self._iterators: list[int] = []
        self.functions = [Function(lib, p) for p in self._walk("bpf_object__next_program")]
        self.maps = [Map(lib, p) for p in self._walk("bpf_object__next_map")]

    def _walk(self, step: str) -> Iterator[int]:
        item = self._lib.raw(step, self._handle, None)
        while item:
            yield item
            item = self._lib.raw(step, self._handle, item)

    def variables(self, section: str) -> dict[str, Variable]:
        """The global variables of ".rodata", ".bss" … by name; {} where there is no such section
        or no BTF. Read from libbpf's own BTF, since offsets in the file's are not final."""
        btf = self._lib.raw("bpf_object__btf", self._handle)
        if not btf:
            return {}
        try:
            number = self._lib.call(
                "btf__find_by_name_kind", btf, section.encode(), _BTF_KIND_DATASEC
            )
        except LibbpfError:
            return {}
        start = self._lib.pointer("btf__type_by_id", btf, number)
        # struct btf_type {name_off, info, size}, then btf_var_secinfo {type, offset, size} each
        count = _U32.from_address(start + 4).value & 0xFFFF
        found = {}
        for entry in range(start + 12, start + 12 + 12 * count, 12):
            kind, offset, size = (_U32 * 3).from_address(entry)
            variable = self._lib.pointer("btf__type_by_id", btf, kind)
            name = self._lib.raw("btf__name_by_offset", btf, _U32.from_address(variable).value)
            found[name.decode()] = Variable(offset, size)
        return found

    def load(self) -> None:
        """Raises LibbpfError whose `log` is what the verifier said of the first function that it
        refused; libbpf stops there."""
        memory = mmap.mmap(-1, LOG_BYTES)
        log = (ctypes.c_char * LOG_BYTES).from_buffer(memory)
        try:
            for function in self.functions:
                function.set_log(log)
            self._lib.call("bpf_object__load", self._handle)
        except LibbpfError as error:
            error.log = log.value.decode(errors="replace")
            raise

    def attach(self, function: Function) -> None:
        link = function.attach()
        self.keep(link)
        if function.section.partition("/")[0] in ("iter", "iter.s"):
            self._iterators.append(link)

    def keep(self, link: int) -> None:
        """A link that is to be taken away at the end."""
        self._links.append(link)

    def keep_fd(self, link: int) -> None:
        """The same as a file descriptor."""
        self._link_fds.append(link)

    def iterate(self) -> None:
        """Runs every attached iterator over all that there is now; what it prints is dropped."""
        for link in self._iterators:
            fd = self._lib.call("bpf_iter_create", self._lib.call("bpf_link__fd", link))
            try:
                while _read_some(fd):
                    pass
            except OSError as error:
                raise LibbpfError("reading an iterator", error.errno or errno.EIO) from None
            finally:
                os.close(fd)

    def close(self) -> None:
        """Detaches, unloads, frees. A second call does nothing."""
        while self._links:
            self._lib.raw("bpf_link__destroy", self._links.pop())
        while self._link_fds:
            os.close(self._link_fds.pop())
        if self._handle is not None:
            self._lib.raw("bpf_object__close", self._handle)
            self._handle = None


def _read_some(fd: int) -> bool:
    """False at the end. EAGAIN is the kernel's way to pause in a long walk (bpf_seq_read)."""
    try:
        return bool(os.read(fd, 1 << 16))
    except BlockingIOError:
        return True
