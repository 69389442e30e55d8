"""Pressure: what the files say, of the node and where there is none."""

import logging
from pathlib import Path

import pytest

from exporter.errors import KernmeshError, NoData
from exporter.host.open_files import Descriptors, Gone
from exporter.host.psi import NodePressure, Pressure, PressureReader, parse_pressure
from exporter.metrics.exposition import render
from exporter.metrics.registry import Registry
from exporter.testing import fake_host

SOME = "some avg10=94.83 avg60=59.36 avg300=33.42 total=349503101\n"
FULL = "full avg10=0.00 avg60=0.00 avg300=0.00 total=30832365\n"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (SOME + FULL, Pressure(349.503101, 30.832365)),
        (SOME, Pressure(349.503101, None)),  # cpu before 5.13
        (FULL, Pressure(None, 30.832365)),  # irq
        ("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", Pressure(0.0, None)),
    ],
)
def test_totals_are_seconds_and_a_line_that_is_not_there_is_unknown(
    text: str, want: Pressure
) -> None:
    assert parse_pressure(text.encode()) == want


@pytest.mark.parametrize("text", ["some total=\n", "many avg10=0 total=5\n", "some avg10=0.00\n"])
def test_another_text_is_refused_with_what_it_was(text: str) -> None:
    with pytest.raises(KernmeshError, match=r"cpu: got b'.*want some\|full"):
        parse_pressure(text.encode(), "cpu")


def test_the_nodes_families_have_node_exporters_names(tmp_path: Path) -> None:
    files = {f"proc/pressure/{name}": SOME + FULL for name in ("cpu", "memory", "io")}
    pressure = NodePressure(fake_host(tmp_path, {**files, "proc/pressure/irq": FULL}))
    registry = Registry()
    registry.register(pressure, "pressure")
    lines = render(registry)[0].decode().splitlines()
    found = dict(line.split() for line in lines if line.startswith("node_pressure"))
    assert found == {
        "node_pressure_cpu_waiting_seconds_total": "349.503101",
        "node_pressure_memory_waiting_seconds_total": "349.503101",
        "node_pressure_memory_stalled_seconds_total": "30.832365",
        "node_pressure_io_waiting_seconds_total": "349.503101",
        "node_pressure_io_stalled_seconds_total": "30.832365",
        "node_pressure_irq_stalled_seconds_total": "30.832365",
    }
    assert {series.name: value for series, value in pressure.read(0.0).items()} == {
        "node.psi.cpu.some_seconds": 349.503101,
        "node.psi.memory.some_seconds": 349.503101,
        "node.psi.memory.full_seconds": 30.832365,
        "node.psi.io.some_seconds": 349.503101,
        "node.psi.io.full_seconds": 30.832365,
        "node.psi.irq.full_seconds": 30.832365,
    }


def test_a_kernel_without_psi_is_said_once_and_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pressure = NodePressure(fake_host(tmp_path, {}))
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert pressure.read(0.0) == {}
            with pytest.raises(NoData, match="no pressure \\(PSI\\) here"):
                list(pressure.collect())
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_totals_move_from_reading_to_reading(tmp_path: Path) -> None:
    host = fake_host(tmp_path, {"proc/pressure/io": SOME})
    reader = PressureReader(str(host.proc / "pressure"), Descriptors(8), suffix="")
    assert reader.read() == {"io": Pressure(349.503101, None)}
    (host.proc / "pressure/io").write_text(SOME.replace("349503101", "350000000"))
    assert reader.read() == {"io": Pressure(350.0, None)}
    reader.close()


def test_a_folder_without_pressure_files_is_gone(tmp_path: Path) -> None:
    with pytest.raises(Gone):
        PressureReader(str(tmp_path), Descriptors(8)).read()
