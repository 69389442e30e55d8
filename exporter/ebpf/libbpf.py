"""The system's libbpf.so.1 by ctypes: its functions, typed, and what it says.

Each call raises LibbpfError with the errno; nothing here decides what to do about it.
libbpf says why on its log only, so its messages are collected while `messages()` is open.
It must not know what a program, a metric or a hook with alternatives is.
"""

import contextlib
import ctypes
import errno
import functools
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from exporter.errors import BpfError

logger = logging.getLogger(__name__)

_PROG_TYPE_SOCKET_FILTER = 1
_DEBUG = 2  # libbpf's own level; its debug messages are a thousand lines a load

# include/uapi/linux/bpf.h, enum bpf_map_type, by the names that bpftool shows
_KINDS = (
    "unspec",
    "hash",
    "array",
    "prog_array",
    "perf_event_array",
    "percpu_hash",
    "percpu_array",
    "stack_trace",
    "cgroup_array",
    "lru_hash",
    "lru_percpu_hash",
    "lpm_trie",
    "array_of_maps",
    "hash_of_maps",
    "devmap",
    "sockmap",
    "cpumap",
    "xskmap",
    "sockhash",
    "cgroup_storage",
    "reuseport_sockarray",
    "percpu_cgroup_storage",
    "queue",
    "stack",
    "sk_storage",
    "devmap_hash",
    "struct_ops",
    "ringbuf",
    "inode_storage",
    "task_storage",
    "bloom_filter",
    "user_ringbuf",
    "cgrp_storage",
    "arena",
)
MAP_KINDS: Mapping[int, str] = dict(enumerate(_KINDS))


class LibbpfError(BpfError):
    """`errno` is the positive error number; the text is a short English line."""

    def __init__(self, what: str, number: int) -> None:
        self.errno = number
        name = errno.errorcode.get(number, str(number))
        super().__init__(f"{what}: {os.strerror(number)} ({name})")


