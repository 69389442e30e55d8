"""Objects kept by name and told apart by uid, whatever an answer says of them; and waits."""

from typing import Any

import pytest

from exporter.kube.api import Event, Object
from exporter.kube.backoff import Backoff
from exporter.kube.cache import Cache, Change


def thing(name: str, uid: str, value: int | None, namespace: str = "n") -> Object:
    meta = {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": "7"}
    return {"metadata": meta, "value": value}


def cache(*objects: Object) -> Cache[int]:
    made: Cache[int] = Cache(lambda found: found["value"])
    made.begin_list()
    list(made.listed(objects))
    list(made.end_list("5"))
    return made


A = ("n", "a")


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (Event("MODIFIED", thing("a", "u", 1)), []),
        (Event("MODIFIED", thing("a", "u", 2)), [Change("modified", A, 1, 2)]),
        (Event("ADDED", thing("a", "u", 2)), [Change("modified", A, 1, 2)]),
        (
            Event("ADDED", thing("a", "v", 1)),
            [Change("deleted", A, 1, None), Change("added", A, None, 1)],
        ),
        (Event("MODIFIED", thing("a", "u", None)), [Change("deleted", A, 1, None)]),
        (Event("DELETED", thing("a", "u", 9)), [Change("deleted", A, 1, None)]),
        (Event("DELETED", thing("b", "u", 1)), []),
        (Event("ADDED", thing("a", "u", 3, "m")), [Change("added", ("m", "a"), None, 3)]),
        (Event("BOOKMARK", {"metadata": {"resourceVersion": "7"}}), []),
    ],
)
def test_an_event_is_what_it_changes(event: Event, told: list[Change[int]]) -> None:
    kept = cache(thing("a", "u", 1))
    assert list(kept.watched(event)) == told
    assert kept.version == "7"


@pytest.mark.parametrize("found", [{}, {"metadata": None}, {"metadata": []}, {"metadata": {}}])
def test_an_object_without_a_name_is_counted_and_nothing_else(found: Any) -> None:
    kept = cache(thing("a", "u", 1))
    assert list(kept.watched(Event("MODIFIED", found))) == []
    assert (kept.version, kept.unreadable, len(kept)) == ("5", 1, 1)
    assert kept.problem == "an object without a name: KeyError: 'value'"


def test_what_a_list_has_no_more_is_known_until_its_end() -> None:
    kept = cache(thing("a", "u", 1), thing("b", "w", 1))
    kept.begin_list()
    assert list(kept.listed([thing("b", "w", 2)])) == [Change("modified", ("n", "b"), 1, 2)]
    assert sorted(kept.values()) == [1, 2]
    kept.begin_list()  # the first was not finished
    list(kept.listed([thing("b", "w", 2)]))
    assert list(kept.end_list("9")) == [Change("deleted", A, 1, None)]
    assert (kept.version, list(kept.values())) == ("9", [2])


@pytest.mark.parametrize(
    ("dice", "waits"),
    [(0.0, [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]), (1.0, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0])],
)
def test_waits_double_between_half_and_the_whole(dice: float, waits: list[float]) -> None:
    backoff = Backoff(dice=lambda: dice)
    assert [backoff.failed() for _ in waits] == waits
    backoff.succeeded()
    assert backoff.failed() == waits[0]


def test_a_wait_is_never_less_than_the_api_asks_and_never_overflows() -> None:
    backoff = Backoff(dice=lambda: 0.0)
    assert backoff.failed(retry_after=100.0) == 100.0
    assert [backoff.failed() for _ in range(5000)][-1] == 15.0
