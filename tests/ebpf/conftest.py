"""Objects compiled from tests/ebpf/sources, for what reads objects without loading them."""

import platform
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "sources"


def compile_object(source: Path, target: Path, *flags: str) -> Path:
    """`source` as a BPF object at `target`; `flags` come last and win."""
    command = ["clang", "-O2", "-g", "-target", "bpf", "-mcpu=v2", "-Wall", "-Werror"]
    includes = ["-idirafter", f"/usr/include/{platform.machine()}-linux-gnu"]
    subprocess.run([*command, *includes, *flags, "-c", source, "-o", target], check=True)
    return target


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each source's object, and shapes.bpf.c in forms that are no good:
    for this machine, without types, for the other byte order."""
    folder = tmp_path_factory.mktemp("objects")
    shapes = SOURCES / "shapes.bpf.c"
    for source in SOURCES.glob("*.bpf.c"):
        compile_object(source, folder / f"{source.name.removesuffix('.c')}.o")
    compile_object(shapes, folder / "untyped.bpf.o", "-g0")
    compile_object(shapes, folder / "swapped.bpf.o", "-target", "bpfeb")
    native = folder / "native.c"
    native.write_text("int main(void) { return 0; }\n")
    subprocess.run(["clang", "-c", native, "-o", folder / "native.bpf.o"], check=True)
    return folder


@pytest.fixture(scope="session")
def shapes(objects: Path) -> bytes:
    return (objects / "shapes.bpf.o").read_bytes()