class _ProgInfo(ctypes.Structure):
    """struct bpf_prog_info (include/uapi/linux/bpf.h) as far as recursion_misses."""

    _fields_ = [
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("tag", ctypes.c_uint8 * 8),
        ("lengths", ctypes.c_uint32 * 2),
        ("insns", ctypes.c_uint64 * 2),
        ("load_time", ctypes.c_uint64),
        ("created_by_uid", ctypes.c_uint32),
        ("nr_map_ids", ctypes.c_uint32),
        ("map_ids", ctypes.c_uint64),
        ("name", ctypes.c_char * 16),
        ("ifindex", ctypes.c_uint32),
        ("bits", ctypes.c_uint32),
        ("netns", ctypes.c_uint64 * 2),
        ("nr_jited", ctypes.c_uint32 * 2),
        ("jited", ctypes.c_uint64 * 2),
        ("btf_id", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("func_info", ctypes.c_uint64),
        ("nr_info", ctypes.c_uint32 * 2),
        ("line_info", ctypes.c_uint64 * 2),
        ("nr_line", ctypes.c_uint32 * 4),
        ("prog_tags", ctypes.c_uint64),
        ("run_time_ns", ctypes.c_uint64),
        ("run_cnt", ctypes.c_uint64),
        ("recursion_misses", ctypes.c_uint64),
    ]


class _MapInfo(ctypes.Structure):
    """struct bpf_map_info, its first half."""

    _fields_ = [
        (name, ctypes.c_uint32) for name in ("type", "id", "key_size", "value_size", "max_entries")
    ]


class ProgramInfo(NamedTuple):
    """What the kernel knows of a loaded function. Times are ns, counted only while
    kernel.bpf_stats_enabled is set; `missed` runs were skipped as recursion, None before 5.12."""

    id: int
    tag: str
    run_time_ns: int
    run_count: int
    missed: int | None


class MapFacts(NamedTuple):
    """What the kernel knows of a loaded map; sizes in bytes."""

    kind: str
    id: int
    key_size: int
    value_size: int
    max_entries: int


_POINTER, _INT, _SIZE, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_char_p
_U32 = ctypes.c_uint32

# name: (result, arguments); a result of None is void
_PROTOTYPES: Mapping[str, tuple[Any, tuple[Any, ...]]] = {
    "libbpf_set_print": (_POINTER, (_POINTER,)),
    "libbpf_major_version": (_U32, ()),
    "libbpf_minor_version": (_U32, ()),
    "libbpf_num_possible_cpus": (_INT, ()),
    "bpf_object__open_mem": (_POINTER, (_POINTER, _SIZE, _POINTER)),
    "bpf_object__load": (_INT, (_POINTER,)),
    "bpf_object__close": (None, (_POINTER,)),
    "bpf_object__btf": (_POINTER, (_POINTER,)),
    "bpf_object__next_program": (_POINTER, (_POINTER, _POINTER)),
    "bpf_object__next_map": (_POINTER, (_POINTER, _POINTER)),
    "bpf_program__name": (_TEXT, (_POINTER,)),
    "bpf_program__section_name": (_TEXT, (_POINTER,)),
    "bpf_program__set_autoload": (_INT, (_POINTER, ctypes.c_bool)),
    "bpf_program__set_log_buf": (_INT, (_POINTER, _POINTER, _SIZE)),
    "bpf_program__fd": (_INT, (_POINTER,)),
    "bpf_program__attach": (_POINTER, (_POINTER,)),
    "bpf_program__set_type": (_INT, (_POINTER, _U32)),
    "bpf_program__set_expected_attach_type": (_INT, (_POINTER, _U32)),
    "bpf_program__attach_xdp": (_POINTER, (_POINTER, _INT)),
    "bpf_program__attach_cgroup": (_POINTER, (_POINTER, _INT)),
    "bpf_link_create": (_INT, (_INT, _INT, _U32, _POINTER)),
    "bpf_program__attach_perf_event": (_POINTER, (_POINTER, _INT)),
    "bpf_program__attach_uprobe_opts": (_POINTER, (_POINTER, _INT, _TEXT, _SIZE, _POINTER)),
    "bpf_program__attach_usdt": (_POINTER, (_POINTER, _INT, _TEXT, _TEXT, _TEXT, _POINTER)),
    "bpf_link__fd": (_INT, (_POINTER,)),
    "bpf_link__destroy": (_INT, (_POINTER,)),
    "bpf_iter_create": (_INT, (_INT,)),
    "bpf_map__name": (_TEXT, (_POINTER,)),
    "bpf_map__type": (_U32, (_POINTER,)),
    "bpf_map__set_type": (_INT, (_POINTER, _U32)),
    "bpf_map__key_size": (_U32, (_POINTER,)),
    "bpf_map__value_size": (_U32, (_POINTER,)),
    "bpf_map__max_entries": (_U32, (_POINTER,)),
    "bpf_map__set_max_entries": (_INT, (_POINTER, _U32)),
    "bpf_map__is_internal": (ctypes.c_bool, (_POINTER,)),
    "bpf_map__initial_value": (_POINTER, (_POINTER, ctypes.POINTER(_SIZE))),
    "bpf_map__fd": (_INT, (_POINTER,)),
    "bpf_map_lookup_elem": (_INT, (_INT, _POINTER, _POINTER)),
    "ring_buffer__new": (_POINTER, (_INT, _POINTER, _POINTER, _POINTER)),
    "ring_buffer__epoll_fd": (_INT, (_POINTER,)),
    "ring_buffer__consume": (_INT, (_POINTER,)),
    "ring_buffer__free": (None, (_POINTER,)),
    "perf_buffer__new": (
        _POINTER,
        (_INT, _SIZE, _POINTER, _POINTER, _POINTER, _POINTER),
    ),
    "perf_buffer__epoll_fd": (_INT, (_POINTER,)),
    "perf_buffer__consume": (_INT, (_POINTER,)),
    "perf_buffer__free": (None, (_POINTER,)),
    "bpf_map_update_elem": (_INT, (_INT, _POINTER, _POINTER, ctypes.c_uint64)),
    "bpf_map_delete_elem": (_INT, (_INT, _POINTER)),
    "bpf_map_get_next_key": (_INT, (_INT, _POINTER, _POINTER)),
    "bpf_map_lookup_batch": (
        _INT,
        (_INT, _POINTER, _POINTER, _POINTER, _POINTER, ctypes.POINTER(_U32), _POINTER),
    ),
    "bpf_prog_load": (_INT, (_INT, _TEXT, _TEXT, _POINTER, _SIZE, _POINTER)),
    "bpf_map_get_fd_by_id": (_INT, (_U32,)),
    "bpf_obj_get_info_by_fd": (_INT, (_INT, _POINTER, ctypes.POINTER(_U32))),
    "btf__find_by_name_kind": (ctypes.c_int32, (_POINTER, _TEXT, _U32)),
    "btf__type_by_id": (_POINTER, (_POINTER, _U32)),
    "btf__name_by_offset": (_TEXT, (_POINTER, _U32)),
}


class Libbpf:
    """The functions above, typed, and libbpf's messages."""

    def __init__(self, file: str) -> None:
        try:
            library = ctypes.CDLL(file, use_errno=True)
        except OSError as error:
            raise BpfError(
                f"{file}: cannot be loaded ({error}), so no BPF program can run: "
                "install libbpf 1.0 or newer (Debian: apt-get install libbpf1)"
            ) from None
        for name, (result, arguments) in _PROTOTYPES.items():
            try:
                function = getattr(library, name)
            except AttributeError:
                raise BpfError(
                    f"{file}: has no function {name}, want libbpf 1.0 or newer"
                ) from None
            function.restype, function.argtypes = result, arguments
        self._library = library
        self._listening = threading.local()
        libc = ctypes.CDLL(None)
        libc.vsnprintf.argtypes = (_POINTER, _SIZE, _TEXT, _POINTER)
        # A va_list goes as a pointer on x86-64 (an array type) and on arm64 (over 16 bytes).
        self._printer = ctypes.CFUNCTYPE(_INT, _INT, _TEXT, _POINTER)(
            functools.partial(self._print, libc.vsnprintf)
        )
        library.libbpf_set_print(ctypes.cast(self._printer, _POINTER))

    def _print(self, vsnprintf: Callable[..., int], level: int, form: bytes, values: int) -> int:
        if level >= _DEBUG:
            return 0
        buffer = ctypes.create_string_buffer(2048)
        vsnprintf(buffer, len(buffer), form, values)
        for line in buffer.value.decode(errors="replace").splitlines():
            text = line.removeprefix("libbpf: ")
            logger.debug("libbpf: %s", text)
            sink: list[str] | None = getattr(self._listening, "sink", None)
            if sink is not None:
                sink.append(text)
        return 0

    @contextlib.contextmanager
    def messages(self) -> Iterator[list[str]]:
        """What libbpf warns this thread of while it is open, line by line. One at a time."""
        sink: list[str] = []
        self._listening.sink = sink
        try:
            yield sink
        finally:
            self._listening.sink = None

    def call(self, name: str, *arguments: object) -> int:
        """Result of an int function, LibbpfError where it is negative."""
        result = cast(int, getattr(self._library, name)(*arguments))
        if result < 0:
            raise LibbpfError(name, -result)
        return result

    def pointer(self, name: str, *arguments: object) -> int:
        """Result of a pointer function, LibbpfError (from errno) where it is NULL."""
        ctypes.set_errno(0)
        result = cast(int | None, getattr(self._library, name)(*arguments))
        if not result:
            raise LibbpfError(name, ctypes.get_errno() or errno.ENOENT)
        return result

    def raw(self, name: str, *arguments: object) -> Any:
        """Result as it is: void, bool, text, or a pointer that may well be None."""
        return getattr(self._library, name)(*arguments)

    def possible_cpus(self) -> int:
        return self.call("libbpf_num_possible_cpus")

    def program_info(self, fd: int) -> ProgramInfo:
        """Of a loaded function."""
        info, size = _ProgInfo(), _U32(ctypes.sizeof(_ProgInfo))
        self.call("bpf_obj_get_info_by_fd", fd, ctypes.byref(info), ctypes.byref(size))
        missed = info.recursion_misses if size.value >= ctypes.sizeof(_ProgInfo) else None
        return ProgramInfo(info.id, bytes(info.tag).hex(), info.run_time_ns, info.run_cnt, missed)

    def map_facts(self, fd: int) -> MapFacts:
        """Of a loaded map."""
        info, size = _MapInfo(), _U32(ctypes.sizeof(_MapInfo))
        self.call("bpf_obj_get_info_by_fd", fd, ctypes.byref(info), ctypes.byref(size))
        kind = MAP_KINDS.get(info.type, f"type {info.type}")
        return MapFacts(kind, info.id, info.key_size, info.value_size, info.max_entries)

    def try_trivial_program(self) -> None:
        """Loads and frees `return 0`: LibbpfError says that no BPF is to be had at all."""
        # BPF_MOV64_IMM(r0, 0), BPF_EXIT_INSN()
        code = bytes.fromhex("b7000000000000009500000000000000")
        kind = _PROG_TYPE_SOCKET_FILTER
        os.close(self.call("bpf_prog_load", kind, None, b"GPL", code, 2, None))


@functools.cache
def library(file: str = "libbpf.so.1") -> Libbpf:
    """The library, loaded at the first call; BpfError with one line where it is missing."""
    return Libbpf(file)
