"""The wall clock: does something keep it right, and is reading it cheap?

Samples and probes are dated by it; times of trips are not, which is why it is never "missing".
"""

from exporter.doctor.line import Line
from exporter.doctor.machine import Machine

SUBJECT = "clock"
_SLOW_SOURCES = frozenset(("acpi_pm", "hpet", "jiffies", "refined-jiffies", "pit"))


def check(machine: Machine) -> Line:
    clock = machine.answers.clock
    if clock is None:
        return Line(SUBJECT, "unknown", "adjtimex(2) is not answered")
    source = _source(machine)
    where = f"; source {source}" if source else ""
    if not clock.synchronised:
        found = f"not synchronised: whatever is dated may be off{where}"
        return Line(SUBJECT, "degraded", found, "run chronyd or systemd-timesyncd")
    found = f"synchronised, at most {1000 * clock.most_off_seconds:.3g} ms off{where}"
    if source in _SLOW_SOURCES:
        mend = "tsc is faster by far (see dmesg for why the kernel does not trust it)"
        return Line(SUBJECT, "degraded", f"{found}, each reading is a slow one", mend)
    return Line(SUBJECT, "ok", found)


def _source(machine: Machine) -> str:
    """Nothing where the kernel does not say."""
    folder = machine.host.sys / "devices/system/clocksource/clocksource0"
    try:
        return (folder / "current_clocksource").read_text().strip()
    except OSError:
        return ""
