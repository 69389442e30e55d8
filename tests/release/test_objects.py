"""Compiled programs: the same bytes wherever they are compiled, and whole for arm64 too.

All of them twice, with the wheel that they are in: make test-wheel. For arm64 its own kernel
headers are taken (Debian: linux-libc-dev-arm64-cross); the rest of its build is the same.
"""

import re
import shutil
import subprocess
from pathlib import Path

from tests.release.wheel import ROOT

ARM64_HEADERS = Path("/usr/aarch64-linux-gnu/include")
SAMPLE = ("accept-latency", "biolatency", "syscalls")


def compiled(folder: Path, *arguments: str) -> dict[str, bytes]:
    """By name; the sources are copied to `folder`, which is made."""
    shutil.copytree(ROOT / "bpf", folder, ignore=shutil.ignore_patterns("*.o"))
    subprocess.run(["make", "--silent", "-j2", "-C", folder, *arguments], check=True)
    return {file.name.partition(".")[0]: file.read_bytes() for file in folder.glob("*.bpf.o")}


def test_objects_do_not_tell_where_they_were_compiled(tmp_path: Path) -> None:
    wanted = [f"{name}.bpf.o" for name in SAMPLE]
    one = compiled(tmp_path / "one", *wanted)
    assert sorted(one) == sorted(SAMPLE)
    assert one == compiled(tmp_path / "another" / "and" / "longer", *wanted)


def test_every_program_compiles_for_arm64_and_differs_where_it_asks_for_the_processor(
    tmp_path: Path,
) -> None:
    arm64 = compiled(
        tmp_path / "arm64", "ARCH=arm64", f"INCLUDES=-I include -idirafter {ARM64_HEADERS}"
    )
    sources = {path.name.partition(".")[0]: path for path in (ROOT / "bpf").glob("*.bpf.c")}
    assert sorted(arm64) == sorted(sources)
    asking = {name for name, path in sources.items() if "__TARGET_ARCH_" in path.read_text()}
    here = compiled(tmp_path / "here", *(f"{name}.bpf.o" for name in (*asking, "biolatency")))
    assert {name for name in asking if here[name] != arm64[name]} == asking > {"syscalls"}
    assert here["biolatency"] == arm64["biolatency"]


def test_what_asks_for_a_processor_knows_both() -> None:
    for path in (ROOT / "bpf").glob("*.bpf.c"):
        text = path.read_text()
        for block in re.findall(r"#if defined\(__TARGET_ARCH_x86\).*?#endif", text, re.DOTALL):
            assert "__TARGET_ARCH_arm64" in block or "#else" in block, path.name
