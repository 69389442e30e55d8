"""The kernel's types (BTF), and what is left without them."""

from exporter.doctor.headers import usable
from exporter.doctor.line import Line
from exporter.doctor.machine import Machine
from exporter.doctor.wants import named
from exporter.ebpf.features import btf_file_problem, no_kernel_btf

SUBJECT = "BTF"
_MEND = "a kernel with CONFIG_DEBUG_INFO_BTF, or a BTF file named as ebpf.btf (BTFHub has many)"


def check(machine: Machine) -> Line:
    wants = machine.wants
    if no_kernel_btf(machine.host) is None:
        return Line(SUBJECT, "ok", "the kernel carries its own")
    file = ""
    if wants.btf is not None:
        problem = btf_file_problem(wants.btf)
        if problem is not None:
            return Line(SUBJECT, "missing", problem, _MEND, "ebpf.btf")
        file = f", {wants.btf} (ebpf.btf) stands for it"
    found = f"the kernel carries none{file}"
    if not wants.programs:
        return Line(SUBJECT, "missing", found, _MEND)
    lost = wants.lost_without_btf
    if lost is None:
        return Line(SUBJECT, "unknown", f"{found}; what is lost only root is told", "ask as root")
    if not lost:
        return Line(SUBJECT, "degraded", f"{found}; every program has a way all the same", _MEND)
    if wants.btf is None and wants.backend != "core" and usable(machine):
        found = f"{found}; bcc compiles what needs it, 125 MB and seconds for each"
        return Line(SUBJECT, "degraded", found, _MEND)
    return Line(SUBJECT, "missing", found, _MEND, named(lost))
