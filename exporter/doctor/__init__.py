"""`kernmesh doctor`: what of this machine an agent with this configuration has, degraded or lacks.

CHECKS is the table, in the order of the screen: a check is a pure function of a Machine, one
module per subject. One that fails says "unknown" and hides no other. Never in an agent's memory.
"""

from collections.abc import Callable
from typing import NamedTuple

from exporter.doctor import (
    bpf,
    btf,
    capabilities,
    cgroups,
    clock,
    counters,
    headers,
    kernel_config,
    kernel_mounts,
    kube,
    lockdown,
    ping,
    privileges,
    state,
)
from exporter.doctor.line import Line
from exporter.doctor.machine import Machine


class Check(NamedTuple):
    """`look` answers None where the configuration does not touch the subject."""

    subject: str
    look: Callable[[Machine], Line | None]


CHECKS = (
    Check("kernel config", kernel_config.check),
    Check("BTF", btf.check),
    Check("lockdown", lockdown.check),
    Check("capabilities", capabilities.check),
    Check("privileges", privileges.check),
    Check("libbpf", bpf.check_libbpf),
    Check("bpf()", bpf.check_bpf),
    Check("tracefs", kernel_mounts.check_tracefs),
    Check("bpffs", kernel_mounts.check_bpffs),
    Check("headers for bcc", headers.check),
    Check("cgroups", cgroups.check),
    Check("PMU", counters.check_pmu),
    Check("PSI", counters.check_psi),
    Check("ping_group_range", ping.check),
    Check("clock", clock.check),
    Check("state dir", state.check),
    Check("Kubernetes API", kube.check),
)


def examine(machine: Machine, checks: tuple[Check, ...] = CHECKS) -> list[Line]:
    """Raises nothing."""
    found = (_look(check, machine) for check in checks)
    return [line for line in found if line is not None]


def _look(check: Check, machine: Machine) -> Line | None:
    try:
        return check.look(machine)
    except Exception as error:  # of a file that is as nobody thought of: the rest is still true
        return Line(check.subject, "unknown", f"cannot be told: {type(error).__name__}: {error}")
