"""The machine under the experiment: pods, victim, bystanders, and everything that detection reads.

What is read is what an agent's fast tier reads with runqlat and preemptions on, of all pods, so a
replay sees what an agent would have seen. Knows no schedule and no rules.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import peers
from benchmarks.interference import bystander
from benchmarks.interference.antagonists import Antagonist
from benchmarks.interference.cgroups import (
    OFFLINE,
    OFFLINE_ROOT,
    OFFLINE_SHARES,
    VICTIM,
    Cgroups,
    pods,
)
from benchmarks.interference.victim import Client, Victim, program, victim
from exporter.clock import SystemClock
from exporter.config.agent import Usage
from exporter.ebpf.kernel import load
from exporter.ebpf.loaded import KernelProgram
from exporter.ebpf.maps import BpfMap
from exporter.ebpf.spec import read_program
from exporter.errors import BpfError
from exporter.hostfs import HostFs
from exporter.interference.sources.containers import ContainerReader
from exporter.interference.sources.processors import ProcessorReader
from exporter.interference.sources.runqueue import RunQueueReader
from exporter.interference.sources.slo import SloReader
from exporter.usage.node import node_sources
from exporter.usage.pods import Kubepods, Offline
from exporter.usage.sampler import Sampler
from exporter.usage.series import Read
from exporter.usage.subjects import MEASURES, PodSubjects, SubjectReader
from exporter.usage.workloads import workloads

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "experiment"
_BYSTANDERS = ("busy", "keeper", "writer", "talker", "idle")


class Machine:
    def __init__(self, cgroups: Cgroups, hurt: Victim, client: Client, scratch: Path) -> None:
        self.cgroups, self.victim, self.client, self.scratch = cgroups, hurt, client, scratch
        self.clock, self.host = SystemClock(), HostFs()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._bystanders: dict[str, subprocess.Popen[bytes]] = {}

    # --- offline work

    def bystanders(self) -> None:
        """One in each of four cgroups; the fifth does nothing until it is its turn."""
        for path in OFFLINE:
            self._stand_by(path)

    def _stand_by(self, path: str) -> None:
        kind = dict(zip(OFFLINE, _BYSTANDERS, strict=True))[path]
        script = str(Path(bystander.__file__))
        argv = [sys.executable, "-S", script, kind, str(self.scratch / "w")]
        self._bystanders[path] = self.cgroups.start(path, argv)

    def begin(self, path: str, what: Antagonist) -> None:
        self.cgroups.set_shares(OFFLINE_ROOT, OFFLINE_SHARES[what.intensity])
        if what.memory is not None:
            self.cgroups.set_memory_limit(path, what.memory)
        if what.cores is not None:
            self.cgroups.set_quota(path, what.cores)
        argv = [program("stress-ng"), "--quiet", "--oomable", *what.arguments]
        self._running[path] = self.cgroups.start(path, argv, peers.environment())

    def end(self, path: str) -> None:
        """The cgroup is as before, its bystander too."""
        self.cgroups.empty(path)
        self._running.pop(path).wait()
        self._bystanders.pop(path).wait()
        self.cgroups.set_memory_limit(path, None)
        self.cgroups.set_quota(path, None)
        self.cgroups.set_shares(OFFLINE_ROOT, OFFLINE_SHARES[0])
        for left in self.scratch.glob("tmp-stress-ng-*"):
            shutil.rmtree(left)
        self._stand_by(path)

    # --- what is read

    def sampler(self, programs: Mapping[str, KernelProgram], slo: SloReader) -> Sampler:
        kubepods = Kubepods(self.host)
        offline = Offline((OFFLINE_ROOT,))
        chosen = PodSubjects(kubepods, offline, self.clock.monotonic)

        def map_of(name: str, table: str) -> BpfMap | None:
            return programs[name].maps.get(table) if name in programs else None

        usage = Usage()
        sources = (*node_sources(self.host), *workloads(self.host, usage, self.clock).sources)
        readers: dict[str, Read] = {
            each.name: each.make() for each in sources if "fast" in each.tiers
        }
        readers["subjects"] = SubjectReader(kubepods, chosen, MEASURES)
        readers["containers"] = ContainerReader(self.host, kubepods, chosen)
        readers["run queues"] = RunQueueReader(self.host, self.clock, map_of, chosen)
        readers["busiest processor"] = ProcessorReader(self.host)
        readers["slo"] = slo
        return Sampler(self.clock, readers)


@contextmanager
def machine(latencies: Path) -> Iterator[Machine]:
    """Everything runs, the client too, whose answers go to that file."""
    if os.geteuid():
        raise SystemExit("interference: needs root, for cgroups and BPF")
    CACHE.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=CACHE)))
        scratch = CACHE / "scratch"
        scratch.mkdir(exist_ok=True)
        cgroups = stack.enter_context(pods(HostFs()))
        hurt = stack.enter_context(victim(cgroups, folder, scratch))
        found = Machine(cgroups, hurt, hurt.ask(latencies), scratch)
        found.bystanders()
        yield found


@contextmanager
def kernel_programs() -> Iterator[dict[str, KernelProgram]]:
    """runqlat and preemptions, as far as this kernel takes them."""
    programs: dict[str, KernelProgram] = {}
    try:
        for name in ("runqlat", "preemptions"):
            try:
                programs[name] = load(read_program(ROOT / "bpf" / f"{name}.yaml"))
            except BpfError as error:
                print(f"interference: without {name}: {error}", file=sys.stderr)
        yield programs
    finally:
        for each in programs.values():
            each.close()


__all__ = ["CACHE", "VICTIM", "Machine", "kernel_programs", "machine"]
