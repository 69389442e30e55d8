"""Version and revision are git's where there is one, and known without."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hatch_build import WRITTEN, describe, write

ROOT = Path(__file__).parents[1]
BUILT_FROM = (
    "pyproject.toml",
    "hatch_build.py",
    "README.md",
    "exporter/__init__.py",
    "bpf/timers.yaml",
    "dashboards/kernmesh.json",
)


def git(tree: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(tree), *who, *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """As much of our source as a wheel needs, without git."""
    for name in BUILT_FROM:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "pingmesh").mkdir()
    (tmp_path / "pingmesh/__init__.py").touch()
    init = tmp_path / "exporter/__init__.py"
    init.write_text(init.read_text().replace('BASE = "0.1.0"', 'BASE = "3.4.5"'))
    (tmp_path / ".gitignore").write_text(f"/{WRITTEN}\n")
    return tmp_path


def commit(tree: Path) -> str:
    if not (tree / ".git").exists():
        git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "--allow-empty", "-m", "x")
    return git(tree, "rev-parse", "HEAD")


def test_without_a_tag_it_is_the_next_release_s_and_counts_commits(tree: Path) -> None:
    commit(tree)
    head = commit(tree)
    assert describe(tree) == (f"3.4.5.dev2+g{head[:10]}", head)


def test_a_tag_is_the_version_and_what_comes_after_is_of_the_next(tree: Path) -> None:
    head = commit(tree)
    git(tree, "tag", "v1.2.3")
    assert describe(tree) == ("1.2.3", head)
    head = commit(tree)
    assert describe(tree) == (f"1.2.4.dev1+g{head[:10]}", head)


def test_what_is_not_committed_is_said(tree: Path) -> None:
    head = commit(tree)
    git(tree, "tag", "v1.2.3")
    (tree / "README.md").write_text("another\n")
    assert describe(tree) == (f"1.2.4.dev0+g{head[:10]}.dirty", head)


def test_a_tree_without_git_has_what_was_written_when_it_was_packed(tree: Path) -> None:
    assert describe(tree) == ("3.4.5", "")
    head = commit(tree)
    write(tree)
    shutil.rmtree(tree / ".git")
    assert describe(tree) == (f"3.4.5.dev1+g{head[:10]}", head)


def test_another_s_repository_around_the_tree_is_not_asked(tree: Path) -> None:
    inner = tree / "vendored"
    shutil.copytree(tree / "exporter", inner / "exporter")
    commit(tree)
    assert describe(inner) == ("3.4.5", "")


@pytest.mark.parametrize("with_git", [True, False])
def test_a_wheel_says_which_commit_it_is_of(tree: Path, tmp_path: Path, with_git: bool) -> None:
    version, revision = "3.4.5", ""
    if with_git:
        revision = commit(tree)
        version = f"3.4.5.dev1+g{revision[:10]}"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(build, cwd=tree, check=True, capture_output=True, text=True)
    [wheel] = (tree / "dist").glob("*.whl")
    assert wheel.name.startswith(f"kernmesh-{version}-")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "installed")
    code = "import exporter; print(exporter.__version__, exporter.__revision__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "installed",
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [version, revision][: 1 + with_git]
