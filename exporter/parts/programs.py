"""eBPF programs as a part of the agent: chosen at the start and at every reload, kept up, shown."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from exporter.clock import Clock
from exporter.config import AgentConfig, Ebpf
from exporter.decoders.context import DecodeContext
from exporter.ebpf import backends, kernel
from exporter.ebpf.collector import ProgramCollector
from exporter.ebpf.maps import BpfMap
from exporter.ebpf.paces import Paces
from exporter.ebpf.refusals import Refusals
from exporter.ebpf.running import Programs
from exporter.ebpf.selection import select
from exporter.ebpf.spec import Program
from exporter.ebpf.start import Settings, start
from exporter.ebpf.status import ProgramsCollector
from exporter.errors import BpfError, KernmeshError
from exporter.hostfs import HostFs
from exporter.metrics.registry import Named, Registry
from exporter.otlp import SpanExport
from exporter.pages.landing import ProgramRow
from exporter.parts.part import Part
from exporter.role import Start
from exporter.threads import in_thread

InThread = Callable[[Callable[[], None], str], Awaitable[None]]
"""A blocking call, and its thread's name."""

# How often programs that want it have idle keys and new cgroups looked for.
UPKEEP_SECONDS = 5.0

log = logging.getLogger(__name__)


class ProgramsPart(Part):
    def __init__(
        self,
        config: AgentConfig,
        clock: Clock,
        host: HostFs,
        registry: Registry,
        besides: Callable[[], Sequence[str]] = tuple,
        load_in: InThread = in_thread,
    ) -> None:
        """`registry` is asked to hold scrapes off while a program is closed. `besides` are programs
        that another part needs, whether they are configured or not. `load_in` is the thread that
        may load programs."""
        self._besides, self._load_in = besides, load_in
        self.sealed = False
        """No program can be loaded any more: this process has let go of what that takes."""
        self._prefix, self._host = config.ebpf.prefix, host
        self._decoding = DecodeContext.of(host, clock)
        self._shown = ProgramsCollector(self._prefix)
        self._programs = Programs(self._shown, registry.quiet)
        self._hooks: Mapping[str, tuple[str, ...]] = {}
        self._paces = Paces(clock)
        self._unread: tuple[str, ...] = ()
        self._spans: SpanExport | None = None
        self._spans_to: tuple[str | None, bool] = (None, False)
        self._spans_problem: str | None = None

    def collectors(self) -> Iterable[Named]:
        yield "ebpf", self._shown

    async def configure(self, now: AgentConfig) -> None:
        settings = replace(now.ebpf, prefix=self._prefix)
        if settings.programs != "all":
            names = dict.fromkeys((*settings.programs, *self._besides()))
            settings = replace(settings, programs=tuple(names))
        before = self._spans
        # Its SDK keeps a thread of its own, which must not be one that may load programs.
        await in_thread(lambda: self._open_spans(settings.otlp), "spans")
        await self._load_in(lambda: self._choose(settings), "programs")
        if before is not None and before is not self._spans:
            before.close()

    async def run(self, start: Start) -> None:
        while True:
            await asyncio.sleep(UPKEEP_SECONDS)
            try:
                await in_thread(self._keep_up, "upkeep")
            except Exception as error:  # what nobody thought of costs this turn, not the agent
                log.error("upkeep failed", exc_info=error)

    def _keep_up(self) -> None:
        self._programs.keep_up()
        self._paces.look(self._programs.running)

    def needs_restart(self, before: AgentConfig, now: AgentConfig) -> Iterable[str]:
        if before.ebpf.prefix != now.ebpf.prefix:
            yield "ebpf.prefix"

    def problems(self) -> Iterator[str]:
        yield from self._unread
        if self._spans_problem:
            yield self._spans_problem
        for name, reason in self._programs.outdated:
            yield f"{name} runs from its files as they were before: {reason}"

    def close(self) -> None:
        self._programs.close()
        if self._spans is not None:
            self._spans.close()

    def rows(self) -> tuple[ProgramRow, ...]:
        """Every program that was asked for: those that run, then those that do not. Asks the kernel
        nothing, so that the loop may call it."""
        on = [
            ProgramRow(
                each.name,
                ", ".join(self._hooks.get(each.name, ())),
                notes=each.problems,
                **self._paces.of(each.name)._asdict(),
            )
            for each in self._programs.running
        ]
        off = [ProgramRow(name, None, reason) for name, reason in self._programs.failed]
        return (*on, *off)

    def map_of(self, program: str, name: str) -> BpfMap | None:
        """None while that program does not run. Any thread may ask."""
        return self._programs.map_of(program, name)

    def running(self) -> int:
        """How many do."""
        return len(self._programs.running)

    def _choose(self, settings: Ebpf) -> None:
        selection = select(settings)
        self._unread = tuple(map(str, selection.unread))
        for problem in self._unread:
            log.warning(problem)
        loading = kernel.Options(
            custom_btf=settings.btf,
            host=self._host,
            backend=settings.backend,
            refusals=Refusals(),
        )
        self._programs.choose(
            selection,
            lambda program: self._start(program, settings, loading),
            (
                *(settings.prefix, settings.max_series, settings.btf, settings.backend),
                settings.otlp,
            ),
            backends.at_once(loading),
        )
        # Asked for here, where programs change: the page shows them without asking the kernel.
        self._hooks = {each.name: _hooks(each) for each in self._programs.running}

    def _start(self, program: Program, settings: Ebpf, loading: kernel.Options) -> ProgramCollector:
        if self.sealed:
            raise BpfError(
                "is new or changed, and kernmesh has let go of the privileges that loading takes: "
                "restart it (or set privileges.drop: false, and restart it once)"
            )
        spans = self._spans.send if self._spans else None
        wanted = Settings(settings.prefix, settings.max_series, loading, spans)
        return start(program, wanted, self._decoding)

    def _open_spans(self, address: str | None) -> None:
        """Spans go to this collector from now on."""
        if self._spans_to == (address, self._spans is not None):
            return
        self._spans, self._spans_problem = None, None
        if address is not None:
            try:
                self._spans = SpanExport(address)
            except KernmeshError as error:
                self._spans_problem = str(error)
                log.warning(self._spans_problem)
        self._spans_to = (address, self._spans is not None)


def _hooks(collector: ProgramCollector) -> tuple[str, ...]:
    try:
        functions = collector.loaded.functions()
    except BpfError:  # the end has just closed it
        return ()
    return tuple(dict.fromkeys(each.hook for each in functions if each.attached))
