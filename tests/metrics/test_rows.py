from collections.abc import Sequence

import pytest

from exporter.errors import DecodeError, SkipRow
from exporter.metrics.rows import Rows, Words
from exporter.metrics.table import Shape

SHAPE = Shape("counter", "c_total", "", ["name"])


def decode(key: bytes) -> Words:
    """Lower case is the name, upper case is a filter's work, digits are broken."""
    text = key.decode()
    if text.isdigit():
        raise DecodeError(f"no name for {text}")
    if text.isupper():
        raise SkipRow
    return Words((text.strip("_"),))


class Table:
    """Rows as a reader sees them: label → number."""

    def __init__(self, limit: int = 100, monotone: bool = True) -> None:
        self.decoded: list[bytes] = []
        self.rows = Rows(SHAPE, self._decode, slots=1, limit=limit, monotone=monotone)

    def _decode(self, key: bytes) -> Words:
        self.decoded.append(key)
        return decode(key)

    def read(self, **numbers: int) -> dict[str, int]:
        self.rows.see(b"".join(key.encode() for key in numbers), 2)
        (column,) = self.rows.spread([list(numbers.values())])
        labels = [line.partition('"')[2].partition('"')[0] for line in self.rows.lines.beginnings]
        assert len(set(labels)) == len(labels)
        return dict(zip(labels, column, strict=True))


def test_each_key_has_its_row_in_the_order_of_reading() -> None:
    assert list(Table().read(bb=1, aa=2).items()) == [("bb", 1), ("aa", 2)]


def test_keys_that_decode_alike_are_summed() -> None:
    table = Table()
    assert table.read(a_=1, bb=2, _a=4) == {"a": 5, "bb": 2}
    assert table.read(_a=4, bb=2, a_=2) == {"a": 6, "bb": 2}


def test_a_row_does_not_fall_when_one_of_its_keys_is_gone() -> None:
    table = Table()
    assert table.read(a_=100, bb=2, _a=4) == {"a": 104, "bb": 2}
    assert table.read(bb=2, _a=5) == {"bb": 2, "a": 105}
    assert table.read(bb=2, _a=6) == {"bb": 2, "a": 106}
    # one key is left, in a table where every key has its own row
    assert table.read(_a=7) == {"a": 107}
    assert table.read(_a=8, a_=3) == {"a": 111}


def test_a_row_whose_keys_are_all_gone_starts_over() -> None:
    table = Table()
    table.read(a_=100, _a=4)
    assert table.read(_a=4) == {"a": 104}
    assert table.read(bb=1) == {"bb": 1}
    assert table.read(bb=1, _a=1) == {"bb": 1, "a": 1}


def test_a_key_that_one_read_missed_is_not_added_to_its_row_twice() -> None:
    table = Table()
    assert table.read(a_=100, _a=4) == {"a": 104}
    assert table.read(_a=4) == {"a": 104}
    assert table.read(a_=101, _a=4) == {"a": 105}
    # but one that starts over is
    assert table.read(_a=4) == {"a": 105}
    assert table.read(a_=1, _a=4) == {"a": 106}


def test_a_row_of_gauges_is_what_is_there_now() -> None:
    table = Table(monotone=False)
    assert table.read(a_=100, _a=4) == {"a": 104}
    assert table.read(_a=4) == {"a": 4}


def test_every_column_of_a_row_keeps_what_its_keys_had() -> None:
    rows = Rows(SHAPE, decode, slots=1, limit=100, monotone=True)
    rows.see(b"a__abb", 2)
    assert rows.spread([[1, 2, 3], [10, 20, 30]]) == [[3, 3], [30, 30]]
    rows.see(b"_abb", 2)
    assert rows.spread([[2, 3], [20, 30]]) == [[3, 3], [30, 30]]


def test_every_slot_of_a_row_keeps_what_its_keys_had() -> None:
    def slotted(key: bytes) -> Words:
        return Words((key.decode()[0],), int(key[1:]))

    rows = Rows(SHAPE, slotted, slots=3, limit=100, monotone=True)
    rows.see(b"a0a2b1", 2)
    assert rows.spread([[5, 7, 9]]) == [[5, 0], [0, 9], [7, 0]]
    rows.see(b"a0b1", 2)
    assert rows.spread([[6, 9]]) == [[6, 0], [0, 9], [7, 0]]


