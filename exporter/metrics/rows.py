"""From map keys to lines: which row a key belongs to, kept from scrape to scrape.

The rule: a key is decoded once while it lives, and stays in its row while it lives. Label sets
that decode alike share a row; rows over the limit share the row "other". Knows nothing of where
keys come from: they are bytes, and a function puts them into words.
"""

from collections.abc import Callable, Sequence
from operator import lt
from struct import unpack
from typing import NamedTuple

from exporter.errors import DecodeError, SkipRow
from exporter.metrics.carried import Carried
from exporter.metrics.table import Lines, Shape

OTHER = "other"

# Keys whose words may still change that one read asks about again, in turn: a map full of them
# must not make every scrape as dear as the first.
_AGAIN_PER_READ = 256


class Words(NamedTuple):
    """What a decoded key says. `slot`: 0 where the map's value holds all of a row's numbers, else
    which of them this key's value is. `final`: False where a later try may read better."""

    values: Sequence[str]
    slot: int = 0
    final: bool = True


class Place(NamedTuple):
    """Where a key's number goes: the row that `ident` names (None: left out), and its slot."""

    ident: str | None
    slot: int


_OUT = Place(None, 0)


class Rows:
    """The rows of one family.

    `decode` puts a key into words, or raises SkipRow to leave it out, DecodeError to have it
    counted too. `limit` is how many label sets get a row of their own: later ones are summed into
    one more row whose every label is "other". Which those are does not change while their keys
    live, however many rows become free. `monotone`: the numbers are counters, so a row must not
    fall when one of its keys is gone.

    `failures` counts undecodable keys, each once while it lives. These, and those whose words are
    not final, are asked about again at later reads. `last_failure` is the latest reason, or None.
    """

    def __init__(
        self,
        shape: Shape,
        decode: Callable[[bytes], Words],
        *,
        slots: int,
        limit: int,
        monotone: bool,
    ) -> None:
        self.failures = 0
        self.last_failure: str | None = None
        self._shape = shape
        self._decode = decode
        self._slots = slots
        self._limit = limit
        self._monotone = monotone
        self._other = shape.lines([OTHER] * len(shape.labels))
        self._packed: bytes | None = None
        self._places: dict[bytes, Place] = {}
        self._lines_of: dict[str, tuple[str, ...]] = {}
        self._live: set[str] = set()
        self._failed: set[bytes] = set()
        self._again: dict[bytes, None] = {}  # in turn
        self._cells: list[int] | None = None  # None: one key, one row, in order
        self.lines = Lines([])
        """`shape.width` lines per row, "other" last. The same object while rows stay the same."""
        self._row_of: dict[str, int] = {}  # without "other"
        self._order: tuple[Sequence[bytes], Sequence[Place]] = ((), ())
        self._carried = Carried(slots)
        self._folding: list[tuple[list[bytes], list[int]]] = [([], [])] * slots
        self._folded: list[_Folded] = []
        self._has_other = False

    @property
    def cached(self) -> int:
        """How many keys are held in words: never more than the map had at the last read."""
        return len(self._places)

    def row_of(self, key: bytes) -> str | None:
        """The row that a key of the last `see` is a part of; None where it is left out, or
        summed into "other"."""
        place = self._places.get(key, _OUT)
        return None if place.ident == self._other[0] and self._shape.labels else place.ident

    @property
    def folded(self) -> int:
        """How many keys are summed into "other" now."""
        return sum(len(indices) for _, indices in self._folding)

    def see(self, packed: bytes, size: int, suffixes: Sequence[bytes] = ()) -> None:
        """These are the keys now, packed, `size` bytes each; numbers will come in their order.

        With `suffixes` every key stands for several: itself with each suffix. Words of keys that
        are gone are forgotten. Costs nothing where the keys are those of the last time.
        """
        moved = self._ask_again() if self._again else False
        if packed == self._packed and not moved:
            return
        keys: Sequence[bytes] = unpack(f"{size}s" * (len(packed) // size), packed)
        if suffixes:
            keys = [key + suffix for key in keys for suffix in suffixes]
        known = list(map(self._places.get, keys))
        idents = {place.ident for place in known if place is not None}
        self._live = {ident for ident in idents if ident is not None and ident != self._other[0]}
        places = [
            self._place(key) if place is None else place
            for key, place in zip(keys, known, strict=True)
        ]
        self._places = dict(zip(keys, places, strict=True))
        self._failed &= self._places.keys()
        self._again = {key: None for key in self._again if key in self._places}
        self._arrange(keys, places)
        self._packed = packed

    def _ask_again(self) -> bool:
        """Tries some of the keys whose words were not final; True where one found another row."""
        moved = False
        for key in list(self._again)[:_AGAIN_PER_READ]:
            del self._again[key]
            before = self._places[key]
            if before.ident == self._other[0]:
                continue  # what is in "other" stays there
            if before.ident is not None:
                self._live.discard(before.ident)  # its own row is no reason to have none
            after = self._place(key)
            self._places[key] = after
            moved = moved or after != before
        return moved

    def _place(self, key: bytes) -> Place:
        try:
            values, slot, final = self._decode(key)
        except SkipRow:
            return _OUT
        except Exception as error:  # a decoder's bug too costs one row, not the metric
            self._again[key] = None
            if key not in self._failed:
                self._failed.add(key)
                self.failures += 1
                why = str(error) if isinstance(error, DecodeError) else repr(error)
                self.last_failure = f"key {key.hex()}: {why}"
            return _OUT
        self._failed.discard(key)
        if not final:
            self._again[key] = None
        lines = self._shape.lines(values)
        ident = lines[0]
        if ident not in self._live:
            if values and (ident == self._other[0] or len(self._live) >= self._limit):
                return Place(self._other[0], slot)
            self._live.add(ident)
        if len(lines) > 1:
            self._lines_of[ident] = lines
        return Place(ident, slot)

    def _arrange(self, keys: Sequence[bytes], places: Sequence[Place]) -> None:
        slots, other = self._slots, self._other[0] if self._shape.labels else None
        order = dict.fromkeys(place.ident for place in places)
        self._folding = [([], []) for _ in range(slots)]
        if slots == 1 and len(order) == len(places) and None not in order and other not in order:
            self._cells = None
        else:
            folds = other in order
            order.pop(None, None)
            order.pop(other, None)
            start = {ident: row * slots for row, ident in enumerate(order)}
            nowhere = len(start) * slots
            self._cells = [
                nowhere if at is None else at + place.slot
                for place in places
                for at in (start.get(place.ident),)
            ]
            if folds and other is not None:
                self._has_other = True
                for index, place in enumerate(places):
                    if place.ident == other:
                        self._folding[place.slot][0].append(keys[index])
                        self._folding[place.slot][1].append(index)
        if self._has_other and not self._monotone:
            self._has_other = self.folded > 0
        idents = [ident for ident in order if ident is not None]
        self._row_of = {ident: row for row, ident in enumerate(idents)}
        self._order = keys, places
        if self._shape.width == 1:
            own = idents
        else:
            self._lines_of = {ident: self._lines_of[ident] for ident in idents}
            own = [line for lines in self._lines_of.values() for line in lines]
        if self._has_other:
            own += self._other
        if own != self.lines.beginnings:
            self.lines = Lines(own)

    def spread(self, inputs: Sequence[Sequence[int]]) -> list[list[int]]:
        """Numbers per key (one list; several where one value holds several numbers and `slots`
        is 1) → numbers per row: one list per input, or per slot. "other" comes last."""
        columns: list[list[int]] = []
        for values in inputs:
            if self._cells is None:
                columns.append(list(values))
                continue
            flat = [0] * (len(self._row_of) * self._slots + 1)
            for cell, value in zip(self._cells, values, strict=True):
                flat[cell] += value
            columns += [flat[slot : -1 : self._slots] for slot in range(self._slots)]
        if self._monotone:
            self._carried.see(*self._order, inputs, self._row_of)
            for ident, totals in self._carried.totals.items():
                for column, total in zip(columns, totals, strict=True):
                    column[self._row_of[ident]] += total
        if self._has_other:
            while len(self._folded) < len(columns):
                self._folded.append(_Folded(self._monotone))
            pairs = [
                (values, self._folding[slot]) for values in inputs for slot in range(self._slots)
            ]
            for column, folded, (values, (keys, indices)) in zip(
                columns, self._folded, pairs, strict=True
            ):
                column.append(folded.add(keys, [values[index] for index in indices]))
        return columns


class _Folded:
    """The sum of many keys' counters that never falls: what a key had stays in it when the key
    is gone, and a key that starts over adds what it has from then on. A key that one read missed
    (reads are no snapshots) and the next one has again is not added twice."""

    def __init__(self, monotone: bool) -> None:
        self._monotone = monotone
        self._total = 0
        self._keys: list[bytes] = []
        self._last: list[int] = []
        self._gone: dict[bytes, int] = {}

    def add(self, keys: list[bytes], values: list[int]) -> int:
        if not self._monotone:
            return sum(values)
        if keys is self._keys and not any(map(lt, values, self._last)):
            self._total += sum(values) - sum(self._last)
        else:
            last = dict(zip(self._keys, self._last, strict=True))
            known = {**self._gone, **last}
            for key, value in zip(keys, values, strict=True):
                before = known.get(key, 0)
                self._total += value - before if value >= before else value
            present = set(keys)
            self._gone = {key: value for key, value in last.items() if key not in present}
        self._keys, self._last = keys, values
        return self._total
