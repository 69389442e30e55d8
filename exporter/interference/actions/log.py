"""log: one line in the log at the begin and at the end of an incident, with its numbers.

Changes nothing, so it is done in a dry run too.
"""

import logging

from exporter.interference.model import ActionSpec, Incident, Outcome

log = logging.getLogger(__name__)
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}


class Log:
    """An Action."""

    def fire(self, incident: Incident, spec: ActionSpec) -> Outcome:
        return self._say(incident, "firing", _LEVELS[incident.severity])

    def ease(self, incident: Incident, spec: ActionSpec) -> Outcome:
        return Outcome("log", "nothing", "is said at the begin and at the end")

    def clear(self, incident: Incident, spec: ActionSpec) -> Outcome:
        return self._say(incident, "over", logging.INFO)

    def _say(self, incident: Incident, state: str, level: int) -> Outcome:
        text = line_of(incident)
        fields = {"run": incident.run, "rule": incident.rule, "state": state}
        log.log(level, "interference %s: %s", state, text, extra=fields)
        return Outcome("log", "done", text)


def line_of(incident: Incident) -> str:
    """Whom it hurts, how much, and who is suspected, in one line."""
    subject = incident.subject
    whom = subject.pod or subject.name or "the node"
    text = f"{incident.rule} on {whom}: {incident.finding.text}"
    if incident.suspects:
        first = incident.suspects[0]
        text += f"; first suspect {first.subject.pod or first.subject.name} ({first.evidence})"
    return text
