"""All of detection put together for the agent: rules, feeds, roster, actions, the thread.

The only module that knows them all; parts/interference.py imports it only where rules are
configured.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from exporter.actuator.client import Ask
from exporter.actuator.protocol import Run
from exporter.clock import Clock
from exporter.config import AgentConfig
from exporter.errors import ConfigError, KernmeshError
from exporter.hostfs import HostFs
from exporter.interference.actions import Actions, make_actions
from exporter.interference.answer import Asked, InterferenceJson, answer
from exporter.interference.board import Board
from exporter.interference.driver import Driver, Step
from exporter.interference.feeds import Feeds
from exporter.interference.metrics import Doing
from exporter.interference.model import RuleSet
from exporter.interference.needs import Needs, Taken, take_rules
from exporter.interference.roster import Roster
from exporter.interference.sources.cgroup_maps import FindMap
from exporter.interference.sources.slo import SloReader, from_url
from exporter.interference.this_node import this_node
from exporter.interference.watching import Kept, Watching
from exporter.usage.history import History
from exporter.usage.series import Source
from exporter.usage.statedir import now_of
from exporter.usage.workloads import Workloads

ASK_SECONDS = 10.0
_NO_RULES = RuleSet((), (), ())

log = logging.getLogger(__name__)


class Room:
    """`sources` before the history begins, then `start`; `read` and `take` at a reload."""

    def __init__(
        self,
        config: AgentConfig,
        clock: Clock,
        host: HostFs,
        node: str,
        ask: Ask,
        map_of: FindMap,
        restarts: Callable[[], int],
    ) -> None:
        """A rules file that is bad leaves no rules, and a problem."""
        self._config, self._clock, self._host, self._node = config, clock, host, node
        self._ask, self._map_of, self._restarts = ask, map_of, restarts
        self._problems: tuple[str, ...] = ()
        self._facts = this_node(host)
        self._taken: Taken | None = None
        try:
            self._taken = take_rules(str(config.interference.rules), self._facts)
        except ConfigError as error:
            self._problems = tuple(f"no interference rules: {each}" for each in error.problems)
            for problem in self._problems:
                log.error(problem)
        self._pending: Taken | None = None
        self._roster: Roster | None = None
        self._feeds: Feeds | None = None
        self._actions: Actions | None = None
        self._watching: Watching | None = None
        self._slo = self._applications()
        self._stop = threading.Event()
        self._slo_problems: tuple[str, ...] = ()
        self._say_warnings()

    # --- put together

    def sources(self, work: Workloads) -> Sequence[Source]:
        jobs: tuple[str, ...] = ()
        if self._config.usage.jobs_in_cgroups and work.jobs is not None:
            jobs = tuple(work.jobs.processes())
        self._roster = Roster(work.kubepods, work.offline, work.names, self._clock.monotonic, jobs)
        self._feeds = Feeds(
            self._host, self._clock, work.kubepods, self._roster, self._map_of, self._slo
        )
        self._feeds.need(self.needs)
        return self._feeds.sources()

    def watch(self, history: History) -> None:
        """To be started with `start`."""
        assert self._roster is not None
        folder = self._config.usage.state_dir
        kept = Kept(Path(folder) if folder else None, now_of(self._clock, self._host).boot)
        driver = Driver(self._taken.set if self._taken else _NO_RULES)
        self._watching = Watching(driver, history, self._roster, self._clock, kept)
        self._act(driver)

    def start(self) -> None:
        assert self._watching is not None
        self._watching.start()
        if self._slo is not None:
            threading.Thread(target=self._ask_applications, name="slo", daemon=True).start()

    def close(self) -> None:
        self._stop.set()
        if self._watching is not None:
            self._watching.close()
        if self._actions is not None:
            self._actions.close()

    # --- reloads

    def read(self, now: AgentConfig) -> None:
        """Raises ConfigError, and nothing is taken then."""
        if now.interference.rules is not None:
            self._pending = take_rules(now.interference.rules, self._facts)

    def take(self, now: AgentConfig) -> None:
        """By what was read last. Blocks while a tick lasts."""
        before, self._config = self._config, now
        assert self._watching is not None
        pending, self._pending = self._pending, None
        if pending is not None:
            self._taken, self._problems = pending, ()
            if self._feeds is not None:
                self._feeds.need(pending.needs)
            self._watching.change(lambda driver: driver.replace(pending.set))
            self._say_warnings()
        old, new = before.interference, now.interference
        if (old.dry_run, old.confirm) != (new.dry_run, new.confirm):
            self._watching.change(self._act)

    def _act(self, driver: Driver) -> list[Step]:
        assert self._watching is not None
        assert self._roster is not None
        wanted, before = self._config.interference, self._actions
        actions = make_actions(
            self._ask,
            self._clock,
            dry_run=wanted.dry_run,
            confirm=wanted.confirm,
            node=self._node,
            used=self._watching.used,
            pods=self._roster.offline_elsewhere,
        )
        steps = driver.act_by(actions, confirm=wanted.confirm and not wanted.dry_run)
        self._actions = actions
        if before is not None:
            before.close()
        return steps

    # --- what others see

    @property
    def needs(self) -> Needs:
        return self._taken.needs if self._taken is not None else Needs()

    def schedule_wanted(self) -> bool | None:
        """None before the first tick and where ticks fail: then nobody knows."""
        watching = self._watching
        if watching is None or self._actions is None or not watching.board.ticks:
            return None
        return None if watching.problem else self._actions.schedule.wanted

    def problems(self) -> Iterator[str]:
        yield from self._problems
        yield from self._slo_problems
        if self._watching is not None:
            if self._watching.problem:
                yield self._watching.problem
            for rule, text in self._watching.board.fault_texts.items():
                yield f"rule {rule} cannot be asked: {text}"
        if self._roster is not None and self._roster.left_out:
            yield f"interference: {self._roster.left_out} pods beyond those that are looked at"

    def doing(self) -> Doing:
        assert self._actions is not None
        counts = list(self._actions.webhook.counts().values())
        return Doing(
            dry_run=self._config.interference.dry_run,
            schedule=self._actions.schedule.wanted,
            evictions=len(self._actions.evictions.requests()),
            actuator_restarts=self._restarts(),
            webhook=(
                sum(c[0] for c in counts),
                sum(c[1] for c in counts),
                sum(c[2] for c in counts),
            ),
        )

    def board(self) -> Board:
        assert self._watching is not None
        return self._watching.board

    def answer(self) -> InterferenceJson:
        assert self._watching is not None
        assert self._actions is not None
        asked = Asked(self._actions.schedule.reasons(), tuple(self._actions.evictions.requests()))
        dry = self._config.interference.dry_run
        return answer(self._watching.board, self._node, dry, asked, tuple(self.problems()))

    # --- inside

    def _say_warnings(self) -> None:
        for warning in self._taken.set.warnings if self._taken else ():
            log.warning("interference rules: %s", warning)

    def _applications(self) -> SloReader | None:
        wanted = self._config.interference
        asks = {str(url): from_url(str(url)) for url in wanted.urls}
        asks |= {f"command {name}": self._command(name) for name in wanted.commands}
        return SloReader(self._clock, asks, ASK_SECONDS) if asks else None

    def _command(self, name: str) -> Callable[[], bytes]:
        def ask() -> bytes:
            said = self._ask(Run(command=name))
            if said.refused or said.status:
                raise KernmeshError(f"command {name}: {said.refused or f'exit {said.status}'}")
            return said.output.encode()

        return ask

    def _ask_applications(self) -> None:
        assert self._slo is not None
        while True:
            if self.needs.slo:
                problems = tuple(self._slo.ask_all())
                for problem in set(problems) - set(self._slo_problems):
                    log.warning("slo: %s", problem)
                self._slo_problems = problems
            if self._stop.wait(ASK_SECONDS):
                return
