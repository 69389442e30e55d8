"""Which backend loads a program: libbpf where it can, bcc where the kernel's types are unknown.

bcc's half is imported only where it is needed: most kernels carry BTF.
"""

import os
from contextlib import closing

from exporter.ebpf import kernel
from exporter.ebpf.kernel import Options, ProgramReport, Verified
from exporter.ebpf.loaded import KernelProgram
from exporter.ebpf.spec import Program
from exporter.errors import BpfError
from exporter.memory import limit_bytes

LITTLE_BYTES = 160 << 20


def load(
    program: Program, options: Options = kernel.DEFAULTS, verified: Verified | None = None
) -> KernelProgram:
    """Loads and attaches by `options.backend`; the caller closes it. `verified` is for kernel.load.
    Raises BpfError of one line, with both backends' reasons where both were tried."""
    if options.backend == "bcc":
        return _by_bcc(program, options)
    try:
        return kernel.load(program, options, verified)
    except BpfError as error:
        if not _may_try_bcc(options):
            raise
        first = error
    try:
        return _by_bcc(program, options)
    except BpfError as error:
        second = str(error).removeprefix(f"{program.name}: ")
        raise BpfError(f"{first}; and by bcc: {second}", first.log or error.log) from None


def at_once(options: Options) -> int:
    """How many programs should be loaded side by side. Most of a load is libbpf and the kernel at
    the kernel's types, which takes libbpf 12 MB each; bcc needs 125 MB. One after the other where
    the own cgroup has little memory: nothing else of an agent takes as much."""
    if options.backend == "bcc" or _may_try_bcc(options):
        return 1
    limit = limit_bytes(options.host)
    if limit is not None and limit < LITTLE_BYTES:
        return 1
    return min(2, os.cpu_count() or 1)


def examine(program: Program, options: Options = kernel.DEFAULTS) -> ProgramReport:
    """Tries a program on this kernel and takes it out again; raises nothing."""
    row = ProgramReport(program.name, (), None, None)
    if options.backend != "bcc":
        row = kernel.examine(program, options)
        if row.hook is not None or not _may_try_bcc(options):
            return row
    try:
        loaded = load(program, options)
    except BpfError as error:
        return row._replace(reason=str(error))
    with closing(loaded):
        return kernel.report(program.name, loaded.hooks, "; ".join(loaded.problems) or None)


def _may_try_bcc(options: Options) -> bool:
    own = options.host.sys / "kernel/btf/vmlinux"
    return options.backend == "auto" and options.custom_btf is None and not own.exists()


def _by_bcc(program: Program, options: Options) -> KernelProgram:
    from exporter.ebpf import bcc_backend

    return bcc_backend.load(program, options)
