"""usage.state_dir: where what was measured outlives a restart."""

from exporter.doctor.line import Line
from exporter.doctor.machine import Machine

SUBJECT = "state dir"
_LITTLE_BYTES = 16 << 20
"""A day of a node's hundred series is 4 MB, an hour of 500 pods' 9 MB (docs/usage.md)."""


def check(machine: Machine) -> Line:
    path, state = machine.wants.state_dir, machine.answers.state
    if path is None:
        return Line(SUBJECT, "ok", "none, as configured: a restart begins anew")
    if state is None:
        return Line(SUBJECT, "unknown", f"{path} cannot be looked at", "ask as root")
    if not state.writable:
        found = f"{path} cannot be written as uid {machine.answers.uid}: a restart begins anew"
        mend = f"install -d -m 700 -o {machine.answers.uid} {path}, or usage.state_dir elsewhere"
        return Line(SUBJECT, "missing", found, mend, "usage.state_dir")
    found = path if state.exists else f"{path} will be made"
    if state.free_bytes is None:
        return Line(SUBJECT, "unknown", f"{found}; its filesystem does not tell what is free")
    found += f", {state.free_bytes >> 20} MiB free"
    if state.free_bytes < _LITTLE_BYTES:
        return Line(SUBJECT, "degraded", found, "make room: what does not fit is kept in memory")
    return Line(SUBJECT, "ok", found)
