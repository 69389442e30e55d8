"""What goes wrong, and when: a timetable, and each fault of it. All in the soak's main thread."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.soak.agents import Subject
from benchmarks.soak.children import Child
from benchmarks.soak.figures import Span
from benchmarks.soak.ground import Ground

KILLS = ("agent", "all", "agent", "actuator", "agent")
BAD_RULES = "rule_check:\n  node_rules:\n    - {name: bad, rulez: []}\n"
ALWAYS, NEVER = "cpu_avg > 0.001", "load_1min > 100000"
_RULE = """\
rule_check:
  node_rules:
    - name: cpu
      check_interval: 1s
      handle_interval: 2s
      recover_interval: 2s
      longest_clear: 0
      rules:
        - detects: [{{name: expression, args: {{expression: "{condition}"}}}}]
          clear: 2s
          actions:
            - {{name: preempt}}
            - {{name: schedule}}
            - name: adjust
              args:
                op: and
                resources:
                  - {{resource: cpu, step: {step}m}}
                  - {{resource: memory, step: 64Mi}}
  container_rules:
    - name: waits
      check_interval: 1s
      handle_interval: 2s
      recover_interval: 2s
      rules:
        - any:
            - {{name: runq, args: {{quantile: 0.95, delay: 4ms, window: 5s}}}}
            - {{name: psi, args: {{resource: cpu, threshold: 0.25, window: 6s}}}}
          clear: 2s
          actions:
            - {{name: log}}
"""


def rules(turn: int) -> str:
    """One that always fires, another that does, one that never does, and one that is none."""
    kind = turn % 4
    if kind == 3:
        return BAD_RULES
    return _RULE.format(condition=NEVER if kind == 2 else ALWAYS, step=300 if kind else 200)


CALM = _RULE.format(condition=NEVER, step=200)


def inventory(turn: int, agents: list[str]) -> str:
    """Five nodes, or sixty, or another forty; the agents among them."""
    count, first = ((5, 1), (60, 1), (40, 61))[turn % 3]
    lines = [
        f"  soak-{name}: {{zone: z1, rack: r1, ips: [127.0.0.{1 + place}]}}"
        for place, name in enumerate(agents)
    ]
    lines += [
        f"  node-{number}: {{zone: z{number % 3}, rack: r{number % 7}, ips: [127.0.2.{number}]}}"
        for number in range(first, first + count)
    ]
    return "nodes:\n" + "\n".join(lines) + "\n"


class Turn(NamedTuple):
    at: float
    act: Callable[[], None]


class Faults:
    """`tell(text)` gets each of them. `full` are the times when the disk was, `away` by child when
    it was not there."""

    def __init__(
        self,
        ground: Ground,
        subjects: dict[str, Subject],
        children: dict[str, Child],
        inventory_file: Path,
        tell: Callable[[str], None],
    ) -> None:
        self._ground, self._subjects, self._children = ground, subjects, children
        self._inventory, self._tell = inventory_file, tell
        self._dice = random.Random(9)
        self._turns: list[Turn] = []
        self._changes = self._kills = 0
        self.full: list[Span] = []
        self.counts: dict[str, int] = {}

    def begin(self, seconds: float) -> None:
        """Plans all for so long: each fault three times at least, and not in the last tenth."""
        now, last = time.monotonic(), seconds * 0.9
        self._every(now, 10, 10, last, self._change)
        self._every(now, 20, min(30, seconds / 5), last, self._kill)
        for name, every, away in (("controller", 60, 12), ("api", 75, 15), ("labeller", 100, 1)):
            period = min(every, seconds / 3)
            self._every(now, period / 2, period, last, lambda n=name, a=away: self._away(n, a))  # type: ignore[misc]
        period = min(120, seconds / 3)
        self._every(now, period / 1.5, period, last, lambda: self._full(min(20, period / 2)))

    def _every(
        self, now: float, first: float, period: float, last: float, act: Callable[[], None]
    ) -> None:
        at = first
        while at <= last:
            self._turns.append(Turn(now + at + self._dice.uniform(-0.2, 0.2) * period, act))
            at += period

    def run_due(self) -> None:
        now = time.monotonic()
        due = sorted((each for each in self._turns if each.at <= now), key=lambda turn: turn.at)
        self._turns = [each for each in self._turns if each.at > now]
        for turn in due:
            turn.act()

    def end(self) -> None:
        """All is there again, and no rule has a reason to fire."""
        self._turns.clear()
        if self.full and self.full[-1].end == float("inf"):
            self._empty()
        for child in self._children.values():
            child.start()
        for subject in self._subjects.values():
            write(subject.rules, CALM)
            subject.reload("signal")

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        self._tell(what)

    def _change(self) -> None:
        turn = self._changes
        self._changes += 1
        write(self._inventory, inventory(turn, list(self._subjects)))
        self._children["controller"].signal(signal.SIGHUP)
        for subject in self._subjects.values():
            write(subject.rules, rules(turn))
            subject.reload("request" if turn % 2 else "signal")
        self._count("change")

    def _kill(self) -> None:
        how = KILLS[self._kills % len(KILLS)]
        self._kills += 1
        self._subjects["killed"].kill(how)
        self._count(f"kill {how}")

    def _away(self, name: str, seconds: float) -> None:
        child = self._children[name]
        child.kill()
        self._turns.append(
            Turn(time.monotonic() + self._dice.uniform(0.5, 1) * seconds, child.start)
        )
        self._count(f"kill {name}")

    def _full(self, seconds: float) -> None:
        self._ground.fill()
        self.full.append(Span(time.monotonic(), float("inf")))
        self._turns.append(Turn(time.monotonic() + seconds, self._empty))
        self._count("disk full")

    def _empty(self) -> None:
        self._ground.empty()
        self.full[-1] = Span(self.full[-1].begin, time.monotonic())


def write(path: Path, text: str) -> None:
    """Whole, as whoever manages files does: nobody reads half of it."""
    new = path.with_suffix(".writing")
    new.write_text(text)
    new.replace(path)
