"""What the agent's page says of interference: the incidents that are not over, the newest first."""

from collections.abc import Mapping

from exporter.interference.answer import IncidentJson, InterferenceJson
from exporter.interference.page import lasted, who
from exporter.pages.section import Cell, Link, Mood, Row, Section

MOST = 10
_MOODS: Mapping[str, Mood] = {"info": "soft", "warning": "off", "critical": "off"}


def section(answer: InterferenceJson, now: float) -> Section:
    """Bounded; /interference has them all."""
    rows = [_row(each, now) for each in answer.incidents[:MOST]]
    more = len(answer.incidents) - len(rows)
    if more > 0:
        rows.append((f"and {more} more", "", "", "", ""))
    return Section(
        "findings",
        "Interference",
        ("Rule", "Severity", "Victim", "Finding", "Since"),
        tuple(rows),
        empty="Nothing is being disturbed.",
        note="Dry run: nothing is done about it." if answer.dry_run else "",
        link=Link("/interference", "Suspects, actions and what is over"),
        urgent=bool(rows),
    )


def _row(incident: IncidentJson, now: float) -> Row:
    return (
        incident.rule,
        Cell(incident.severity, _MOODS[incident.severity]),
        who(incident.subject),
        f"{incident.state}: {incident.finding.text}",
        lasted(incident, now),
    )
