import prometheus_client.utils
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.metrics.gotext import GoTexts, go_float

counts = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 2_000_000),
    st.builds(lambda digit, zeros: digit * 10**zeros, st.integers(0, 9), st.integers(0, 19)),
    st.sampled_from([999_999, 10**6, 10**15 - 1, 10**15, 2**53, 2**53 + 1, 10**16, 2**64 - 1]),
)


def texts(column: GoTexts, values: list[float]) -> list[str]:
    conversion, arguments = column.arguments(values, 0, len(values))
    return [(conversion % argument).decode() for argument in arguments]


def test_one_number_is_printed_by_prometheus_client_itself() -> None:
    assert go_float is prometheus_client.utils.floatToGoString


@settings(deadline=None)
@given(st.lists(counts), st.lists(counts))
def test_integers_read_as_prometheus_client_prints_them(first: list[int], then: list[int]) -> None:
    column = GoTexts(exact=True)
    for values in (first, then, then, first + then):
        assert texts(column, list(values)) == list(map(go_float, values))


@settings(deadline=None)
@given(st.lists(st.floats()), st.lists(st.floats()))
@example([], [-1.0])
def test_floats_read_as_prometheus_client_prints_them(
    first: list[float], then: list[float]
) -> None:
    column = GoTexts(exact=False)
    for values in (first, then, then, [-value for value in then]):
        assert texts(column, values) == list(map(go_float, values))


def test_of_a_column_cut_in_pieces_each_piece_keeps_its_own_texts() -> None:
    column = GoTexts(exact=True)
    for step in (0, 1):
        values: list[float] = [10**7 + step * (place % 2) for place in range(10)]
        pieces = [column.arguments(values, start, start + 4) for start in (0, 4, 8)]
        assert [text for piece in pieces for text in piece.values] == [
            go_float(value).encode() for value in values
        ]
