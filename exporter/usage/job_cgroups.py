"""Online jobs in cgroups of their own (Caelus' pid_to_cgroup), so that signals per cgroup exist.

The rule: opt-in, and not done here: the actuator is asked, which knows where each process was and
moves it back. New processes are asked for as they are seen; all of them again after it was started
anew. What may be moved it decides.
"""

import logging
from collections.abc import Sequence
from typing import Protocol

from exporter.actuator.protocol import MOST_PIDS, Answer, AnyRequest, Move, Process
from exporter.usage.jobs import Jobs

log = logging.getLogger(__name__)


class Asked(Protocol):
    """What is needed of an Actuator."""

    @property
    def starts(self) -> int: ...

    def ask(self, request: AnyRequest) -> Answer: ...


class JobCgroups:
    """Call `follow` as often as jobs are read. Not for several threads."""

    def __init__(self, jobs: Jobs, names: Sequence[str], actuator: Asked) -> None:
        """`names` are those of the jobs to move, which the actuator was started with."""
        self._jobs, self._names, self._actuator = jobs, frozenset(names), actuator
        self._asked: set[tuple[int, int]] = set()
        self._starts = 0
        self.moved = 0
        """Processes that were moved, in all."""

    def follow(self) -> int:
        """How many were moved now."""
        if self._actuator.starts != self._starts:  # it has moved all of them back
            self._starts = self._actuator.starts
            self._asked.clear()
        found = self._jobs.processes()
        everything = {each for name in self._names for each in found.get(name, ())}
        self._asked &= everything
        before = self.moved
        for name in sorted(self._names & found.keys()):
            new = [each for each in found[name] if each not in self._asked]
            for at in range(0, len(new), MOST_PIDS):
                some = new[at : at + MOST_PIDS]
                processes = tuple(Process(pid, began) for pid, began in some if pid > 1)
                answer = self._actuator.ask(Move(job=name, processes=processes))
                self.moved += answer.moved
                if answer.moved:
                    log.info(
                        "job %s: %d processes moved into /kernmesh/%s", name, answer.moved, name
                    )
                if not answer.refused:
                    self._asked.update(some)
        return self.moved - before
