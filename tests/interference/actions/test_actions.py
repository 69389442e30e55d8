import logging

import pytest

from exporter.actuator.protocol import Answer, Change, Set, Target, Undo
from exporter.interference.actions import make_actions
from exporter.interference.actions.confirm import Confirm
from exporter.interference.actions.evict import Evict, Evictions
from exporter.interference.actions.log import Log
from exporter.interference.actions.offline import Offline
from exporter.interference.actions.preempt import Preempt
from exporter.interference.actions.schedule import Schedule, ScheduleFlag
from exporter.interference.actions.throttle_io import ThrottleIo
from exporter.interference.model import ActionSpec, Subject
from exporter.testing import FakeClock
from tests.interference.actions.incidents import (
    BATCH,
    UID,
    VICTIM,
    RememberingActuator,
    incident,
    suspect,
)

PREEMPT = ActionSpec("preempt")
IO = ActionSpec("io", limits=(("rbps", 1e6),))
EVICT = ActionSpec("evict")


def test_preempt_asks_for_every_offline_cgroup_and_for_pods_elsewhere() -> None:
    actuator = RememberingActuator()
    elsewhere = Subject("container", "/kubepods/burstable/podx", "a/b", "x", "offline")
    action = Preempt(Offline(actuator, False, lambda: (elsewhere,)))
    assert action.fire(incident(), PREEMPT).text.startswith("cpu:/kubepods/besteffort/cpu.idle 0 →")
    assert [each.target for each in actuator.asked] == [
        None,
        Target("kubepods/burstable/podx", "x"),
    ]
    assert action.ease(incident(), PREEMPT).result == "nothing"
    action.clear(incident(), PREEMPT)
    assert actuator.asked[-1] == Undo(run="run-1", knob="preempt")


def test_one_target_that_is_not_there_does_not_keep_the_others_from_being_done() -> None:
    def answer(request: object) -> Answer | None:
        missing = isinstance(request, Set) and request.target is None
        return Answer(0, refused="none of the offline cgroups is there") if missing else None

    elsewhere = Subject("container", "/kubepods/burstable/podx", "a/b", "x", "offline")
    said = Preempt(Offline(RememberingActuator(answer), False, lambda: (elsewhere,))).fire(
        incident(), PREEMPT
    )
    assert said.result == "done"
    assert said.text.endswith("; none of the offline cgroups is there")


def test_io_limits_the_first_offline_suspect_or_all_where_there_is_none() -> None:
    actuator = RememberingActuator()
    action = ThrottleIo(Offline(actuator, False))
    online = suspect(VICTIM, 0.99)
    action.fire(incident("run-1", online, suspect()), IO)
    action.fire(incident("run-2", online), IO)
    path = f"kubepods/besteffort/pod{UID}"
    assert [each.target for each in actuator.asked] == [Target(path, UID), None]
    assert actuator.limits("rbps") == [1e6, 1e6]


@pytest.mark.parametrize("limits", [(), (("speed", 1.0),)])
def test_io_without_a_limit_that_exists_is_refused(limits: tuple[tuple[str, float], ...]) -> None:
    said = ThrottleIo(Offline(RememberingActuator(), False)).fire(
        incident(), ActionSpec("io", limits=limits)
    )
    assert said.result == "refused"
    assert said.text.endswith("want some of rbps, riops, wbps, wiops")


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (Answer(0), "nothing"),
        (Answer(0, refused="not offline work"), "refused"),
        (Answer(0, refused="EBUSY", failed=True), "failed"),
        (Answer(0, changes=(Change("f", "0", "1"),)), "done"),
    ],
)
def test_every_answer_is_an_outcome(answer: Answer, result: str) -> None:
    actuator = RememberingActuator(lambda request: answer)
    assert Preempt(Offline(actuator, False)).fire(incident(), PREEMPT).result == result


def test_schedule_is_asked_for_as_long_as_one_incident_wants_it() -> None:
    flag = ScheduleFlag()
    action, spec = Schedule(flag, dry_run=False), ActionSpec("schedule")
    results = [action.fire(incident(run), spec).result for run in ("a", "a", "b")]
    assert results == ["done", "nothing", "done"]
    assert flag.reasons()["a"] == "cpu: cpu pressure 40 %, limit 10 %"
    results, states = [], []
    for run in ("a", "b", "b"):
        results.append(action.clear(incident(run), spec).result)
        states.append(flag.wanted)
    assert results == ["done", "done", "nothing"]
    assert states == [True, False, False]


