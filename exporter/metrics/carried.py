"""What keys that are gone had counted, for as long as their row lives: so that it does not fall.

Several keys may make one row (all cgroups of a class). A row that falls without starting over at
zero is a counter that was reset to what is left, to Prometheus, which then counts that once more.
Knows keys and rows as names, not what they mean.
"""

from collections.abc import Container, Sequence
from operator import ge

Place = tuple[str | None, int]
"""A key's row (None: it has none) and slot."""
Columns = Sequence[Sequence[int]]


class Carried:
    """`totals`: by row, what is to be added to its keys' own numbers, column by column: for each
    input (list of numbers) one for each slot.

    A key that one read missed (reads are no snapshots) and the next one has again, with no less
    than it had, is not carried: what it had is taken back."""

    def __init__(self, slots: int) -> None:
        self.totals: dict[str, list[int]] = {}
        self._slots = slots
        self._keys: Sequence[bytes] = ()
        self._places: Sequence[Place] = ()
        self._inputs: Columns = ()
        self._gone: dict[bytes, tuple[Place, list[int]]] = {}

    def see(
        self, keys: Sequence[bytes], places: Sequence[Place], inputs: Columns, live: Container[str]
    ) -> None:
        """A read: each input has one number per key, in order; `live` are the rows that there
        are. Costs nothing while `keys` is the same object."""
        if keys is not self._keys:
            self._take_back(keys, inputs)
            self._take_over(frozenset(keys), live)
        self._keys, self._places, self._inputs = keys, places, inputs

    def _take_back(self, keys: Sequence[bytes], inputs: Columns) -> None:
        for index, key in enumerate(keys if self._gone else ()):
            if key not in self._gone:
                continue
            place, had = self._gone[key]
            if all(map(ge, (values[index] for values in inputs), had)):
                self._add(place, had, -1)

    def _take_over(self, present: frozenset[bytes], live: Container[str]) -> None:
        self.totals = {row: sums for row, sums in self.totals.items() if row in live}
        self._gone = {}
        for index, (key, place) in enumerate(zip(self._keys, self._places, strict=True)):
            if key not in present and place[0] in live:
                had = [values[index] for values in self._inputs]
                self._gone[key] = place, had
                self._add(place, had, 1)

    def _add(self, place: Place, had: Sequence[int], sign: int) -> None:
        row, slot = place
        if row is None:
            return
        sums = self.totals.setdefault(row, [0] * (len(had) * self._slots))
        for number, value in enumerate(had):
            sums[number * self._slots + slot] += sign * value
