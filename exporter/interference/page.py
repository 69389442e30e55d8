"""/interference for people: the same answer as a page."""

import time
from pathlib import Path

from exporter.interference.answer import IncidentJson, InterferenceJson, SubjectJson
from exporter.pages.template import render

TEMPLATE = Path(__file__).with_name("interference.html.j2")


def interference_page(answer: InterferenceJson) -> str:
    """The whole page as HTML; every value is escaped."""
    return render(TEMPLATE, answer=answer, who=who, when=when, lasted=lasted)


def who(subject: SubjectJson) -> str:
    return subject.pod or subject.name or ("this node" if subject.scope == "node" else "all jobs")


def when(wall: float) -> str:
    """UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(wall)) if wall else "never"


def lasted(incident: IncidentJson, now: float) -> str:
    seconds = max((incident.ended or now) - incident.began, 0.0)
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
