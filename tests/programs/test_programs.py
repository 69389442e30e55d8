"""The tables of docs/programs.md: made from what was counted, and current in all that is not."""

import subprocess
import sys
from pathlib import Path

import pytest

from exporter.ebpf.labelspec import LabelSpec
from exporter.ebpf.metricspec import CounterSpec, MetricsSpec
from exporter.ebpf.objectfile import shipped_folder
from exporter.ebpf.spec import ProgramSpec, read_program
from exporter.ebpf.start import metrics_of
from tests.programs.loads import LOADS
from tests.programs.tables import ALL, END, Outcome, begin, put_between_marks, render

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "programs.md"
SHIPPED = sorted(shipped_folder().glob("*.yaml"), key=lambda file: file.stem)
SPEC = ProgramSpec(
    metrics=MetricsSpec(
        counters=(
            CounterSpec("a_total", "Things", labels=(LabelSpec("kind", 4),), max_series=7),
            CounterSpec("b_total", "Others"),
        )
    )
)
ON = Outcome(
    "some",
    SPEC,
    "Makes things.",
    hooks=["raw_tp/x", "raw_tp/y", "tp_btf/z"],
    wanted={"a_total{kind=k}": 20},
    got={"a_total{kind=k}": 21},
    ns=123.4,
    runs=1000,
    map_bytes=2048,
    refused=["fentry/f: EPERM"],
)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_program_has_a_load_and_a_part_with_its_metrics(file: Path) -> None:
    assert file.stem in LOADS
    text = DOCUMENT.read_text()
    heading, _, rest = text.partition(f"\n## {file.stem}\n")
    part = rest.partition(begin(file.stem))[2].partition(END)[0]
    assert heading
    for metric in metrics_of(read_program(file).spec):
        labels = ",".join(label.name for label in metric.labels)
        assert f"- `{metric.name}{{{labels}}}`, " in part
        assert metric.help in part


def test_an_outcome_as_a_row_and_as_a_part() -> None:
    made = render([ON], "Linux.", 50)
    assert list(made) == [ALL, "some"]
    assert made[ALL].splitlines()[2] == (
        "| [some](#some) | raw_tp/{x, y} tp_btf/z | 20 a_total{kind=k} | 21 | yes | 123 | 2 KiB |"
    )
    assert made["some"] == (
        "- `a_total{kind}`, counter; at most 7 series: Things.\n"
        "- `b_total{}`, counter: Others.\n"
        "\n"
        "Hooks taken: raw_tp/{x, y} tp_btf/z. Passed over: fentry/f: EPERM. Load: Makes things. "
        "User space says 20 a_total{kind=k}; counted 21. 123 ns per run (1,000 runs)."
    )


@pytest.mark.parametrize(
    ("outcome", "cell"),
    [
        (ON, "| yes |"),
        (ON._replace(got={"a_total{kind=k}": 19}), "| NO |"),
        (Outcome("some", SPEC, "Makes things.", reason="no PMU"), "| off |"),
    ],
)
def test_too_little_is_no_agreement_and_off_is_off(outcome: Outcome, cell: str) -> None:
    assert cell in render([outcome], "", 50)[ALL]


def test_what_stands_outside_of_the_marks_stays() -> None:
    text = f"by hand\n{begin('a')}\nold\n{END}\nby hand too\n{begin('b')}\n{END}\n"
    assert put_between_marks(text, {"a": "new"}) == text.replace("old", "new")


def test_a_program_without_marks_is_named() -> None:
    with pytest.raises(ValueError, match="has no marks for a, b: add "):
        put_between_marks(f"{begin('c')}\n{END}\n", {"a": "x", "b": "y", "c": "z"})


@pytest.mark.bpf
def test_the_command_counts_what_its_load_makes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.programs", "timers", "accept-latency"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| 20 accept_latency_seconds_count{port=…} | 20 | yes |" in done.stdout
    assert "| 200 events{function=tcp_keepalive_timer} |" in done.stdout
