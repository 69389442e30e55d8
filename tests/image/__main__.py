"""`python -m tests.image [--target bcc] [--platform linux/arm64]`: builds the image by the
Dockerfile's steps, without an engine, and starts it with the mounts, user and capabilities of the
chart (root; minutes).

Exit code 1 where the agent in it does not count with all programs that it was told to run.
"""

import argparse
import os
import re
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from tests.deploy.chart import ROOT, rendered
from tests.image.chroot import Image, build
from tests.image.emulation import emulated
from tests.image.pod import start

CACHE = ROOT / ".cache" / "image"
_URL = re.compile(r"^metrics: (\S+)", re.MULTILINE)
PORT = 19435


class Trial(NamedTuple):
    """`ebpf` of the chart's agent.config; how many programs are to be on, as the agent says it;
    what is to be counted."""

    ebpf: dict[str, Any]
    programs: str
    counted: tuple[str, ...]


GAUGES = ("node_mem_usage_active ", "node_disk_usage_active ")
AS_SHIPPED = Trial(
    {},
    "3 of 3",
    ("ebpf_exporter_timer_starts_total{", "ebpf_exporter_bio_latency_seconds", *GAUGES),
)
BY_BCC = Trial(
    {"backend": "bcc", "programs": ["raw-tracepoints", "syscalls"]},
    "2 of 2",
    (
        "ebpf_exporter_raw_timer_starts_total{",
        "ebpf_exporter_syscalls_total{",
        'kernmesh_ebpf_backend_info{backend="bcc",program="raw-tracepoints"} 1',
        'kernmesh_ebpf_backend_info{backend="bcc",program="syscalls"} 1',
        *GAUGES,
    ),
)
TRIALS = {"runtime": (AS_SHIPPED,), "bcc": (AS_SHIPPED, BY_BCC)}
# QEMU's user emulation has no bpf(): all but the programs is to work there.
EMULATED = Trial({}, "0 of 3", GAUGES)
EMULATOR = ROOT / ".cache/peers/usr/bin/qemu-aarch64-static"


def problem(image: Image, trial: Trial, place: Path) -> str | None:
    """What is not as it should be in an agent of that image, after showing what it says."""
    objects = rendered({"agent": {"port": PORT, "config": {"ebpf": trial.ebpf}}})
    [daemonset] = [each for each in objects if each["kind"] == "DaemonSet"]
    [config] = [each["data"] for each in objects if each["kind"] == "ConfigMap"]
    process = start(image, daemonset["spec"]["template"]["spec"], config, place)
    assert process.stdout is not None
    screen = ""
    try:
        for line in process.stdout:
            screen += line
            if url := _URL.search(screen):
                break
        else:
            return f"the agent ended:\n{screen}"
        with (place / "load").open("wb") as file:  # so that there is latency to be seen
            file.write(bytes(1 << 20))
            os.fsync(file.fileno())
        with urllib.request.urlopen(url[1], timeout=60) as answer:
            text = answer.read().decode()
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        process.terminate()
        process.wait(60)
    print(screen, flush=True)
    print("".join(re.findall(r"^(?:Uid|NoNewPrivs|CapEff|CapBnd):.*\n", status, re.MULTILINE)))
    print(f"{sum(not line.startswith('#') for line in text.splitlines())} series")
    missing = [name for name in trial.counted if f"\n{name}" not in text]
    if missing or f"programs: {trial.programs} on" not in screen:
        return f"not counted: {', '.join(missing)}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", default="runtime", choices=TRIALS)
    parser.add_argument("--platform", choices=("linux/arm64",), help="by emulation (half an hour)")
    given = parser.parse_args()
    target, processor = given.target, "arm64" if given.platform else None
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=CACHE.parent)))
        if processor:
            stack.enter_context(emulated(EMULATOR))
        image = build(ROOT, target, CACHE, place, processor)
        size = sum(f.lstat().st_size for f in image.root.rglob("*") if not f.is_symlink())
        print(f"{target}: {size / 1e6:.0f} MB, user {image.user}")
        found = [f for f in ("gcc", "clang", "cc", "pip") if (image.root / "usr/bin" / f).exists()]
        if found:
            print(f"no compiler was to be in it, and there is {', '.join(found)}")
            return 1
        for number, trial in enumerate((EMULATED,) if processor else TRIALS[target]):
            if said := problem(image, trial, place / f"pod-{number}"):
                print(said)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
