"""libbpf, and whether this kernel takes a BPF program of this process: the smallest is tried."""

from exporter.doctor.line import Line
from exporter.doctor.machine import Machine


def check_libbpf(machine: Machine) -> Line:
    answers = machine.answers
    if answers.libbpf is not None:
        return Line("libbpf", "ok", answers.libbpf)
    mend = "install libbpf 1.0 or newer (Debian: apt-get install libbpf1)"
    return Line("libbpf", "missing", answers.no_libbpf, mend, machine.wants.by_programs())


def check_bpf(machine: Machine) -> Line:
    answers = machine.answers
    if answers.libbpf is None:
        return Line("bpf()", "unknown", "cannot be tried without libbpf")
    if answers.no_bpf is None:
        return Line("bpf()", "ok", "takes a program")
    mend = "see kernel config, lockdown and capabilities above"
    return Line("bpf()", "missing", answers.no_bpf, mend, machine.wants.by_programs())
