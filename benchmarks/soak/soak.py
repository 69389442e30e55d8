"""One soak from its start to its end: who runs, how long, what is read, what is looked at last."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.soak import afterwards
from benchmarks.soak.afterwards import Kept, Line
from benchmarks.soak.agents import Subject
from benchmarks.soak.children import Child
from benchmarks.soak.faults import CALM, Faults, inventory, write
from benchmarks.soak.figures import Span
from benchmarks.soak.ground import Ground, ground
from benchmarks.soak.scraping import Scrape
from tests.peers import free_port

AGENTS = ("steady", "killed")
SCRAPE_EVERY_SECONDS = 10.0
CGROUPS_PER_MINUTE = 1000.0
READ_SECONDS, COUNT_SECONDS, SAY_SECONDS = 5.0, 15.0, 60.0
READY_SECONDS = 90.0
SETTLE_SECONDS, CALM_SECONDS = 20.0, 60.0
PREFIXES = ("kernmesh.io/", "labeller.soak/")


class Outcome(NamedTuple):
    """All that a report needs. `late` is what still stood when load and reasons were gone for
    CALM_SECONDS, `left` what stands when all have stopped; both by what it is."""

    seconds: float
    began: float
    limit_mb: int
    subjects: dict[str, Subject]
    scrapes: list[Scrape]
    faults: dict[str, int]
    full: list[Span]
    churned: dict[str, float]
    late: dict[str, list[str]]
    left: dict[str, list[str]]
    kept: dict[str, dict[str, Kept | None]]
    lines: dict[str, list[Line]]
    exits: dict[str, int | None]


class Failed(Exception):
    """It could not be run, and why."""


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends it as ^C does: everything is taken away."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def soak(minutes: float, limit_mb: int, say: "Say") -> Outcome:
    """Raises Failed, OSError, SystemExit."""
    with interruptible(), ground(AGENTS) as made:
        return _Soak(made, limit_mb, say).run(minutes * 60)


class Say:
    """Progress on standard error, in minutes since the load began."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def restart(self) -> None:
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        print(f"soak {minutes:3d}:{seconds:02d} {text}", file=sys.stderr, flush=True)


