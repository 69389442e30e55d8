"""Each parser of outside input, given real inputs spoiled a little, reads them or refuses them in
one line. Minutes of the same, led by coverage, are `make fuzz`."""

import ast
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.errors import KernmeshError
from tests.fuzz.found import FOUND, Found
from tests.fuzz.loopback import loopback
from tests.fuzz.target import ROOT, Bloat, Case, Hang, Unclear, judge, place, watched
from tests.fuzz.targets import NAMES, load

CASES = [
    pytest.param(case, id=f"{name}-{case.name}")
    for name in NAMES
    for case in load(name).cases
    if not case.tested
]


@pytest.fixture(scope="module", autouse=True)
def ground() -> Iterator[None]:
    yield
    loopback().close()


@pytest.mark.parametrize("case", CASES)
def test_whatever_it_is_given_it_reads_or_refuses(case: Case) -> None:
    seeds = case.seeds()
    assert seeds
    for seed in seeds[:10]:
        with watched():
            judge(case, seed)

    @settings(
        max_examples=case.examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(seeds), st.randoms(use_true_random=False), st.integers(1, 3))
    def spoiled(seed: bytes, chance: Random, times: int) -> None:
        for _ in range(times):
            seed = case.spoil(seed, chance)
        with watched():
            judge(case, seed)

    spoiled()


def test_every_other_parser_is_given_as_much_elsewhere() -> None:
    for name in NAMES:
        for case in load(name).cases:
            if case.tested:
                assert "@given(" in (ROOT / case.tested).read_text(), f"{name}: {case.name}"


@pytest.mark.parametrize("found", FOUND, ids=lambda found: found.test.partition("::")[2])
def test_what_was_found_is_held_by_a_test(found: Found) -> None:
    assert found.target in NAMES
    file, _, name = found.test.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    assert name in {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}


# The judge


def case_of(run: object) -> Case:
    return Case("made", run, lambda: [b""])  # type: ignore[arg-type]


def test_what_may_be_raised_is_no_crash_and_all_else_is() -> None:
    def refuse(data: bytes) -> None:
        raise KernmeshError(data.decode())

    def fail(data: bytes) -> None:
        raise KeyError(data)

    judge(case_of(refuse), b"a: problem")
    with pytest.raises(Unclear):
        judge(case_of(refuse), b"")
    with pytest.raises(KeyError) as raised:
        judge(case_of(fail), b"x")
    assert place(raised.value) == "KeyError at ?"


def test_what_hangs_is_a_crash_also_where_everything_is_caught() -> None:
    def hang(_: bytes) -> None:
        while True:
            try:
                while True:
                    pass
            except Exception:
                continue

    with pytest.raises(Hang), watched(1):
        judge(case_of(hang), b"")


def test_what_eats_memory_is_a_crash() -> None:
    def eat(_: bytes) -> None:
        b"x" * (300 << 20)  # every page of it is written

    with pytest.raises(Bloat):
        judge(case_of(eat), b"", 10)
