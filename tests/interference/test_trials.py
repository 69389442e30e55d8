"""Verdicts put to the test: whose turn it is, and what is said of whom."""

from exporter.actuator.protocol import Answer, AnyRequest, Set
from exporter.interference.actions.confirm import Confirm
from exporter.interference.actions.offline import Offline
from exporter.interference.model import ActionSpec, Incident, Subject
from exporter.interference.trials import Trials
from tests.interference.actions.incidents import RememberingActuator, incident, suspect
from tests.interference.windows import NOW, TableView

PREEMPT = ActionSpec("preempt")


def of(run: str) -> Incident:
    batch = Subject("container", f"/kubepods/besteffort/pod{run}", "", run, "offline")
    return incident(run, suspect(batch))


def view(subject: Subject) -> TableView:
    return TableView({}, subject)


def test_one_that_cannot_be_tried_keeps_the_next_from_nothing_and_answers_for_itself_only() -> None:
    def answer(request: AnyRequest) -> Answer | None:
        refused = isinstance(request, Set) and request.target and request.target.uid == "b"
        return Answer(0, refused="is no offline cgroup") if refused else None

    actuator = RememberingActuator(answer)
    trials = Trials(Confirm(Offline(actuator, dry_run=False), enabled=True))
    begun, *waiting = (trials.now(of(run), (PREEMPT,), NOW)[1][0] for run in "abc")
    assert begun.result == "done"
    assert {each.text for each in waiting} == {"waits until run a is confirmed or not"}
    assert len(trials.go_on(view, NOW + 1, standing="bcd")) == 1  # a is over
    tried = [each.target.uid for each in actuator.asked if getattr(each, "target", None)]
    assert tried == ["a", "b", "c"]
    (said,) = trials.now(of("d"), (PREEMPT,), NOW + 2)[1]
    assert said.text == "waits until run c is confirmed or not"
