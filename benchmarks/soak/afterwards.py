"""What a soak left behind: values in cgroups, marks on Nodes, files, BPF objects, lines in logs."""

import json
import re
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.soak.figures import Span, gaps
from benchmarks.soak.ground import BURSTABLE, KUBEPODS, Ground, batch
from exporter.usage.layout import Refused
from exporter.usage.store import read_file

KNOBS: Mapping[str, tuple[str, ...]] = {
    "cpu": (
        *("cpu.idle", "cpu.shares", "cpu.weight"),
        *("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max"),
    ),
    "memory": ("memory.soft_limit_in_bytes", "memory.high"),
    "blkio": (
        *(f"blkio.throttle.{way}_bps_device" for way in ("read", "write")),
        *(f"blkio.throttle.{way}_iops_device" for way in ("read", "write")),
        "io.max",
    ),
}
"""Every file that an action writes, and those that the kernel changes along."""
_UNDONE = (".new", ".tmp", ".writing", ".bad")
_LEVEL = re.compile(r"\blevel=(\w+)")
_MESSAGE = re.compile(r'\bmsg=("(?:[^"\\]|\\.)*"|\S+)')
_NUMBERS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27,}|0x[0-9a-f]+|[0-9a-f]{32,}|\d+(\.\d+)?")


def settled(ground: Ground, agents: Iterable[str]) -> dict[str, str]:
    """Every value that an action could change, by its file, of the cgroups that stay."""
    found = {}
    for path in (KUBEPODS, BURSTABLE, *map(batch, agents)):
        for controller, files in KNOBS.items():
            for file in files:
                with suppress(OSError):
                    found[f"{path}/{file}"] = ground.cgroups.read(controller, path, file)
    return found


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [
        f"{file}: {now.get(file)!r}, was {value!r}"
        for file, value in before.items()
        if now.get(file) != value
    ]


def marks(api: str, prefixes: Sequence[str]) -> list[str]:
    """Labels, taints and annotations of ours on Nodes. Raises OSError."""
    with urllib.request.urlopen(f"{api}/api/v1/nodes", timeout=10) as answer:
        nodes = json.load(answer)["items"]
    return [mark for node in nodes for mark in _marks(node, prefixes)]


def _marks(node: Mapping[str, Any], prefixes: Sequence[str]) -> Iterator[str]:
    name, about = node["metadata"]["name"], node["metadata"]
    for what in ("labels", "annotations"):
        for key in about.get(what) or {}:
            if key.startswith(tuple(prefixes)):
                yield f"{name}: {what[:-1]} {key}"
    for taint in node.get("spec", {}).get("taints") or []:
        if taint["key"].startswith(tuple(prefixes)):
            yield f"{name}: taint {taint['key']}"


def bpf_left(seen: Mapping[str, Iterable[int]]) -> list[str]:
    """Of the objects that agents held, those that the kernel still has (bpftool)."""
    left = []
    for kind, ids in seen.items():
        done = subprocess.run(["bpftool", "--json", kind, "list"], capture_output=True, text=True)
        rows = json.loads(done.stdout or "[]")
        there = {row["id"] for row in rows if isinstance(row, dict)}
        left += [f"{kind} {number}" for number in ids if number in there]
    return left


def files_left(folders: Iterable[Path]) -> list[str]:
    """Files that are begun and not done: whatever ends as temporary ones do, and what is in a
    folder for them."""
    return [
        str(path)
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and (path.suffix in _UNDONE or folder.suffix in _UNDONE)
    ]


class Line(NamedTuple):
    """Lines of a log that are alike but for their numbers; `sample` is the first of them."""

    level: str
    shape: str
    times: int
    sample: str


def told(texts: Iterable[str]) -> list[Line]:
    """Warnings, errors and whatever is no line of a log at all, tracebacks among them; most
    frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    samples: dict[tuple[str, str], str] = {}
    for text in texts:
        for line in text.splitlines():
            level, shape = _shape(line)
            if level not in ("info", "debug", "screen"):
                counts[level, shape] += 1
                samples.setdefault((level, shape), line)
    return [
        Line(level, shape, count, samples[level, shape])
        for (level, shape), count in counts.most_common()
    ]


def _shape(line: str) -> tuple[str, str]:
    level, message = _LEVEL.search(line), _MESSAGE.search(line)
    if level is not None and message is not None:
        return level[1], _NUMBERS.sub("#", message[1].strip('"'))
    if line.startswith("Traceback"):
        return "traceback", line
    if "Error" in line or "Exception" in line:
        return "exception", _NUMBERS.sub("#", line)
    return "screen", ""


class Kept(NamedTuple):
    """Of a tier's file: its rows, the rows that are missing between them without a reason, and
    how far back it goes."""

    rows: int
    missing: int
    seconds: float


def history(file: Path, away: Sequence[Span]) -> Kept | None:
    """`away` in wall time. None where there is no such file, or it cannot be read."""
    try:
        store = read_file(file)
    except (OSError, Refused):
        return None
    walls = [store.head(row).wall for row in range(store.first, store.end)]
    if not walls:
        return Kept(0, 0, 0.0)
    return Kept(len(walls), gaps(walls, store.shape.interval, away), walls[-1] - walls[0])
