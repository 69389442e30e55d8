"""For counters of the whole machine: what others do only ever adds to what a test does.

So the least of several rounds is the test's own, and may be compared exactly.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def least(
    read: Callable[[], Mapping[Key, int]],
    work: Callable[[], object],
    rounds: int = 15,
    prepare: Callable[[], object] = lambda: None,
) -> dict[Key, int]:
    """By how much each number goes up while `work` is done, in its quietest round. `prepare`
    goes before each round and does not count."""
    found: dict[Key, int] = {}
    for _ in range(rounds):
        prepare()
        before = read()
        work()
        for key, value in read().items():
            rise = value - before.get(key, 0)
            found[key] = min(rise, found.get(key, rise))
    return found
