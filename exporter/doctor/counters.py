"""The CPU's hardware counters (PMU), and the kernel's pressure (PSI)."""

from exporter.doctor.line import Line
from exporter.doctor.machine import Machine
from exporter.doctor.wants import HARDWARE, named
from exporter.ebpf.features import hardware_counters
from exporter.errors import KernmeshError
from exporter.host.psi import NodePressure


def check_pmu(machine: Machine) -> Line:
    if not (machine.host.sys / "bus/event_source/devices").is_dir():
        return Line("PMU", "unknown", "sysfs does not tell of event sources")
    if hardware_counters(machine.host):
        return Line("PMU", "ok", "the CPUs count")
    mend = "give the virtual machine a PMU (libvirt: <pmu state='on'/>), or real hardware"
    lost = machine.wants.lost((HARDWARE,))
    return Line("PMU", "missing", "no hardware counters, as in many VMs", mend, named(lost))


def check_psi(machine: Machine) -> Line:
    try:
        found = NodePressure(machine.host).pressures()
    except (OSError, ValueError, KernmeshError) as error:
        return Line("PSI", "unknown", f"/proc/pressure cannot be read: {error}", "ask as root")
    if found:
        return Line("PSI", "ok", f"of {' '.join(found)}")
    mend = "boot with psi=1 (the kernel needs CONFIG_PSI)"
    return Line("PSI", "missing", "no /proc/pressure, or it is off", mend, machine.wants.psi)
