"""What the running kernel was built with, from /proc/config.gz or the distribution's copy.

An option matters by the hooks that it makes possible, or by what is slower or not counted.
"""

import gzip
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from exporter.doctor.line import Line
from exporter.doctor.machine import Machine
from exporter.doctor.wants import named

SUBJECT = "kernel config"
_MOST_BYTES = 4 << 20


class Option(NamedTuple):
    """Without it hooks of `kinds` are not to be had; `needed`: no program is. `loses` is what else,
    in words."""

    name: str
    loses: str
    kinds: frozenset[str] = frozenset()
    needed: bool = False


_TRAMPOLINES = frozenset(("fentry", "fexit", "fmod_ret"))
_TRACING = frozenset(("tracepoint", "tp", "raw_tp", "tp_btf"))
OPTIONS = (
    Option("BPF_SYSCALL", "BPF programs", needed=True),
    Option("PERF_EVENTS", "BPF programs that trace", needed=True),
    Option("BPF_EVENTS", "BPF programs that trace", needed=True),
    Option("BPF_JIT", "BPF programs at full speed"),
    Option("TRACEPOINTS", "tracepoints", _TRACING),
    Option("KPROBE_EVENTS", "kprobes", frozenset(("kprobe", "kretprobe"))),
    Option("UPROBE_EVENTS", "uprobes and USDT", frozenset(("uprobe", "uretprobe", "usdt"))),
    Option("DYNAMIC_FTRACE_WITH_DIRECT_CALLS", "fentry and fexit", _TRAMPOLINES),
    Option("MEMCG", "memory of cgroups"),
    Option("CFS_BANDWIDTH", "CPU quotas and their throttling"),
)


def read_config(machine: Machine) -> Mapping[str, str] | None:
    """Values by name without CONFIG_ ("y", "m", numbers); what is not set is not in it. None where
    no copy can be read. The running kernel's own goes first."""
    release = machine.release()
    places = [machine.host.proc / "config.gz"]
    if release:
        root = machine.host.root
        places += [root / f"boot/config-{release}", root / f"lib/modules/{release}/config"]
    for place in places:
        try:
            with gzip.open(place) if place.suffix == ".gz" else place.open("rb") as file:
                text = file.read(_MOST_BYTES).decode(errors="replace")
        except (OSError, EOFError, zlib.error):
            continue
        found = parse(text)
        if found:
            return found
    return None


def parse(text: str) -> dict[str, str]:
    """Kernel: scripts/kconfig/confdata.c; `# CONFIG_X is not set` is left out."""
    lines = (line.removeprefix("CONFIG_") for line in text.splitlines() if line[:7] == "CONFIG_")
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def check(machine: Machine) -> Line:
    config = read_config(machine)
    if config is None:
        return Line(
            SUBJECT,
            "unknown",
            "neither /proc/config.gz nor /boot/config-<release> can be read",
            "modprobe configs, or mount the host's /boot; the lines below hold all the same",
        )
    absent = [option for option in OPTIONS if option.name not in config]
    if not absent:
        return Line(SUBJECT, "ok", f"all {len(OPTIONS)} options that matter are set")
    needed = [option for option in absent if option.needed]
    lost = machine.wants.lost(frozenset(kind for option in absent for kind in option.kinds))
    wanted_by = machine.wants.by_programs() if needed else named(lost)
    names = " ".join(f"CONFIG_{option.name}" for option in absent)
    loses = ", no ".join(dict.fromkeys(option.loses for option in absent))
    return Line(
        SUBJECT,
        "missing" if needed or lost else "degraded",
        f"without {names}: no {loses}",
        "a kernel that is built with them"
        if needed or lost
        else "kernmesh programs says which hooks are taken instead",
        wanted_by,
    )