def test_evict_asks_for_one_pod_per_cooldown_with_its_uid() -> None:
    clock = FakeClock()
    evictions = Evictions(clock)
    action = Evict(evictions, clock, dry_run=False, cooldown=300, grace=30)
    first = action.fire(incident("a", suspect()), EVICT)
    assert (
        first.text == f"asks the labeller for eviction of batch/sort-1 ({UID}) with 30 s of grace"
    )
    assert action.fire(incident("b", suspect()), EVICT).text.endswith("the next may be in 300 s")
    (request,) = evictions.requests()
    assert request[1:5] == ("batch", "sort-1", UID, 30)
    clock.advance(301)
    assert evictions.requests() == []  # nobody took it: what holds now is another matter
    assert action.fire(incident("b", suspect()), EVICT).result == "done"
    assert action.clear(incident("b"), EVICT).result == "done"
    assert evictions.requests() == []


@pytest.mark.parametrize(
    ("subject", "result"),
    [
        (BATCH._replace(pod="kube-system/dns"), "refused"),
        (BATCH._replace(work="online"), "nothing"),
        (BATCH._replace(work=None), "nothing"),
        (BATCH._replace(pod=""), "refused"),
        (BATCH._replace(uid=""), "refused"),
        (BATCH, "done"),
    ],
)
def test_evict_never_touches_kube_system_nor_what_is_not_known_to_be_offline(
    subject: Subject, result: str
) -> None:
    evictions = Evictions(FakeClock())
    action = Evict(evictions, FakeClock(), dry_run=False)
    assert action.fire(incident("a", suspect(subject)), EVICT).result == result
    assert bool(evictions.requests()) == (result == "done")


def test_confirm_throttles_one_suspect_for_seconds_and_takes_it_back() -> None:
    actuator = RememberingActuator()
    confirm = Confirm(Offline(actuator, False), enabled=True, seconds=4)
    assert confirm.begin(incident("a", suspect())).result == "done"
    assert confirm.begin(incident("b", suspect())).text == "run a is being confirmed"
    (asked,) = actuator.asked
    assert (asked.knob, asked.limits, asked.seconds) == ("cpu_quota", {"cores": 0.1}, 4)
    assert confirm.end(incident("b")).result == "nothing"
    confirm.end(incident("a"))
    assert actuator.asked[-1] == Undo(run="a/confirm")
    assert confirm.begin(incident("b")).text == "no offline cgroup is suspected"


@pytest.mark.parametrize(("dry_run", "enabled"), [(True, True), (False, False)])
def test_confirm_is_off_in_a_dry_run_and_by_default(dry_run: bool, enabled: bool) -> None:
    actuator = RememberingActuator()
    confirm = Confirm(Offline(actuator, dry_run), enabled)
    assert confirm.begin(incident("a", suspect())).result == "nothing"
    assert actuator.asked == []


def test_log_says_rule_victim_numbers_and_suspect(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Log().fire(incident("a", suspect()), ActionSpec("log"))
        Log().clear(incident("a", suspect()), ActionSpec("log"))
    text = "cpu on shop/web-0: cpu pressure 40 %, limit 10 %; first suspect batch/sort-1 (score 0.9"
    assert [text in record.getMessage() for record in caplog.records] == [True, True]
    assert [vars(record)["run"] for record in caplog.records] == ["a", "a"]


def test_without_being_told_otherwise_no_action_changes_anything() -> None:
    actuator = RememberingActuator()
    actions = make_actions(actuator, FakeClock())
    specs = {"io": IO, "webhook": ActionSpec("webhook", url="http://127.0.0.1:9/")}
    for kind, action in actions.table.items():
        spec = specs.get(kind, ActionSpec(kind))
        for said in (
            action.fire(incident("a", suspect()), spec),
            action.ease(incident("a", suspect()), spec),
            action.clear(incident("a", suspect()), spec),
        ):
            assert said.result != "done" or kind == "log"
            assert "\n" not in said.text
    actions.close()
    assert all(getattr(request, "dry", True) for request in actuator.asked)
    assert not any(isinstance(request, Undo) for request in actuator.asked)
    assert not actions.schedule.wanted
    assert actions.evictions.requests() == []
    assert actions.webhook.counts() == {}
