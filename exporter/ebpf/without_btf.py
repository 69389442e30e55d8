"""What remains of a program where the kernel carries no BTF: which functions cannot be had, and
the types that can still be told.

With a BTF file of the user's everything but functions that hook by the kernel's own BTF; without
one, functions that read nothing but their tracepoint's arguments, which tracefs describes, or no
kernel type at all.
"""

import os

from exporter.ebpf import features
from exporter.ebpf.btf_build import build
from exporter.ebpf.elf import verify_object
from exporter.ebpf.relocations import relocations
from exporter.ebpf.tracefs_btf import is_argument, tracepoint_structs
from exporter.hostfs import HostFs

# Sections whose programs name what they hook by its id in the kernel's own BTF.
BY_BTF = frozenset(("tp_btf", "fentry", "fexit", "fmod_ret", "iter", "lsm", "lsm_cgroup"))


class WithoutKernelBtf:
    """`btf` is the file to give to libbpf: the user's, or one of our own that holds what tracefs
    says of the tracepoints that this program is for. Close it once the program is loaded."""

    def __init__(self, data: bytes, custom_btf: str | None, host: HostFs) -> None:
        self._host = host
        self._sections = verify_object(data).functions
        self._relocated = relocations(data)
        self._fd: int | None = None
        self._known: set[str] | None = None
        if custom_btf is not None:
            self.btf = custom_btf
            return
        structs = tracepoint_structs(self._sections, self._relocated, host)
        self._known = set(structs)
        self._fd = os.memfd_create("tracefs.btf")
        os.write(self._fd, build(structs))
        self.btf = f"/proc/self/fd/{self._fd}"

    def unsuited(self, function: str) -> str | None:
        """Why this function cannot be had here; None where it can."""
        section = self._sections[function]
        kind = section.partition("/")[0].removesuffix(".s")
        if kind in BY_BTF:
            return f"{kind} needs a kernel that carries BTF itself"
        if self._known is None:
            return None
        types = dict.fromkeys(each.type for each in self._relocated[function])
        lacking = [each for each in types if each.name not in self._known]
        if not lacking:
            return None
        structs = [f"{each.kind} {each.name}" for each in lacking if not is_argument(each)]
        if structs:
            names = list(dict.fromkeys(structs))
            more = f" and {len(names) - 2} more types" if len(names) > 2 else ""
            return f"reads {', '.join(names[:2])}{more}, and this kernel carries no BTF"
        group, _, event = section.partition("/")[2].partition("/")
        no_format = f"tracefs does not say what {lacking[0].name} is"
        return features.no_tracepoint(group, event, self._host) or no_format

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
