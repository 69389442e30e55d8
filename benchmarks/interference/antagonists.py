"""What offline work does to harm: stress-ng by kind and intensity, and what it does that harms not.

Workers by intensity are for two cores. The more intense, the more all offline work weighs, too: as
of batch pods that asked for one core, one and a half or two beside a victim that asked for one.
"""

from pathlib import Path
from typing import Literal, NamedTuple

Kind = Literal["cpu", "bandwidth", "reclaim", "disk", "network", "fork"]
KINDS: tuple[Kind, ...] = ("cpu", "bandwidth", "reclaim", "disk", "network", "fork")
SCORED: frozenset[str] = frozenset({"cpu", "reclaim", "disk", "fork"})
"""Of the goal; no counter of this machine sees what bandwidth and network take."""
INTENSITIES = (1, 2, 3)
RECLAIM_BYTES = 256 << 20


class Antagonist(NamedTuple):
    """stress-ng's arguments; `memory` is its cgroup's limit meanwhile, `cores` its quota, and
    `intensity` says what all offline work together weighs (cgroups.OFFLINE_SHARES)."""

    arguments: tuple[str, ...]
    intensity: int = 0
    memory: int | None = None
    cores: float | None = None


def antagonist(kind: str, intensity: int, scratch: Path) -> Antagonist:
    """`scratch` is a folder on the disk that the victim reads from."""
    few = {1: "1", 2: "2", 3: "4"}[intensity]
    many = {1: "2", 2: "4", 3: "8"}[intensity]
    folder = ("--temp-path", str(scratch))
    match kind:
        case "cpu":
            return Antagonist(("--cpu", many, "--cpu-method", "matrixprod"), intensity)
        case "bandwidth":
            return Antagonist(("--stream", many, "--stream-madvise", "nohugepage"), intensity)
        case "reclaim":  # anonymous memory close to the limit, and a page cache that must go
            share = {1: "50%", 2: "60%", 3: "70%"}[intensity]
            held = f"{RECLAIM_BYTES * int(share[:-1]) // 100}"
            return Antagonist(
                (*folder, "--vm", "1", "--vm-bytes", held, "--vm-keep",
                 "--hdd", few, "--hdd-bytes", "512M", "--hdd-write-size", "1M"),
                intensity,
                memory=RECLAIM_BYTES,
            )  # fmt: skip
        case "disk":
            options = ("--hdd-opts", "direct", "--hdd-bytes", "256M", "--hdd-write-size", "1M")
            return Antagonist((*folder, "--hdd", many, *options), intensity)
        case "network":
            return Antagonist(("--udp", few, "--sock", few), intensity)
        case "fork":
            return Antagonist(("--fork", few), intensity)
    raise ValueError(f"antagonist: got {kind!r}, want one of {', '.join(KINDS)}")


def harmless(which: int, scratch: Path) -> Antagonist:
    """Busy, and in nobody's way: some of it is bound by a quota of its own."""
    variants = (
        Antagonist(("--cpu", "1", "--cpu-load", "20"), cores=0.2),
        Antagonist(("--vm", "1", "--vm-bytes", "200M", "--vm-hang", "2"), cores=0.1),
        Antagonist(
            ("--temp-path", str(scratch), "--hdd", "1", "--hdd-bytes", "8M", "--hdd-write-size",
             "64K"), cores=0.05,
        ),
    )  # fmt: skip
    return variants[which % len(variants)]
