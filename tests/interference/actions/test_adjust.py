import pytest

from exporter.actuator.protocol import Answer, Place, Set, Undo
from exporter.interference.actions.adjust import LEAST_BYTES, LEAST_CORES, Adjust, Used
from exporter.interference.actions.offline import Offline
from exporter.interference.model import ActionSpec, Step
from tests.interference.actions.incidents import RememberingActuator, incident

ROOT = "kubepods/besteffort"


def nobody_knows(path: str, resource: str) -> float | None:
    return None


def adjust(
    actuator: RememberingActuator,
    used: Used = nobody_knows,
    dry_run: bool = False,
    cores: float = 8.0,
) -> Adjust:
    return Adjust(Offline(actuator, dry_run), used, cores)


def cpu(amount: float | None = None, fraction: float | None = None) -> ActionSpec:
    return ActionSpec("adjust", steps=(Step("cpu", amount, fraction),))


def at(limit: float | None = None, now: float | None = None) -> RememberingActuator:
    return RememberingActuator(places=[Place(ROOT, 7, limit, now)])


@pytest.mark.parametrize(
    ("spec", "fires", "wanted"),
    [
        (cpu(amount=1.0), 3, [7.0, 6.0, 5.0]),
        (cpu(amount=3.0), 4, [5.0, 2.0, LEAST_CORES, LEAST_CORES]),
        (cpu(fraction=0.1), 3, [7.2, 6.48, 5.84]),  # 0.9, 0.81, 0.729 → 0.73
        (cpu(fraction=0.5), 2, [4.0, 2.0]),
        (cpu(fraction=1.0), 2, [LEAST_CORES, LEAST_CORES]),
    ],
)
def test_steps_are_taken_as_caelus_takes_them(
    spec: ActionSpec, fires: int, wanted: list[float]
) -> None:
    actuator = at()
    action = adjust(actuator)
    for _ in range(fires):
        assert action.fire(incident(), spec).result == "done"
    assert actuator.limits("cores") == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("take", "give", "wanted"),
    [
        (cpu(amount=1.0), cpu(amount=0.5), [7.0, 6.0, 6.5, 7.0, 7.5]),
        (cpu(amount=1.0), cpu(amount=1.0), [7.0, 6.0, 7.0]),
        (cpu(fraction=0.1), cpu(fraction=0.1), [7.2, 6.48, 7.2]),
    ],
)
def test_what_was_taken_is_given_back_in_steps_until_nothing_is_taken(
    take: ActionSpec, give: ActionSpec, wanted: list[float]
) -> None:
    actuator = at()
    action = adjust(actuator)
    action.fire(incident(), take)
    action.fire(incident(), take)
    while not isinstance(actuator.asked[-1], Undo):
        assert action.ease(incident(), give).result == "done"
    assert actuator.limits("cores") == pytest.approx(wanted)
    assert actuator.asked[-1] == Undo(run="run-1", knob="cpu_quota")
    assert action.ease(incident(), give).result == "nothing"


@pytest.mark.parametrize(
    ("limit", "used", "wanted"),
    [
        (None, None, 7.0),  # all of the machine's
        (4.0, None, 3.0),
        (None, 2.5, 1.5),  # a step from what is used is felt at once
        (4.0, 2.5, 1.5),
        (2.0, 2.5, 1.0),
        (None, 0.0, LEAST_CORES),
        (16.0, None, 7.0),
    ],
)
def test_the_allocation_is_what_was_allowed_or_used_when_it_began(
    limit: float | None, used: float | None, wanted: float
) -> None:
    actuator = at(limit)
    action = adjust(actuator, lambda path, resource: used)
    action.fire(incident(), cpu(amount=1.0))
    assert actuator.limits("cores") == [wanted]


def test_memory_is_taken_from_what_is_used() -> None:
    actuator = at(limit=None, now=4e9)
    spec = ActionSpec("adjust", steps=(Step("memory", 1e9, None),))
    action = adjust(actuator)
    for _ in range(5):
        action.fire(incident(), spec)
    assert actuator.limits("bytes") == [3e9, 2e9, 1e9, LEAST_BYTES, LEAST_BYTES]


