"""usdt against what the interpreter itself says of its imports (python3 -X importtime).

Needs a system Python that was built with its probes, as Debian's is."""

import subprocess
import uuid
from collections import Counter
from pathlib import Path

import pytest

from exporter.ebpf.spec import HookSpec
from exporter.errors import BpfError
from tests.kernel.conftest import Load, counts, program, shipped_program

pytestmark = pytest.mark.bpf

SYSTEM_PYTHON = "/usr/bin/python3"


def imports(code: str, folder: Path) -> Counter[str]:
    """Runs the code; each module that was looked for and loaded, as often as it was."""
    said = subprocess.run(
        [SYSTEM_PYTHON, "-X", "importtime", "-B", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    lines = [line for line in said.splitlines() if line.startswith("import time:")]
    return Counter(line.rpartition("|")[2].strip() for line in lines[1:])


def test_usdt_counts_each_import_by_module(shipped: Path, loaded: Load, tmp_path: Path) -> None:
    running = loaded(shipped_program(shipped, "usdt"))
    own = [f"kernmesh_{uuid.uuid4().hex}_{number}" for number in range(20)]
    for name in own:
        (tmp_path / f"{name}.py").write_text("import fractions, decimal\n")
    code = f"import json, {', '.join(own)}\ntry: import kernmesh_missing\nexcept ImportError: pass"
    said: Counter[str] = Counter()
    for _ in range(5):
        said += imports(code, tmp_path)
    found = {
        key.partition(b"\0")[0].decode(): value
        for key, value in counts(running, "python_module_imports_total").items()
    }
    assert {name: found.get(name) for name in own} == dict.fromkeys(own, 5)
    assert {name: said[name] for name in own} == dict.fromkeys(own, 5)
    assert len(said) > 60
    # others' interpreters may import these meanwhile, too
    short = {name: times for name, times in said.items() if found.get(name, 0) < times}
    assert short == {}
    assert found["kernmesh_missing"] == 5
    assert running.refused_updates() == {"python_module_imports_total": 0}


def test_names_that_are_too_long_are_cut_and_share_a_row(
    shipped: Path, loaded: Load, tmp_path: Path
) -> None:
    running = loaded(shipped_program(shipped, "usdt"))
    long = "kernmesh_" + "x" * 80
    for end in "ab":
        (tmp_path / f"{long}{end}.py").touch()
    imports(f"import {long}a, {long}b", tmp_path)
    key = long.encode()[:63].ljust(64, b"\0")
    assert counts(running, "python_module_imports_total")[key] == 2


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (
            "missing_probe",
            r"no probe python:no__such__probe in /.*python3.*: want builds that have",
        ),
        ("malformed_probe", "got 'import', want provider:probe"),
        ("malformed_function", "got 'not a symbol', want a symbol, or symbol.offset"),
    ],
)
def test_what_cannot_be_attached_says_why(
    compiled: Path, loaded: Load, function: str, said: str
) -> None:
    with pytest.raises(BpfError, match=said):
        loaded(program(compiled, "attaching", [HookSpec("only", ((function,),))]))
