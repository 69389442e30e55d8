"""An agent under test: its configuration, its lives, and what is read of it while it lives."""

import http.client
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.soak import watch
from benchmarks.soak.children import start
from benchmarks.soak.figures import Span
from benchmarks.soak.ground import Ground, batch, of_agent
from benchmarks.soak.watch import Charged, Held

LIMIT_MB = 96
"""MiB, in all that runs in an agent's cgroup, maps included."""
COUNTED = (
    "kernmesh_ebpf_events_lost_total",
    "kernmesh_ebpf_events_counted_total",
    "kernmesh_ebpf_map_refused_updates_total",
    "kernmesh_ebpf_missed_runs_total",
    "kernmesh_ebpf_program_up",
    "kernmesh_interference_actions_total",
    "kernmesh_pressure_writes_total",
)
_POLL_SECONDS = 0.02
_NEVER_SECONDS = 120.0
CONFIG = """\
server: {{lifecycle: true}}
ebpf: {{programs: all}}
usage:
  state_dir: {state}
  pods: {{names: api}}
  offline: {{cgroups: [{offline}]}}
pingmesh: {{controller: "{controller}", allow: [loopback], responder: {responder}}}
interference: {{rules: {rules}, dry_run: false}}
pressure:
  enabled: true
  node: soak-{name}
  kubeconfig: {kubeconfig}
  taint: true
  levels: {{cpu: {{high: 60, low: 50}}, mem: null}}
  enter: {{of: 3, at_least: 2}}
  hold: 20s
"""


class Life:
    """Monotonic times; `answered` is when the first page came whole, `ready` when it said so.
    `begun` is when the one before it was killed, or when it was started."""

    def __init__(self, number: int, begun: float, log: Path) -> None:
        self.number, self.begun, self.log = number, begun, log
        self.answered: float | None = None
        self.ready: float | None = None
        self.ended: float | None = None
        self.how = ""
        self.counted: dict[str, float] = {}

    @property
    def served(self) -> Span | None:
        """While a scrape is to be answered."""
        if self.ready is None:
            return None
        return Span(self.ready, float("inf") if self.ended is None else self.ended)


class Reading(NamedTuple):
    at: float
    life: int
    held: Held | None
    charged: Charged | None


class Subject:
    def __init__(
        self,
        ground: Ground,
        name: str,
        port: int,
        controller: str,
        kubeconfig: Path,
        limit_mb: int = LIMIT_MB,
    ) -> None:
        work = ground.folder / "work"
        self.name, self.port = name, port
        self.state = ground.state / name
        self.rules = work / f"{name}.rules.yaml"
        self.config = work / f"{name}.yaml"
        self.config.write_text(
            CONFIG.format(
                state=self.state,
                offline=batch(name),
                controller=controller,
                responder="true" if name == "steady" else "false",  # there is one port for it
                rules=self.rules,
                name=name,
                kubeconfig=kubeconfig,
            )
        )
        self.temporary = work / f"{name}.tmp"
        self.temporary.mkdir()
        self.lives: list[Life] = []
        self.readings: list[Reading] = []
        self.bpf_ids: dict[str, set[int]] = {kind: set() for kind in watch.BPF_KINDS}
        self._ground, self._work, self._kubeconfig = ground, work, kubeconfig
        watch.limit_memory(ground, of_agent(name), limit_mb << 20)
        self._begin(time.monotonic())

    @property
    def life(self) -> Life:
        return self.lives[-1]

    @property
    def code(self) -> int | None:
        """Of its last life, once that is over; less than 0: the signal that ended it."""
        return self._process.poll()

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def _begin(self, begun: float) -> None:
        """From the main thread only (children.start)."""
        life = Life(len(self.lives), begun, self._work / f"{self.name}.{len(self.lives)}.log")
        self._process = start(
            self._ground,
            of_agent(self.name),
            [
                *(sys.executable, "-m", "exporter.cli", "agent", "--config", self.config),
                *("--web.listen-address", f"127.0.0.1:{self.port}"),
            ],
            life.log,
            {"TMPDIR": str(self.temporary), "KUBECONFIG": str(self._kubeconfig)},
        )
        self.lives.append(life)
        threading.Thread(target=self._await, args=(life,), daemon=True).start()

    def _await(self, life: Life) -> None:
        until = life.begun + _NEVER_SECONDS
        for path, field in (("/metrics", "answered"), ("/-/ready", "ready")):
            while life.ended is None and time.monotonic() < until:
                if self.ask("GET", path) is not None:
                    setattr(life, field, time.monotonic())
                    break
                time.sleep(_POLL_SECONDS)

    def ask(self, method: str, path: str) -> str | None:
        """None where it is not answered with 200."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            client.request(method, path)
            answer = client.getresponse()
            text = str(answer.read(), "utf-8")
            return text if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            client.close()

    # --- faults

    def kill(self, how: str) -> None:
        """SIGKILL, and it is started anew at once. `how`: "agent": its process, whose actuator
        then puts all back; "all": of everything in its cgroup, as the kernel's OOM killer takes a
        container; "actuator": one of its two processes, and the agent goes on."""
        pids = watch.processes(self._ground, of_agent(self.name))
        if how == "actuator":
            pids = [random.choice([pid for pid in pids if pid != self._process.pid])]
        elif how == "agent":
            pids = [self._process.pid]
        now = time.monotonic()
        if how != "actuator":
            self.life.ended, self.life.how = now, how
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if how != "actuator":
            self._process.wait()
            self._begin(now)

    def died(self) -> bool:
        """Whether it ended and nobody here ended it: then it is started anew."""
        if self.runs or self.life.how:
            return False
        now = time.monotonic()
        self.life.ended, self.life.how = now, f"ended by itself ({self._process.returncode})"
        self._begin(now)
        return True

    def reload(self, by: str) -> None:
        """One that has begun, as who changes its files does."""
        if self.life.answered is None or not self.runs:
            return
        if by == "signal":
            self._process.send_signal(signal.SIGHUP)
        else:
            self.ask("POST", "/-/reload")

    def _signal(self, number: signal.Signals) -> None:
        if self.runs:
            self._process.send_signal(number)

    def stop(self, seconds: float) -> int | None:
        """As an orchestrator does: SIGTERM, and its exit code; None where it had to be killed."""
        self.life.ended, self.life.how = time.monotonic(), "stopped"
        self._signal(signal.SIGTERM)
        until = time.monotonic() + seconds
        while self.runs and time.monotonic() < until:
            time.sleep(0.05)
        if self.runs:
            self._process.kill()
            self._process.wait()
            return None
        return self._process.returncode

    # --- readings

    def read(self) -> Reading:
        held = watch.held(self._process.pid) if self.runs else None
        found = Reading(
            time.monotonic(),
            self.life.number,
            held,
            watch.charged(self._ground, of_agent(self.name)),
        )
        if held is not None:
            for kind, ids in held.bpf.items():
                self.bpf_ids[kind] |= ids
        self.readings.append(found)
        return found

    def count(self) -> None:
        """What it counts of itself, as last seen in this life."""
        page = self.ask("GET", "/metrics?" + "&".join(f"name[]={name}" for name in COUNTED))
        if page is not None:
            self.life.counted = sums(page.splitlines())


def sums(lines: Sequence[str]) -> dict[str, float]:
    """By name, or by name and result where a sample has one."""
    found: dict[str, float] = {}
    for line in lines:
        if line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            name, _, labels = series.partition("{")
            if 'result="' in labels:
                name += " " + labels.partition('result="')[2].partition('"')[0]
            found[name] = found.get(name, 0.0) + float(value)
    return found
