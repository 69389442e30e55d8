"""bcc and the kernel's headers: asked for where the kernel carries no BTF, or by ebpf.backend."""

from exporter.doctor.line import Line
from exporter.doctor.machine import Machine
from exporter.doctor.wants import named
from exporter.ebpf.bcc_process import missing
from exporter.ebpf.features import no_kernel_btf
from exporter.ebpf.kernel_headers import find

SUBJECT = "headers for bcc"


def usable(machine: Machine) -> bool:
    """bcc is there, with headers of the running kernel."""
    release = machine.release()
    if release is None:
        return False
    headers = find(machine.host, release)
    return (
        missing(machine.host, headers, release) is None
        and headers is not None
        and headers.release == release
    )


def check(machine: Machine) -> Line:
    release, wants = machine.release(), machine.wants
    if release is None:
        return Line(SUBJECT, "unknown", "/proc does not tell the kernel's release")
    headers = find(machine.host, release)
    absent = missing(machine.host, headers, release)
    by_choice = wants.backend == "bcc" and bool(wants.programs)
    if absent is None and headers is not None and headers.release == release:
        return Line(SUBJECT, "ok", f"bcc and headers of {release}")
    what, _, mend = (absent or "").partition(": ")
    if headers is not None and headers.release != release:
        other = f"the headers are those of {headers.release}, the kernel is {release}"
        what = f"{what}; {other}" if what else other
        mend = mend or f"apt-get install linux-headers-{release}"
    if not by_choice:
        if wants.backend == "core":
            return Line(SUBJECT, "ok", f"not needed with ebpf.backend: core ({what})")
        if no_kernel_btf(machine.host) is None:
            return Line(SUBJECT, "ok", f"not needed, as the kernel carries BTF ({what})")
        if wants.lost_without_btf is None:
            return Line(SUBJECT, "unknown", f"{what}; who needs them only root is told", mend)
        if wants.btf is not None or not wants.lost_without_btf:
            return Line(SUBJECT, "ok", f"not needed by what is configured ({what})")
        return Line(SUBJECT, "missing", what, mend, named(wants.lost_without_btf))
    if absent is None:  # of another kernel: tracepoints' arguments are read right all the same
        found = f"{what}: programs that read the kernel's structs are refused"
        return Line(SUBJECT, "degraded", found, mend)
    return Line(SUBJECT, "missing", what, mend, "ebpf.backend: bcc")