def test_a_key_is_decoded_once_while_it_lives_and_forgotten_with_it() -> None:
    table = Table()
    for _ in range(3):
        table.read(aa=1, bb=2)
    assert table.decoded == [b"aa", b"bb"]
    table.read(bb=2)
    assert table.rows.cached == 1
    table.read(aa=1, bb=2)
    assert table.decoded == [b"aa", b"bb", b"aa"]


def test_the_lines_are_the_same_object_while_no_row_comes_or_goes() -> None:
    table = Table()
    table.read(aa=1, bb=2)
    lines = table.rows.lines
    table.read(aa=9, bb=9)
    assert table.rows.lines is lines


def test_a_filtered_key_is_left_out_and_not_counted() -> None:
    table = Table()
    assert table.read(AA=1, bb=2) == {"bb": 2}
    assert table.rows.failures == 0


def test_an_undecodable_key_is_left_out_and_counted_once_while_it_lives() -> None:
    table = Table()
    for _ in range(3):
        assert table.read(**{"12": 5, "aa": 1}) == {"aa": 1}
    table.read(**{"12": 5, "aa": 1, "bb": 1})
    assert table.rows.failures == 1
    assert table.rows.last_failure == "key 3132: no name for 12"
    table.read(aa=1)
    table.read(**{"12": 5})
    assert table.rows.failures == 2


def test_a_decoder_with_a_bug_costs_the_rows_that_it_fails_on() -> None:
    def buggy(key: bytes) -> Words:
        return Words(({b"aa": "fine"}[key],))

    rows = Rows(SHAPE, buggy, slots=1, limit=9, monotone=True)
    rows.see(b"aabb", 2)
    assert rows.spread([[1, 2]]) == [[1]]
    assert rows.last_failure == "key 6262: KeyError(b'bb')"


def test_a_key_that_could_not_be_decoded_comes_back_when_it_can() -> None:
    known: dict[bytes, str] = {}

    def lookup(key: bytes) -> Words:
        if key not in known:
            raise DecodeError("not yet")
        return Words((known[key],))

    rows = Rows(SHAPE, lookup, slots=1, limit=9, monotone=True)
    rows.see(b"aa", 2)
    assert rows.spread([[7]]) == [[]]
    known[b"aa"] = "here"
    rows.see(b"aa", 2)
    assert rows.spread([[7]]) == [[7]]
    assert rows.failures == 1


def test_words_that_are_not_final_are_asked_for_again_and_final_ones_are_not() -> None:
    asked: list[bytes] = []
    known: set[bytes] = {b"aa"}

    def lookup(key: bytes) -> Words:
        asked.append(key)
        return Words((key.decode(),)) if key in known else Words(("unknown",), final=False)

    rows = Rows(SHAPE, lookup, slots=1, limit=9, monotone=True)
    rows.see(b"aabb", 2)
    assert [line.strip() for line in rows.lines.beginnings] == [
        'c_total{name="aa"}',
        'c_total{name="unknown"}',
    ]
    known.add(b"bb")
    for _ in range(3):
        rows.see(b"aabb", 2)
    assert rows.lines.beginnings[1].strip() == 'c_total{name="bb"}'
    assert asked == [b"aa", b"bb", b"bb"]


def test_only_some_of_many_open_words_are_asked_for_at_one_read_and_all_in_turn() -> None:
    asked: list[bytes] = []

    def lookup(key: bytes) -> Words:
        asked.append(key)
        return Words((key.hex(),), final=False)

    rows = Rows(SHAPE, lookup, slots=1, limit=10_000, monotone=True)
    packed = b"".join(number.to_bytes(2, "big") for number in range(1000))
    rows.see(packed, 2)
    asked.clear()
    for read in range(1, 5):
        rows.see(packed, 2)
        assert len(set(asked)) == len(asked) == min(1000, 256 * read) or read == 4
    assert len(set(asked)) == 1000


