"""BPF programs that only benchmarks load, and how they are compiled: as the shipped ones are."""

import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
BPF = HERE.parent.parent / "bpf"


def compile_bpf(name: str, folder: Path) -> Path:
    """folder/<name>.bpf.o from <name>.bpf.c beside this file."""
    target = folder / f"{name}.bpf.o"
    source = HERE / f"{name}.bpf.c"
    command = ["make", "-s", "-C", str(BPF), "object", f"FROM={source}", f"TO={target}"]
    subprocess.run(command, check=True)
    return target
