"""Lockdown, which takes hooks away from root too (kernel: security/lockdown/lockdown.c)."""

from exporter.doctor.kernel_config import read_config
from exporter.doctor.line import Line
from exporter.doctor.machine import Machine
from exporter.ebpf.features import lockdown

SUBJECT = "lockdown"
_MEND = "boot without lockdown= (Secure Boot may turn it on); kernmesh programs says what is left"


def check(machine: Machine) -> Line:
    mode = lockdown(machine.host)
    if mode == "none":
        return Line(SUBJECT, "ok", "none")
    if mode == "integrity":
        found = "integrity: kernels may refuse fentry, fexit and LSM programs; other ways are taken"
        return Line(SUBJECT, "degraded", found, _MEND)
    if mode is not None:
        found = f"{mode}: BPF programs may not read the kernel's memory"
        return Line(SUBJECT, "missing", found, _MEND, machine.wants.by_programs())
    config = read_config(machine)
    if config is not None and "SECURITY_LOCKDOWN_LSM" not in config:
        return Line(SUBJECT, "ok", "this kernel has none (CONFIG_SECURITY_LOCKDOWN_LSM)")
    return Line(
        SUBJECT,
        "unknown",
        f"{machine.host.sys}/kernel/security/lockdown cannot be read",
        "mount -t securityfs securityfs /sys/kernel/security, and ask as root",
    )
