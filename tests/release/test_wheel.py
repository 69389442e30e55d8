"""What is in this tree's wheel. That it runs, and is the same twice: python -m tests.release."""

import platform
import subprocess
import zipfile
from pathlib import Path

import pytest

from hatch_build import compile_objects
from tests.release.wheel import ROOT


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_program_is_there_with_its_object_and_source(names: set[str]) -> None:
    programs = {path.stem for path in (ROOT / "bpf").glob("*.yaml")}
    wanted = {f"exporter/_bpf/{p}{s}" for p in programs for s in (".yaml", ".bpf.o", ".bpf.c")}
    assert wanted <= names
    headers = {f"exporter/_bpf/include/{each.name}" for each in (ROOT / "bpf/include").iterdir()}
    assert headers <= names  # what bcc compiles them with


@pytest.mark.parametrize("package", ["exporter", "pingmesh"])
def test_every_tracked_file_of_the_packages_is_there(names: set[str], package: str) -> None:
    listed = subprocess.run(["git", "ls-files", package], cwd=ROOT, capture_output=True, text=True)
    tracked = set(listed.stdout.split())
    assert tracked
    assert tracked - names == {name for name in tracked if not (ROOT / name).exists()}


def test_dashboards_and_their_templates_are_there(names: set[str]) -> None:
    files = {p.relative_to(ROOT / "dashboards") for p in (ROOT / "dashboards").rglob("*.j*")}
    assert {f"exporter/_dashboards/{path}" for path in files} <= names


def test_a_wheel_is_of_one_kind_of_processor_and_has_no_tests(names: set[str], wheel: Path) -> None:
    assert wheel.name.endswith(f"-py3-none-linux_{platform.machine()}.whl")
    assert not [name for name in names if name.startswith("tests/")]


def test_without_its_objects_no_wheel_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bpf").mkdir()
    (tmp_path / "bpf/a.bpf.c").touch()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError) as raised:
        compile_objects(tmp_path)
    assert str(raised.value) == (
        "a wheel has compiled BPF objects in it, and a.bpf.c cannot be compiled: install clang, "
        "make and libbpf-dev, or take a wheel that somebody built"
    )
