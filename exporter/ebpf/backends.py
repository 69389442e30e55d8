"""Which backend loads a program: libbpf where it can, bcc where the kernel's types are unknown.

bcc's half is imported only where it is needed: most kernels carry BTF.
"""

from contextlib import closing

from exporter.ebpf import kernel
from exporter.ebpf.kernel import Options, ProgramReport
from exporter.ebpf.loaded import KernelProgram
from exporter.ebpf.spec import Program
from exporter.errors import BpfError


def load(program: Program, options: Options = kernel.DEFAULTS) -> KernelProgram:
    """Loads and attaches by `options.backend`; the caller closes it. Raises BpfError of one line,
    with both backends' reasons where both were tried."""
    if options.backend == "bcc":
        return _by_bcc(program, options)
    try:
        return kernel.load(program, options)
    except BpfError as error:
        if not _may_try_bcc(options):
            raise
        first = error
    try:
        return _by_bcc(program, options)
    except BpfError as error:
        second = str(error).removeprefix(f"{program.name}: ")
        raise BpfError(f"{first}; and by bcc: {second}", first.log or error.log) from None


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
