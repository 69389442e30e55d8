"""kubelet's memory.available, by its two formulas."""

import pytest

from exporter.errors import KernmeshError
from exporter.host.kubelet import available_v1, available_v2, parse_memory_stat


@pytest.mark.parametrize(
    ("usage", "inactive", "available"),
    [(600, 200, 600), (600, 700, 1000), (0, 0, 1000), (1200, 0, -200)],
    ids=["working set", "more inactive than used", "unused", "swapped"],
)
def test_v1_takes_the_working_set_off_what_there_is(
    usage: int, inactive: int, available: int
) -> None:
    assert available_v1(1000, usage, inactive) == available


@pytest.mark.parametrize(
    ("anon", "file", "inactive", "available"), [(300, 300, 200, 600), (1, 2, 50, 1000)]
)
def test_v2_adds_up_what_its_root_has_no_file_for(
    anon: int, file: int, inactive: int, available: int
) -> None:
    assert available_v2(1000, anon, file, inactive) == available


def test_what_is_asked_for_is_found_whatever_else_there_is() -> None:
    text = "anon 10\nfile 20\ninactive_file_other 9\ninactive_file 5\n"
    assert parse_memory_stat(text, ("file", "inactive_file"), "p") == [20, 5]
    with pytest.raises(KernmeshError, match="p: no total_inactive_file line"):
        parse_memory_stat(text, ("total_inactive_file", "anon"), "p")
