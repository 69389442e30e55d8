"""A program loaded, put under its load, and read before and after: what it counted, and what user
space knows to have happened.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client.samples import Sample

from exporter.decoders import chain
from exporter.decoders.context import DecodeContext
from exporter.ebpf.backends import load
from exporter.ebpf.collector import ProgramCollector
from exporter.ebpf.kernel import Options
from exporter.ebpf.loaded import KernelProgram
from exporter.ebpf.spec import Program
from exporter.ebpf.start import metrics_of
from tests.programs.ground import Ground
from tests.programs.loads import Load, Want

MAX_SERIES = 10_000


class Seen(NamedTuple):
    """What of a Want was counted, in all."""

    want: Want
    counted: float

    @property
    def enough(self) -> bool:
        return self.counted >= self.want.at_least


class Runs(NamedTuple):
    """Of all functions by the kernel's count, where it counts (kernel.bpf_stats_enabled)."""

    times: int
    ns: int


class Counted(NamedTuple):
    """`events` is all that the program counted meanwhile, whoever made it. `loaded` is open."""

    loaded: KernelProgram
    problems: Sequence[str]
    events: float
    seen: Sequence[Seen]


CORE = Options(backend="core")


def counted(
    program: Program, context: DecodeContext, ground: Ground, make: Load, options: Options = CORE
) -> Counted:
    """Raises BpfError where it does not load, and what the load raises. The caller closes
    `loaded`."""
    loaded = load(program, options)
    try:
        decoders = {
            metric.name: [chain(label, context) for label in metric.labels]
            for metric in metrics_of(program.spec)
        }
        collector = ProgramCollector(loaded, program.spec, "", MAX_SERIES, decoders)
        before = _samples(collector, without_gauges=True)
        wants = make(ground)
        # What the kernel does after it has answered.
        time.sleep(0.05)
        after = _samples(collector)
        return Counted(
            loaded,
            collector.problems,
            _total(after, Want()) - _total(before, Want()),
            [Seen(want, _total(after, want) - _total(before, want)) for want in wants],
        )
    except BaseException:
        loaded.close()
        raise


def runs_of(loaded: KernelProgram) -> Runs:
    """Since it was loaded."""
    functions = loaded.functions()
    return Runs(
        sum(each.run_count or 0 for each in functions),
        sum(each.run_time_ns or 0 for each in functions),
    )


def _samples(collector: ProgramCollector, without_gauges: bool = False) -> list[Sample]:
    families = [m for m in collector.collect() if not (without_gauges and m.type == "gauge")]
    return [sample for family in families for sample in family.samples]


def _total(samples: Sequence[Sample], want: Want) -> float:
    return sum(
        sample.value
        for sample in samples
        if not sample.name.endswith(("_bucket", "_sum"))
        and sample.name.startswith(want.metric)
        and want.labels.items() <= sample.labels.items()
    )
