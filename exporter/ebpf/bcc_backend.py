"""Programs into the kernel by bcc, for kernels without BTF: the same sources, compiled here.

bcc works in a process of its own, which hands over what it has loaded and ends. A function is
tried only where all that it reads is known: by the kernel's BTF or a file that the user gives, by
tracefs for a tracepoint's arguments, or by headers that are the running kernel's.
"""

import ctypes
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from exporter.ebpf import binaries, budget, features, kernel_headers, libbpf
from exporter.ebpf.bcc_process import BccError, BccProcess, missing, open_process
from exporter.ebpf.bcc_source import MapPlan, whole_source
from exporter.ebpf.bcc_types import types_as_c
from exporter.ebpf.btf import Btf
from exporter.ebpf.btf_build import build
from exporter.ebpf.elf import verify_object
from exporter.ebpf.header_types import header_types
from exporter.ebpf.hooks import HookReport, Refusal, functions_to_try, hooks_of
from exporter.ebpf.kernel import Options
from exporter.ebpf.loaded import KernelProgram
from exporter.ebpf.mapsizes import split_by_cpu
from exporter.ebpf.objectfile import SHIPPED, read_object
from exporter.ebpf.relocations import Relocation, relocations
from exporter.ebpf.spec import Program
from exporter.ebpf.tracefs_btf import is_argument, tracepoint_structs
from exporter.ebpf.verifier import telling_line
from exporter.errors import BpfError

_KINDS = frozenset(
    ("raw_tp", "raw_tracepoint", "tracepoint", "tp", "kprobe", "kretprobe", "uprobe", "uretprobe")
)
_ARCHITECTURES = {"x86_64": "x86", "aarch64": "arm64", "ppc64le": "powerpc", "s390x": "s390"}
_REFUSED = "km_refused"
_ABSENT = "unknown#195896080"  # what bcc.h calls where a field is read that is not there
_SPECIAL = re.compile(r"^(shared_|snapshot_|refused_|LICENSE$|_license$)|_zero$")


class _Map:
    """A map that was handed over (loaded.MapInKernel)."""

    def __init__(self, lib: libbpf.Libbpf, name: str, fd: int) -> None:
        facts = lib.map_facts(fd)
        self.name, self.fd = name, fd
        self.kind, self.id, self.key_size, self.value_size, self.max_entries = facts


class _Function:
    """A function that was handed over; the descriptors after the first keep it attached."""

    def __init__(self, lib: libbpf.Libbpf, name: str, section: str, fds: Sequence[int]) -> None:
        self._lib, self._fds = lib, fds
        self.name, self.section = name, section

    def info(self) -> libbpf.ProgramInfo:
        return self._lib.program_info(self._fds[0])

    def close(self) -> None:
        for fd in reversed(self._fds):
            os.close(fd)


class _Held:
    """Everything that bcc's process handed over (loaded.Held)."""

    snapshots: Sequence[str] = ()

    def __init__(
        self, lib: libbpf.Libbpf, functions: Sequence[_Function], maps: Mapping[str, int]
    ) -> None:
        self._lib, self.functions = lib, functions
        self._refused = maps[_REFUSED]
        self.maps = [_Map(lib, name, fd) for name, fd in maps.items() if name != _REFUSED]

    def iterate(self) -> None:
        """Iterators need BTF: there are none."""

    def refused(self) -> Mapping[str, int]:
        found = {}
        for index, each in enumerate(self.maps):
            key, value = index.to_bytes(4, sys.byteorder), ctypes.create_string_buffer(8)
            self._lib.call("bpf_map_lookup_elem", self._refused, key, value)
            found[each.name] = int.from_bytes(value.raw, sys.byteorder)
        return found

    def close(self) -> None:
        for function in self.functions:
            function.close()
        for fd in (self._refused, *(each.fd for each in self.maps)):
            os.close(fd)


def load(program: Program, options: Options) -> KernelProgram:
    """As kernel.load: loads and attaches, the caller closes it, BpfError of one line says why
    not. Takes seconds, and for these 125 MB and more in the other process."""
    return _Loader(program, options).load()


