"""What decoders need of the host, made once and shared by every label of every program.

Cheap to make: whatever must be read is read when a decoder first needs it.
"""

from pathlib import Path
from typing import NamedTuple

from exporter.clock import Clock, SystemClock
from exporter.decoders.cgroup_paths import CgroupPaths
from exporter.decoders.enum_names import EnumNames
from exporter.decoders.kallsyms import KernelSymbols
from exporter.decoders.pci_names import PciNames
from exporter.decoders.user_symbols import UserSymbols
from exporter.hostfs import HostFs


class DecodeContext(NamedTuple):
    """`DecodeContext.of(fs)` is the one way to make it; fields are shared, lazy readers."""

    fs: HostFs
    clock: Clock
    symbols: KernelSymbols
    cgroups: CgroupPaths
    pci: PciNames
    enums: EnumNames
    user_symbols: UserSymbols

    @classmethod
    def of(cls, fs: HostFs | None = None, clock: Clock | None = None) -> "DecodeContext":
        fs = fs or HostFs()
        clock = clock or SystemClock()
        return cls(
            fs=fs,
            clock=clock,
            symbols=KernelSymbols(fs, clock),
            cgroups=CgroupPaths(fs, clock),
            pci=PciNames((fs.root, Path("/"))),
            enums=EnumNames(fs),
            user_symbols=UserSymbols(fs),
        )