class _Soak:
    def __init__(self, made: Ground, limit_mb: int, say: Say) -> None:
        self._ground, self._say, self._limit_mb = made, say, limit_mb
        self._work = made.folder / "work"
        self._before = afterwards.settled(made, AGENTS)
        self._events = (made.folder / "events.jsonl").open("w", buffering=1)
        self._readings = (made.folder / "readings.jsonl").open("w", buffering=1)
        controller, api = free_port(), free_port()
        self._api = f"http://127.0.0.1:{api}"
        self._inventory = self._work / "inventory.yaml"
        kubeconfig = self._work / "kubeconfig"
        ports = {name: free_port() for name in AGENTS}
        self._children = self._make_children(controller, api, ports)
        for name in ("api", "controller"):
            self._children[name].start()
        self._wait(kubeconfig.exists, "the API server", "api")
        for name in AGENTS:
            write(self._work / f"{name}.rules.yaml", CALM)
        self._subjects = {
            name: Subject(made, name, port, f"http://127.0.0.1:{controller}", kubeconfig, limit_mb)
            for name, port in ports.items()
        }
        self._faults = Faults(
            made,
            self._subjects,
            {name: self._children[name] for name in ("controller", "api", "labeller")},
            self._inventory,
            self._event,
        )

    def _make_children(self, controller: int, api: int, ports: dict[str, int]) -> dict[str, Child]:
        work, python = self._work, sys.executable
        labeller = free_port()
        write(self._inventory, inventory(0, list(AGENTS)))
        (work / "controller.yaml").write_text(
            f"server: {{listen: ['127.0.0.1:{controller}'], lifecycle: true}}\n"
            f"inventory: {self._inventory}\nrefresh: 2s\n"
            "setting: {interval: 10, timeout: 1, ip_protocol: ip4}\n"
            f"mesh: {{agent_port: {ports['steady']}}}\n"
        )
        addresses = ", ".join(f"soak-{name}: '127.0.0.1:{port}'" for name, port in ports.items())
        (work / "labeller.yaml").write_text(
            f"server: {{listen: ['127.0.0.1:{labeller}']}}\nkubeconfig: {work}/kubeconfig\n"
            f"interval: 5s\nagents: {{addresses: {{{addresses}}}}}\nenter: {{of: 2, at_least: 2}}\n"
            "hold: 10s\nkeys: {prefix: labeller.soak/}\nclear_on_stop: true\ntaint: true\n"
            "condition: false\n"
            "lease: {namespace: soak, duration: 6s, renew_within: 4s, retry: 1s}\n"
            "levels: {cpu: {high: 60, low: 50}, mem: null}\n"
        )
        cli = (python, "-m", "exporter.cli")
        programs: dict[str, tuple[str | Path, ...]] = {
            "api": (python, "-m", "benchmarks.soak.api", str(api), work / "api.json",
                    *(f"soak-{name}" for name in AGENTS)),
            "controller": (*cli, "controller", "--config", work / "controller.yaml"),
            "labeller": (*cli, "labeller", "--config", work / "labeller.yaml"),
            "scrapers": (python, "-m", "benchmarks.soak.scrapers",
                         self._ground.folder / "scrapes.jsonl", str(SCRAPE_EVERY_SECONDS),
                         *(f"{name}={port}" for name, port in ports.items())),
            "churn": (python, "-m", "benchmarks.soak.churn", str(CGROUPS_PER_MINUTE), self._api,
                      *AGENTS),
        }  # fmt: skip
        (self._ground.folder / "scrapes.jsonl").unlink(missing_ok=True)
        return {
            name: Child(self._ground, name, argv, {"TMPDIR": str(work)})
            for name, argv in programs.items()
        }

    def _wait(self, what: Callable[[], bool], name: str, child: str = "") -> None:
        until = time.monotonic() + READY_SECONDS
        while not what():
            if time.monotonic() > until or (child and not self._children[child].runs):
                files = [s.life.log for s in self._subjects.values()] if not child else []
                files += [self._children[child].log] if child else []
                log = "\n".join(each.read_text()[-1000:] for each in files)
                raise Failed(f"{name} did not begin within {READY_SECONDS:.0f} s\n{log[-2000:]}")
            time.sleep(0.05)

    def _event(self, text: str) -> None:
        print(json.dumps({"at": time.monotonic(), "event": text}), file=self._events)

    def _all_ready(self) -> bool:
        for subject in self._subjects.values():
            if subject.died():
                self._event(f"{subject.name} {subject.lives[-2].how}")
        return all(subject.life.ready is not None for subject in self._subjects.values())

    # --- the load

    def run(self, seconds: float) -> Outcome:
        self._wait(self._all_ready, "the agents")
        self._say.restart()
        self._say(f"both agents are ready; {seconds / 60:g} minutes of load begin")
        began = time.monotonic()
        for name in ("labeller", "scrapers", "churn"):
            self._children[name].start()
        self._faults.begin(seconds)
        next_read = next_count = began
        next_say = began + SAY_SECONDS
        while (now := time.monotonic()) < began + seconds:
            self._faults.run_due()
            for subject in self._subjects.values():
                if subject.died():
                    self._event(f"{subject.name} {subject.lives[-2].how}")
            if now >= next_read:
                next_read = now + READ_SECONDS
                self._read()
            if now >= next_count:
                next_count = now + COUNT_SECONDS
                for subject in self._subjects.values():
                    subject.count()
            if now >= next_say:
                next_say += SAY_SECONDS
                self._say(self._progress())
            for name in ("scrapers", "churn"):
                if not self._children[name].runs:
                    log = self._children[name].log.read_text()
                    raise Failed(f"{name} ended\n{log[-2000:]}")
            time.sleep(0.1)
        return self._finish(began, time.monotonic() - began)

    def _read(self) -> None:
        for name, subject in self._subjects.items():
            found = subject.read()
            row = {
                "agent": name,
                "at": found.at,
                "life": found.life,
                "held": found.held and {
                    **found.held._asdict(),
                    "bpf": {kind: len(ids) for kind, ids in found.held.bpf.items()},
                },
                "charged": found.charged and found.charged._asdict(),
            }  # fmt: skip
            print(json.dumps(row), file=self._readings)

    def _progress(self) -> str:
        parts = []
        for name, subject in self._subjects.items():
            last = subject.readings[-1]
            if last.held is not None and last.charged is not None:
                parts.append(
                    f"{name}: RSS {last.held.rss_mb:.1f} MB, cgroup "
                    f"{last.charged.usage_mb:.0f} MB, {last.held.fds} fds, life {last.life}"
                )
        counts = ", ".join(f"{what} {count}" for what, count in self._faults.counts.items())
        return "; ".join([*parts, counts])

    # --- the end

    def _finish(self, began: float, seconds: float) -> Outcome:
        self._children["churn"].end()
        churned = _churned(self._children["churn"].log)
        self._children["scrapers"].end()
        self._faults.end()
        self._say("the load is over; waiting for calm")
        late = self._calm()
        for subject in self._subjects.values():
            subject.read()
            subject.count()
        exits = {name: subject.stop(30) for name, subject in self._subjects.items()}
        exits |= {name: self._children[name].end() for name in ("labeller", "controller")}
        self._say("all have stopped; looking at what is left")
        left = {
            "throttled": afterwards.changed(
                self._before, afterwards.settled(self._ground, AGENTS)
            ),
            "marks": self._marks(),
            "files": afterwards.files_left(
                path for s in self._subjects.values() for path in (s.state, s.temporary)
            ),
            "bpf": [
                f"{name}: {each}"
                for name, subject in self._subjects.items()
                for each in afterwards.bpf_left(subject.bpf_ids)
            ],
        }  # fmt: skip
        self._children["api"].end()
        return Outcome(
            seconds,
            began,
            self._limit_mb,
            self._subjects,
            _scrapes(self._ground.folder / "scrapes.jsonl"),
            self._faults.counts,
            self._faults.full,
            churned,
            late,
            left,
            {name: self._kept(subject) for name, subject in self._subjects.items()},
            self._lines(),
            exits,
        )

    def _calm(self) -> dict[str, list[str]]:
        """What is not as it was although nothing is the matter any more, after some time."""
        began = time.monotonic()
        while True:
            late = {
                "throttled": afterwards.changed(
                    self._before, afterwards.settled(self._ground, AGENTS)
                ),
                "marks": [each for each in self._marks() if each.endswith("-schedule")],
            }
            waited = time.monotonic() - began  # a lease is taken over, Nodes are written
            if waited > CALM_SECONDS or (waited > SETTLE_SECONDS and not any(late.values())):
                return late
            time.sleep(1)

    def _marks(self) -> list[str]:
        try:
            return afterwards.marks(self._api, PREFIXES)
        except OSError as error:
            return [f"the API does not answer: {error}"]

    def _kept(self, subject: Subject) -> dict[str, Kept | None]:
        shift = time.time() - time.monotonic()
        away = [
            Span(life.begun + shift - 1, (life.ready or life.begun) + shift + 12)
            for life in subject.lives
        ]
        return {
            tier: afterwards.history(subject.state / f"{tier}.usage", away)
            for tier in ("fast", "slow")
        }

    def _lines(self) -> dict[str, list[Line]]:
        found = {
            name: afterwards.told(life.log.read_text(errors="replace") for life in subject.lives)
            for name, subject in self._subjects.items()
        }
        for name in ("controller", "labeller", "api", "scrapers", "churn"):
            child = self._children[name]
            if child.log.exists():
                found[name] = afterwards.told([child.log.read_text(errors="replace")])
        return found


def _scrapes(file: Path) -> list[Scrape]:
    found = []
    for line in file.read_text().splitlines():
        with suppress(ValueError):  # the last one may be half
            found.append(Scrape(**json.loads(line)))
    return found


def _churned(log: Path) -> dict[str, float]:
    last: dict[str, float] = {}
    for line in log.read_text().splitlines():
        with suppress(ValueError):
            last = json.loads(line)
    return last