class _Loader:
    """One program on its way in."""

    def __init__(self, program: Program, options: Options) -> None:
        self._program, self._options = program, options
        data = read_object(program.object)
        self._object = verify_object(data, str(program.object))
        self._relocated = relocations(data)
        self._hooks = hooks_of(program.spec.hooks, self._object.functions)
        release = options.host.proc / "sys/kernel/osrelease"
        self._release = release.read_text().strip()
        self._headers = kernel_headers.find(options.host, self._release)
        structs = tracepoint_structs(self._object.functions, self._relocated, options.host)
        self._kernel = [Btf(build(structs))]
        whole = _kernel_types(options)
        self._known = None if whole else frozenset(structs)
        self._kernel += [whole] if whole else []

    def reports(self) -> list[HookReport]:
        return [hook.report() for hook in self._hooks]

    def load(self) -> KernelProgram:
        lib, host = libbpf.library(), self._options.host
        if self._headers is None or self._headers.release != self._release:
            self._refuse_unsuited()
            self._check_not_lost(lib)
        why = missing(host, self._headers, self._release)
        if why or self._headers is None:
            raise BpfError(f"{self._program.name}: {why}")
        plans = self._plans(lib)
        with open_process(host, self._headers) as process:
            if self._known is not None and self._headers.release == self._release:
                self._learn_types(process)
            self._refuse_unsuited()
            self._check_not_lost(lib)
            text = self._text(plans)
            try:
                process.compile(text, self._flags())
            except BccError as error:
                raise BpfError(
                    f"{self._program.name}: bcc cannot compile it: {error}", error.log
                ) from None
            functions = self._attach(lib, process)
            try:
                names = [*plans, _REFUSED]
                maps = dict(zip(names, process.maps(names), strict=True))
            except BccError as error:
                for function in functions:
                    function.close()
                raise BpfError(f"{self._program.name}: {error}", error.log) from None
        held = _Held(lib, functions, maps)
        name, batch = self._program.name, self._options.batch
        return KernelProgram(lib, name, "bcc", held, self.reports(), batch)

    def _learn_types(self, process: BccProcess) -> None:
        """From headers that are the running kernel's."""
        if self._object.btf is None or self._known is None:
            return
        found = header_types(self._object.btf, self._all_relocated(), process)
        self._kernel.append(found.btf)
        self._known |= found.known

    def _all_relocated(self) -> list[Relocation]:
        return [each for every in self._relocated.values() for each in every]

    def _attach(self, lib: libbpf.Libbpf, process: BccProcess) -> list[_Function]:
        """Each hook by its first way that this kernel takes."""
        taken: dict[str, _Function] = {}
        while True:
            self._check_not_lost(lib, taken.values())
            wanted = functions_to_try(self._hooks)
            for name in taken.keys() - set(wanted):  # of a way that another function has spoilt
                taken.pop(name).close()
            left = [each for each in wanted if each not in taken]
            if not left:
                return list(taken.values())
            name = left[0]
            section = self._object.functions[name]
            try:
                files = _files(section, self._options)
                fds = process.load(name, section, files)
            except BccError as error:
                machine = features.refusal(section, error.number, self._options.host)
                reason = telling_line(error.log) or machine or str(error)
                if _ABSENT in error.log:
                    reason = "reads a field that this kernel has not"
                self._refuse(Refusal(name, section, reason, error.log))
            except BpfError as error:
                self._refuse(Refusal(name, section, str(error)))
            else:
                taken[name] = _Function(lib, name, section, fds)

    def _refuse(self, refusal: Refusal) -> None:
        for hook in self._hooks:
            if refusal.function in hook.functions:
                hook.refuse(refusal)
        self._refuse_unsuited()

    def _refuse_unsuited(self) -> None:
        for function in functions_to_try(self._hooks):
            reason = self._unsuited(function)
            if reason:
                self._refuse(Refusal(function, self._object.functions[function], reason))
                return

    def _unsuited(self, function: str) -> str | None:
        """Why bcc cannot have this function on this kernel."""
        section = self._object.functions[function]
        kind = section.partition("/")[0]
        if kind not in _KINDS:
            return f"bcc has no {kind}"
        relocated = self._relocated[function]
        if any(each.bits for each in relocated):
            return "bcc reads no bit fields"
        types = [each.type for each in relocated]
        lacking = [t for t in types if self._known is not None and t.name not in self._known]
        if not lacking:
            return None
        first = min(lacking, key=lambda each: (is_argument(each), each.kind != "struct"))
        if is_argument(first):
            group, _, event = section.partition("/")[2].partition("/")
            no_format = f"tracefs does not say what {first.name} is"
            return features.no_tracepoint(group, event, self._options.host) or no_format
        return f"reads {first.kind} {first.name}, and {self._no_types()}"

    def _no_types(self) -> str:
        want = f"apt-get install linux-headers-{self._release}, or name a BTF file as ebpf.btf"
        if self._headers is None:
            return f"this kernel has neither BTF nor headers: {want}"
        if self._headers.release == self._release:
            return "neither BTF nor the kernel's headers tell what it is"
        return (
            f"this kernel has no BTF, and the headers are those of {self._headers.release}, not of "
            f"{self._release}: {want}"
        )

    def _check_not_lost(self, lib: libbpf.Libbpf, taken: Iterable[_Function] = ()) -> None:
        lost = [hook for hook in self._hooks if hook.lost]
        if not lost and functions_to_try(self._hooks):
            return
        for function in taken:
            function.close()
        reports = [hook.report() for hook in lost or self._hooks]
        why = features.no_bpf(lib, self._options.host) or "; ".join(
            f"hook {each.name!r} has no way into this kernel by bcc: {each.reason}"
            for each in reports
        )
        log = "\n".join(refusal.log for each in reports for refusal in each.refusals)
        raise BpfError(f"{self._program.name}: {why}", log)

    def _plans(self, lib: libbpf.Libbpf) -> dict[str, MapPlan]:
        """Every map as it is to be made; raises BpfError for what only libbpf can set."""
        names = self._object.variables
        others = sorted(name for name in names if not _SPECIAL.search(name))
        if others:
            raise BpfError(
                f"{self._program.name}: bcc has no global variables, and the program has "
                f"{', '.join(others)}"
            )
        options = self._options
        by_cpu = split_by_cpu(self._program.spec)
        plans = {}
        for name, found in self._object.maps.items():
            entries = options.max_entries.get(name, found.max_entries)
            plan = budget.plan(
                libbpf.MAP_KINDS.get(found.type, f"type {found.type}"),
                entries,
                found.value_size,
                options.possible_cpus or lib.possible_cpus(),
                can_share=f"shared_{name}" in names and name not in by_cpu,
                budget_bytes=options.budget_bytes,
            )
            plans[name] = MapPlan(plan.kind, entries, plan.shared)
        return plans

    def _text(self, plans: Mapping[str, MapPlan]) -> str:
        path = self._program.object.with_name(f"{self._program.name}.bpf.c")
        if not path.exists():
            raise BpfError(f"{self._program.name}: bcc needs its source, and there is no {path}")
        source = read_object(path).decode(errors="replace")
        btf = self._object.btf
        if btf is None:
            raise BpfError(f"{self._program.object}: has no types: compile it with -g")
        types = types_as_c(btf, self._all_relocated(), self._kernel)
        return whole_source(self._program.name, source, plans, types)

    def _flags(self) -> list[str]:
        machine = platform.machine()
        shipped = next((each for each in SHIPPED if each.is_dir()), SHIPPED[0])
        folders = dict.fromkeys((self._program.object.parent, shipped))
        return [
            "-DKM_BCC",
            "-w",
            f"-D__TARGET_ARCH_{_ARCHITECTURES.get(machine, machine)}",
            *(f"-I{folder / 'include'}" for folder in folders),
            "-idirafter/usr/include",
        ]


def _kernel_types(options: Options) -> Btf | None:
    """All of this kernel's types: the user's file, or the kernel's own."""
    if options.custom_btf is not None:
        return Btf.from_file(Path(options.custom_btf))
    own = options.host.sys / "kernel/btf/vmlinux"
    return Btf.from_file(own) if own.exists() else None


def _files(section: str, options: Options) -> list[str]:
    """What a uprobe is on; attach.py does the same for libbpf."""
    kind, _, target = section.partition("/")
    if kind not in ("uprobe", "uretprobe"):
        return []
    name = target.partition(":")[0]
    if "/" in name:
        return [f"/{name.lstrip('/')}"]
    files = [str(each) for each in binaries.find(name, options.host)]
    if not files:
        raise BpfError(f"no {name} among the programs and libraries of {options.host.root}")
    return files
