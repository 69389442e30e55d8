"""One entry of a rule asked of one subject, three-valued.

The rule: pure. What cannot be told for want of readings is None, and unknown only where the answer
depends on it. Raises whatever a detector raises but NoData.
"""

from typing import Literal, TypeAlias

from exporter.errors import NoData
from exporter.interference.model import Detector, Entry, Finding, View

Answer: TypeAlias = Finding | Literal[False] | None
"""A Finding where it holds, False where not, None where that cannot be told."""


def ask(entry: Entry, view: View) -> Answer:
    """Whether one of any_of and every one of all_of holds. The finding is any_of's first, since
    the latest of them, in the words of all."""
    if not entry.all_of and len(entry.any_of) == 1:
        return _evaluate(entry.any_of[0], view)
    found: list[Finding] = []
    unknown = False
    for detector in entry.all_of:
        answer = _evaluate(detector, view)
        if answer is False:
            return False
        if answer is None:
            unknown = True
        else:
            found.append(answer)
    if entry.any_of:
        one = _one_of(entry.any_of, view)
        if one is False:
            return False
        if one is None:
            unknown = True
        else:
            found.insert(0, one)
    if unknown or not found:
        return None
    if len(found) == 1:
        return found[0]
    text = " and ".join(finding.text for finding in found)
    return found[0]._replace(since=max(finding.since for finding in found), text=text)


def _one_of(detectors: tuple[Detector, ...], view: View) -> Answer:
    missing = False
    for detector in detectors:
        answer = _evaluate(detector, view)
        if answer:
            return answer
        missing = missing or answer is None
    return None if missing else False


def _evaluate(detector: Detector, view: View) -> Answer:
    try:
        return detector.evaluate(view) or False
    except NoData:
        return None
