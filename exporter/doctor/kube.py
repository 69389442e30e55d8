"""Access to the Kubernetes API, where the configuration asks for it; no line where it does not."""

from exporter.doctor.line import Line
from exporter.doctor.machine import Machine

SUBJECT = "Kubernetes API"


def check(machine: Machine) -> Line | None:
    answers = machine.answers.api
    if not answers:
        return None
    refused = [each for each in answers if each.problem]
    if not refused:
        return Line(SUBJECT, "ok", f"granted: {', '.join(each.asked for each in answers)}")
    first = refused[0]
    mend = "the API must answer, and its RBAC grant that (docs/pressure.md, docs/usage-pods.md)"
    return Line(SUBJECT, "missing", first.problem, mend, ", ".join(each.asked for each in refused))
