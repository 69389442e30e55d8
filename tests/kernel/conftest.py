"""Real BPF for tests: the shipped programs and our own test programs, compiled and loaded."""

import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from exporter.ebpf import libbpf
from exporter.ebpf.kernel import DEFAULTS, Options, load
from exporter.ebpf.loaded import KernelProgram
from exporter.ebpf.spec import HookSpec, Program, ProgramSpec, read_program

ROOT = Path(__file__).resolve().parents[2]

Load = Callable[..., KernelProgram]
"""load(program, options) of exporter.ebpf.kernel; what it loads is closed after the test."""


@pytest.fixture(scope="session")
def shipped() -> Path:
    """The folder of shipped programs, compiled."""
    subprocess.run(["make", "-s", "-C", ROOT / "bpf"], check=True, capture_output=True)
    return ROOT / "bpf"


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tests/kernel/programs/*.bpf.c, compiled."""
    folder = tmp_path_factory.mktemp("programs")
    for source in (Path(__file__).parent / "programs").glob("*.bpf.c"):
        target = folder / f"{source.name.removesuffix('.c')}.o"
        command = ["make", "-s", "-C", f"{ROOT}/bpf", "object", f"FROM={source}", f"TO={target}"]
        subprocess.run(command, check=True)
    return folder


@pytest.fixture
def loaded() -> Iterator[Load]:
    programs: list[KernelProgram] = []

    def load_and_keep(program: Program, options: Options = DEFAULTS) -> KernelProgram:
        programs.append(load(program, options))
        return programs[-1]

    yield load_and_keep
    for program in programs:
        program.close()


@pytest.fixture(scope="session")
def lib() -> libbpf.Libbpf:
    return libbpf.library()


def program(folder: Path, name: str, hooks: Sequence[HookSpec] = ()) -> Program:
    """A program of this folder, with hooks as its YAML would give them."""
    spec = ProgramSpec(hooks=tuple(hooks))
    return Program(name, folder / f"{name}.yaml", folder / f"{name}.bpf.o", spec)


def copy_of(folder: Path, name: str, target: Path) -> Path:
    """The object `name` copied into a new folder `target`, for tests that spoil it."""
    target.mkdir(mode=0o755)
    return Path(shutil.copy(folder / f"{name}.bpf.o", target))


def shipped_program(folder: Path, name: str) -> Program:
    """A shipped program as its own YAML has it."""
    return read_program(folder / f"{name}.yaml")


def numbers(program: KernelProgram, name: str) -> dict[bytes, list[int]]:
    """Rows of a map of u64s (one, or several in a struct) by key, summed over CPUs."""
    info, rows = program.maps[name].info, program.maps[name].read()
    width = info.value_stride // 8
    words = struct.unpack(f"={rows.count * info.cpus * width}Q", rows.values)
    found = {}
    for row in range(rows.count):
        parts = words[row * info.cpus * width : (row + 1) * info.cpus * width]
        key = rows.keys[row * info.key_size : (row + 1) * info.key_size]
        found[key] = [sum(parts[column::width]) for column in range(width)]
    return found


def counts(program: KernelProgram, name: str) -> dict[bytes, int]:
    """Rows of a counter map by key, summed over CPUs."""
    return {key: value for key, (value,) in numbers(program, name).items()}
