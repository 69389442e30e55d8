"""The Dockerfile as it is read for the build without an engine, and what it promises."""

import pytest

from tests.deploy.chart import ROOT
from tests.image.dockerfile import Step, ignored, put_in, stages, steps

FOUND = stages((ROOT / "Dockerfile").read_text())
PATTERNS = [
    line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"
]


def test_a_step_may_go_over_lines_with_comments_between() -> None:
    text = "RUN a \\\n# not this\n && b\n\nUSER 1\n"
    assert steps(text) == [Step("RUN", "a   && b"), Step("USER", "1")]


def test_what_is_not_known_is_an_error_and_not_passed_over() -> None:
    with pytest.raises(ValueError, match=r"^HEALTHCHECK: not an instruction that is known here$"):
        steps("HEALTHCHECK CMD x")


def test_arguments_before_the_first_stage_are_put_into_its_base() -> None:
    assert {stage.base for stage in FOUND.values()} == {"debian:bookworm-slim", "runtime-base"}
    assert put_in("a ${B}$C", {"B": "b"}) == "a b"


@pytest.mark.parametrize("target", ["runtime", "bcc"])
def test_whoever_runs_an_image_is_not_root(target: str) -> None:
    assert FOUND[target].steps[-1] == Step("USER", "65532:65532")


def test_the_default_target_is_the_one_without_a_compiler() -> None:
    assert list(FOUND)[-1] == "runtime"
    words = " ".join(step.words for step in FOUND["runtime-base"].steps)
    assert not [each for each in ("clang", "gcc", "bpfcc", "make ") if each in words]


@pytest.mark.parametrize(
    ("path", "out"),
    [
        ("exporter/app.py", False),
        ("bpf/timers.bpf.c", False),
        ("bpf/timers.bpf.o", True),
        ("exporter/web/__pycache__/app.cpython-311.pyc", True),
        ("requirements/run.lock", False),
        ("tests/conftest.py", True),
        (".git/config", True),
        (".venv/bin/python", True),
        (".cache/kube/root", True),
    ],
)
def test_only_what_the_image_is_made_of_goes_into_the_build(path: str, out: bool) -> None:
    assert ignored(path, PATTERNS) == out