def test_disk_io_is_a_share_of_what_was_read_and_written() -> None:
    actuator = at()
    spec = ActionSpec("adjust", steps=(Step("diskio", None, 0.5),))
    adjust(actuator, lambda path, resource: 8e6).fire(incident(), spec)
    assert actuator.limits("rbps") == actuator.limits("wbps") == [4e6]
    said = adjust(at()).fire(incident(), spec)
    assert (said.result, said.text) == (
        "refused",
        "diskio: what offline work uses is not known (yet)",
    )


def test_op_and_takes_all_at_once_and_loop_one_after_the_other() -> None:
    steps = (Step("cpu", 1.0, None), Step("memory", 1e9, None))
    for op, knobs in (
        ("and", ["cpu_quota", "memory_high"] * 3),
        ("loop", ["cpu_quota", "memory_high", "cpu_quota"]),
    ):
        actuator = at(now=4e9)
        action = adjust(actuator)
        for _ in range(3):
            action.fire(incident(), ActionSpec("adjust", op, steps))  # type: ignore[arg-type]
        assert [each.knob for each in actuator.asked if isinstance(each, Set)] == knobs


def test_loop_gives_back_what_was_taken_last_first() -> None:
    steps = (Step("cpu", 1.0, None), Step("memory", 1e9, None))
    spec = ActionSpec("adjust", "loop", steps)
    actuator = at(now=4e9)
    action = adjust(actuator)
    action.fire(incident(), spec)
    action.fire(incident(), spec)
    action.ease(incident(), spec)
    action.ease(incident(), spec)
    undone = [each.knob for each in actuator.asked if isinstance(each, Undo)]
    assert undone == ["memory_high", "cpu_quota"]


def test_each_of_two_rules_asks_for_its_own() -> None:
    """Which of them holds, the actuator decides (test_force: the strictest)."""
    actuator = at()
    action = adjust(actuator)
    action.fire(incident("a"), cpu(amount=1.0))
    action.fire(incident("b"), cpu(amount=3.0))
    action.fire(incident("a"), cpu(amount=1.0))
    sets = [each for each in actuator.asked if isinstance(each, Set)]
    assert [(each.run, each.limits["cores"]) for each in sets] == [("a", 7), ("b", 5), ("a", 6)]


def test_clear_takes_all_of_it_back_at_once() -> None:
    actuator = at()
    action = adjust(actuator)
    action.fire(incident(), cpu(amount=1.0))
    action.fire(incident(), cpu(amount=1.0))
    action.clear(incident(), cpu(amount=1.0))
    assert actuator.asked[-1] == Undo(run="run-1", knob="cpu_quota")
    action.fire(incident(), cpu(amount=1.0))
    assert actuator.limits("cores") == [7.0, 6.0, 7.0]


def test_a_dry_run_asks_dryly_and_undoes_nothing() -> None:
    actuator = at()
    action = adjust(actuator, dry_run=True)
    said = action.fire(incident(), cpu(amount=1.0))
    assert (said.result, said.text[:9]) == ("dry_run", "would set")
    action.clear(incident(), cpu(amount=1.0))
    assert all(each.dry for each in actuator.asked if isinstance(each, Set))
    assert not any(isinstance(each, Undo) for each in actuator.asked)


@pytest.mark.parametrize("resource", ["netio", "slo", ""])
def test_what_cannot_be_adjusted_is_refused_by_name(resource: str) -> None:
    said = adjust(at()).fire(incident(), ActionSpec("adjust", steps=(Step(resource, 1.0, None),)))
    assert said.result == "refused"
    assert said.text == (
        f"resource {resource!r}: cannot be adjusted here, want one of cpu, memory, diskio"
    )


def test_an_actuator_that_is_gone_is_an_outcome() -> None:
    gone = RememberingActuator(lambda request: Answer(0, failed=True, refused="is not running"))
    said = adjust(gone).fire(incident(), cpu(amount=1.0))
    assert (said.result, said.text) == ("failed", "is not running")