def test_label_sets_over_the_limit_are_summed_into_other() -> None:
    table = Table(limit=2)
    assert table.read(aa=1, bb=2, cc=4, dd=8) == {"aa": 1, "bb": 2, "other": 12}
    assert table.rows.folded == 2


def test_a_key_that_reads_as_other_is_in_that_row() -> None:
    def decode_(key: bytes) -> Words:
        return Words(("other",) if key == b"oo" else (key.decode(),))

    rows = Rows(SHAPE, decode_, slots=1, limit=1, monotone=True)
    rows.see(b"aaoobb", 2)
    assert rows.spread([[1, 2, 4]]) == [[1, 6]]


def test_rows_keep_their_keys_and_other_keeps_its_own_whoever_comes_or_goes() -> None:
    table = Table(limit=2)
    table.read(aa=1, bb=2, cc=4)
    # In another order, with newcomers first: nobody changes place.
    assert table.read(dd=8, cc=4, bb=2, aa=1) == {"bb": 2, "aa": 1, "other": 12}
    # A row is free now: cc and dd stay in "other", a new key may have it.
    assert table.read(cc=4, dd=8, aa=1) == {"aa": 1, "other": 12}
    assert table.read(cc=4, dd=8, aa=1, ee=16) == {"aa": 1, "ee": 16, "other": 12}


def test_other_never_falls_when_keys_in_it_are_gone_or_start_over() -> None:
    table = Table(limit=1)
    seen: list[int] = []
    for numbers in (
        {"aa": 1, "bb": 10, "cc": 5},
        {"aa": 1, "cc": 6},  # bb is gone with what it had
        {"aa": 1, "cc": 6, "dd": 1},
        {"aa": 1, "cc": 2, "dd": 1},  # cc started over
        {"aa": 1},
        {"aa": 1, "bb": 3, "cc": 1},
    ):
        seen.append(table.read(**numbers)["other"])
    assert seen == [15, 16, 17, 19, 19, 23]


def test_a_key_that_one_read_missed_is_not_added_to_other_twice() -> None:
    table = Table(limit=1)
    table.read(aa=1, bb=10, cc=5)
    assert table.read(aa=1, cc=5)["other"] == 15
    assert table.read(aa=1, bb=11, cc=5)["other"] == 16


def test_other_of_gauges_is_what_is_there_now() -> None:
    table = Table(limit=1, monotone=False)
    assert table.read(aa=1, bb=10, cc=5)["other"] == 15
    assert table.read(aa=1, bb=3)["other"] == 3
    assert table.read(aa=1) == {"aa": 1}


def test_a_family_without_labels_has_one_row_and_no_other() -> None:
    shape = Shape("counter", "plain_total", "")
    rows = Rows(shape, lambda key: Words(()), slots=1, limit=1, monotone=True)
    rows.see(b"aabb", 2)
    assert rows.spread([[1, 2]]) == [[3]]
    assert rows.folded == 0


def slotted(key: bytes) -> Words:
    return Words((chr(key[0]),), key[1])


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (9, [[1, 0, 8], [2, 4, 0]]),
        (1, [[1, 8], [2, 4]]),
    ],
)
def test_keys_with_slots_fill_the_columns_of_their_row(
    limit: int, expected: Sequence[list[int]]
) -> None:
    rows = Rows(SHAPE, slotted, slots=2, limit=limit, monotone=True)
    rows.see(b"a\0a\1b\1c\0", 2)
    assert rows.spread([[1, 2, 4, 8]]) == expected


def test_with_suffixes_each_key_stands_for_several_rows() -> None:
    rows = Rows(
        Shape("counter", "c_total", "", ["name", "cpu"]),
        lambda key: Words((key[:2].decode(), str(key[2]))),
        slots=1,
        limit=9,
        monotone=True,
    )
    rows.see(b"aabb", 2, [b"\0", b"\1"])
    assert rows.spread([[1, 2, 3, 4]]) == [[1, 2, 3, 4]]
    assert rows.lines.beginnings[1].strip() == 'c_total{cpu="1",name="aa"}'
