"""bcc and the kernel's headers: asked for where the kernel carries no BTF, or by ebpf.backend."""

from typing import NamedTuple

from exporter.doctor.line import Line
from exporter.doctor.machine import Machine
from exporter.doctor.wants import named
from exporter.ebpf.bcc_process import missing
from exporter.ebpf.features import no_kernel_btf
from exporter.ebpf.kernel_headers import find
from exporter.hostfs import HostFs

SUBJECT = "headers for bcc"


class _Lack(NamedTuple):
    """`bcc` whether bcc works all the same, with headers of another kernel."""

    what: str
    mend: str
    bcc: bool


def usable(machine: Machine) -> bool:
    """bcc is there, with headers of the running kernel."""
    release = machine.release()
    return release is not None and _lack(machine.host, release) is None


def _lack(host: HostFs, release: str) -> _Lack | None:
    headers = find(host, release)
    absent = missing(host, headers, release)
    what, _, mend = (absent or "").partition(": ")
    if headers is not None and headers.release != release:
        other = f"the headers are those of {headers.release}, the kernel is {release}"
        what = f"{what}; {other}" if what else other
        mend = mend or f"apt-get install linux-headers-{release}"
    return _Lack(what, mend, absent is None) if what else None


def check(machine: Machine) -> Line:
    release, wants = machine.release(), machine.wants
    if release is None:
        return Line(SUBJECT, "unknown", "/proc does not tell the kernel's release")
    lack = _lack(machine.host, release)
    if lack is None:
        return Line(SUBJECT, "ok", f"bcc and headers of {release}")
    what, mend, bcc = lack
    by_choice = wants.backend == "bcc" and bool(wants.programs)
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
    if bcc:  # of another kernel: tracepoints' arguments are read right all the same
        found = f"{what}: programs that read the kernel's structs are refused"
        return Line(SUBJECT, "degraded", found, mend)
    return Line(SUBJECT, "missing", what, mend, "ebpf.backend: bcc")
