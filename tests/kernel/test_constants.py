"""`constants` of a YAML: numbers for the object's own switches."""

from pathlib import Path

import msgspec
import pytest

from exporter.ebpf.check import check_programs
from exporter.ebpf.spec import Program, read_program
from exporter.errors import BpfError
from tests.kernel.conftest import Load

pytestmark = pytest.mark.bpf

WRONG = [
    ({"per_adress": 1}, "did you mean 'per_address'?"),
    ({"per_address": 256}, "got 256, want what fits in 1 bytes"),
]


def asking(folder: Path, constants: dict[str, int]) -> Program:
    program = read_program(folder / "tcp-retransmit.yaml")
    return program._replace(spec=msgspec.structs.replace(program.spec, constants=constants))


@pytest.mark.parametrize(("constants", "refusal"), WRONG)
def test_a_constant_that_the_object_cannot_hold_is_refused_at_load(
    shipped: Path, loaded: Load, constants: dict[str, int], refusal: str
) -> None:
    with pytest.raises(BpfError, match=r"tcp-retransmit\.yaml: constants\.\w+: ") as raised:
        loaded(asking(shipped, constants))
    assert refusal in str(raised.value)


@pytest.mark.parametrize(("constants", "finding"), WRONG)
def test_and_found_by_check_before(shipped: Path, constants: dict[str, int], finding: str) -> None:
    (problem,) = check_programs([asking(shipped, constants)])
    assert problem.path == f"constants.{next(iter(constants))}"
    assert finding in problem.text


def test_the_shipped_programs_constants_are_the_objects(shipped: Path) -> None:
    programs = [read_program(file) for file in sorted(shipped.glob("*.yaml"))]
    assert any(program.spec.constants for program in programs)
    assert check_programs(programs) == []
