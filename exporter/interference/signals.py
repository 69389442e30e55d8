"""How each variable is read from series of the store: which series, and what is reckoned of them.

The rule: a variable is a pure function of its series at one tick, counters as rates per second,
so it means the same live and in replay, at the newest tick and in a window. What one of its
series does not tell is missing. Knows names of series; no store, no files, no rules.

Beside variables.py's names there are those that only detectors ask for, `name[part]`,
and runq_waits, all waits per second:
    runq_waits[4096]         waits for a CPU per second, above 2,048 and at most 4,096 µs
    offline_waits[4096]      of them those for offline work, by how long that held the CPU meanwhile
    waited_behind[path]      seconds per second that it waited while that cgroup held the CPU
    preempted_by[path]       times per second that it was switched out for that cgroup
    slack[metric]            of one metric of a job (value[…] and slo[…] too)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from exporter.interference.model import Subject
from exporter.interference.waits import BOUNDS_MICROSECONDS, held_by_offline, quantile_seconds
from exporter.usage.series import Kind, Series

Reckon = Callable[[Sequence[float]], float | None]


class Signal(NamedTuple):
    """`inputs` in the order that `reckon` takes them (None: there is one, and it is the answer).
    `partial`: an input that is unknown is left out, as long as there is another; else all must be
    known."""

    inputs: tuple[Series, ...]
    reckon: Reckon | None = None
    partial: bool = False


class Devices(NamedTuple):
    """What `$dev` stands for, by name."""

    disks: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


_KIB = 1024.0
_KILOBIT = 125.0  # bytes
_MILLISECOND = 1000.0
_LITTLE_CPU = 0.05  # cores


def signal_of(subject: Subject, name: str, devices: Devices, jobs: Iterable[str]) -> Signal | None:
    """None where the subject can have no such signal. `jobs` are the "job:metric" that values are
    known of."""
    base, _, part = name.removesuffix("]").partition("[")
    if base in _APP:
        return _of_jobs(subject, base, part, jobs)
    if base in _DISK or base in _LINK:
        return _of_devices(base, part, devices)
    if subject.scope == "container":
        thing = f"cgroup/{subject.name.strip('/')}"
        if part:
            found = _PARTS.get(base)
            return None if found is None else Signal((found(thing, part),))
        maker = _CONTAINER.get(base)
        return _BESIDE.get(base) if maker is None else maker(thing)
    if subject.scope == "app":
        return _BESIDE.get(base) if not part else None
    return _NODE.get(base) if not part else None


def _counter(name: str) -> Series:
    return Series(name, "counter")


def _gauge(name: str) -> Series:
    return Series(name, "gauge")


def _scaled(factor: float) -> Reckon:
    return lambda values: values[0] * factor


def _share(values: Sequence[float]) -> float:
    """Of time, or of cores: two clocks that do not tick alike must not make more than all."""
    return min(max(values[0], 0.0), 1.0)


def _quotient(values: Sequence[float]) -> float | None:
    return values[0] / values[1] if values[1] > 0 else None


def _difference(values: Sequence[float]) -> float:
    return max(values[0] - values[1], 0.0)


def _slowed(values: Sequence[float]) -> float:
    """Whoever uses next to no CPU is taken to use a little: a few waits slow nobody down."""
    waited, used = values
    return waited / max(used, _LITTLE_CPU)


def _milliseconds_each(values: Sequence[float]) -> float | None:
    """Seconds that requests took by how many there were; 0 requests took no time to speak of."""
    seconds, requests = sum(values[: len(values) // 2]), sum(values[len(values) // 2 :])
    return _MILLISECOND * seconds / requests if requests > 0 else None


def _waited_each(values: Sequence[float]) -> float | None:
    waited, *requests = values
    total = sum(requests)
    return _MILLISECOND * waited / total if total > 0 else None


# --- the node

_CPU = "node.cpu."
_NODE: dict[str, Signal] = {
    "cpu_total": Signal((_counter(_CPU + "busy_seconds"),)),
    "cpu_avg": Signal((_counter(_CPU + "busy_seconds"), _gauge(_CPU + "online")), _quotient),
    "cpu_per_core": Signal((_gauge(_CPU + "busiest_ratio"),)),
    "cpu_steal_total": Signal((_counter(_CPU + "steal_seconds"),)),
    "cpu_offline_total": Signal((_counter("class/offline.cpu_seconds"),)),
    "load_1min": Signal((_gauge("node.load.1m"),)),
    "load_5min": Signal((_gauge("node.load.5m"),)),
    "load_15min": Signal((_gauge("node.load.15m"),)),
    "memory_total": Signal((_gauge("node.mem.total_bytes"),)),
    "memory_usage_total": Signal(
        (_gauge("node.mem.total_bytes"), _gauge("node.mem.available_bytes")), _difference
    ),
    "memory_usage_cache": Signal((_gauge("node.mem.cached_bytes"),)),
    "memory_usage_rss": Signal((_gauge("node.mem.anon_bytes"),)),
    "memory_available": Signal((_gauge("node.mem.available_bytes"),)),
    "memory_offline_total": Signal((_gauge("class/offline.working_set_bytes"),)),
    "process_nr_uninterruptible": Signal((_gauge("node.tasks.blocked"),)),
    "mem_direct_reclaim": Signal((_counter("node.vm.direct_reclaims"),)),
    "mem_direct_compact": Signal((_counter("node.vm.direct_compactions"),)),
    "memory_working_set_activate": Signal((_counter("node.vm.activated"),)),
    **{
        f"psi_{what}_{kind}": Signal((_counter(f"node.psi.{what}.{kind}_seconds"),), _share)
        for what in ("cpu", "memory", "io")
        for kind in ("some", "full")
    },
}

# What offline work does on the node, as a rule of a container or an application may ask for it
# beside its pain.
_BESIDE: dict[str, Signal] = {
    "offline_cpu": _NODE["cpu_offline_total"],
    "offline_io_bps": Signal(
        (_counter("class/offline.read_bytes"), _counter("class/offline.written_bytes")), sum
    ),
    "offline_memory": _NODE["memory_offline_total"],
    "node_direct_reclaim": _NODE["mem_direct_reclaim"],
}

# --- devices: of one, or of the one that has most

_DISK: dict[str, tuple[tuple[str, ...], Reckon | None]] = {
    "diskio_read_kibps": (("read_bytes",), _scaled(1 / _KIB)),
    "diskio_write_kibps": (("written_bytes",), _scaled(1 / _KIB)),
    "diskio_read_iops": (("reads",), None),
    "diskio_write_iops": (("writes",), None),
    "diskio_util": (("busy_seconds",), _share),
    "diskio_await": (("read_seconds", "write_seconds", "reads", "writes"), _milliseconds_each),
}
_LINK: dict[str, tuple[tuple[str, ...], Reckon | None]] = {
    "netio_speed": (("speed_bytes_per_second",), _scaled(1 / _KILOBIT)),
    "netio_recv_kbps": (("receive_bytes",), _scaled(1 / _KILOBIT)),
    "netio_sent_kbps": (("transmit_bytes",), _scaled(1 / _KILOBIT)),
    "netio_recv_pckps": (("receive_packets",), None),
    "netio_sent_pckps": (("transmit_packets",), None),
    "netio_drop_in": (("receive_drops",), None),
    "netio_drop_out": (("transmit_drops",), None),
}


def _of_devices(base: str, device: str, devices: Devices) -> Signal | None:
    disk = base in _DISK
    measures, reckon = _DISK[base] if disk else _LINK[base]
    all_of_kind = devices.disks if disk else devices.links
    wanted = (device,) if device else all_of_kind
    kind: Kind = "gauge" if base == "netio_speed" else "counter"
    thing = "node.disk" if disk else "node.net"
    inputs = tuple(
        Series(f"{thing}/{each}.{measure}", kind) for each in wanted for measure in measures
    )
    if not inputs:
        return None
    if len(wanted) == 1:
        return Signal(inputs, reckon)
    width = len(measures)

    def most(values: Sequence[float]) -> float | None:
        found = (
            reckon(values[at : at + width]) if reckon else values[at]
            for at in range(0, len(values), width)
        )
        return max((value for value in found if value is not None), default=None)

    return Signal(inputs, most, partial=width == 1)


# --- a container

_Maker = Callable[[str], Signal]


def _one(measure: str, reckon: Reckon | None = None, kind: Kind = "counter") -> _Maker:
    return lambda thing: Signal((Series(f"{thing}.{measure}", kind),), reckon)


def _several(measures: Sequence[str], reckon: Reckon) -> _Maker:
    return lambda thing: Signal(
        tuple(_counter(f"{thing}.{measure}") for measure in measures), reckon
    )


WAIT_MEASURES: tuple[str, ...] = tuple(f"runq_waits_{bound}" for bound in BOUNDS_MICROSECONDS)
OFFLINE_WAIT_MEASURES: tuple[str, ...] = tuple(
    f"offline_waits_{bound}" for bound in BOUNDS_MICROSECONDS
)

_CONTAINER: dict[str, _Maker] = {
    "cpu_usage": _one("cpu_seconds"),
    "nr_cpu_throttled": _one("throttled_periods"),
    "cpu_throttled_ratio": _one("throttled_seconds", _share),
    # Little's law: tasks that run or wait, on average, are the time run and waited per second.
    "load_avg": _several(("cpu_seconds", "runq_wait_seconds"), sum),
    "memory_total_usage": _one("memory_bytes", kind="gauge"),
    "memory_working_set_usage": _one("working_set_bytes", kind="gauge"),
    "memory_cache_usage": _one("cache_bytes", kind="gauge"),
    "listen_overflows": _one("listen_overflows"),
    "rx_bps": _one("receive_bytes"),
    "tx_bps": _one("transmit_bytes"),
    "rx_pps": _one("receive_packets"),
    "tx_pps": _one("transmit_packets"),
    "tcp_oom": _one("tcp_oom"),
    "read_latency": _several(("read_service_seconds", "read_ios"), _milliseconds_each),
    "write_latency": _several(("write_service_seconds", "written_ios"), _milliseconds_each),
    "read_bps": _one("read_bytes"),
    "write_bps": _one("written_bytes"),
    "cpu_request": _one("cpu_request_cores", kind="gauge"),
    "runq_p95": _several(WAIT_MEASURES, lambda values: quantile_seconds(values, 0.95)),
    "runq_delay": _one("runq_wait_seconds"),
    "runq_waits": _one("runq_waits"),
    "waited_for_offline": _one("waited_for_offline_seconds"),
    "slowed_by_offline": _several(("waited_for_offline_seconds", "cpu_seconds"), _slowed),
    "waited_for_offline_p99": _several(
        (*WAIT_MEASURES, *OFFLINE_WAIT_MEASURES),
        lambda values: quantile_seconds(held_by_offline(values), 0.99),
    ),
    "preempted": _one("preempted_by_offline"),
    "io_wait_each": _several(("io_some_seconds", "read_ios", "written_ios"), _waited_each),
    "memory_limit": _one("memory_limit_bytes", kind="gauge"),
    "cpi": _several(("cycles", "instructions"), _quotient),
    "nr_processes": _one("pids", kind="gauge"),
    "forks": _one("forks"),
    **{
        f"psi_{what}_{kind}": _one(f"{what}_{kind}_seconds", _share)
        for what in ("cpu", "memory", "io")
        for kind in ("some", "full")
    },
}
_PARTS: Mapping[str, Callable[[str, str], Series]] = {
    "runq_waits": lambda thing, bound: _counter(f"{thing}.runq_waits_{bound}"),
    "offline_waits": lambda thing, bound: _counter(f"{thing}.offline_waits_{bound}"),
    "waited_behind": lambda thing, by: pair_series(thing, by, "waited_seconds"),
    "preempted_by": lambda thing, by: pair_series(thing, by, "preemptions"),
}


def pair_series(victim: str, by: str, measure: str) -> Series:
    """Between two cgroups; `victim` is the thing, `by` the other's path below the mounts."""
    return _counter(f"{victim}//{by.strip('/')}.{measure}")


# --- an application: values and objectives by "job:metric"

_APP = frozenset(("slack", "value", "slo", "slo_min", "slo_max"))


def _slack(values: Sequence[float]) -> float | None:
    value, objective = values
    return (objective - value) / objective if objective else None


def slo_series(job_and_metric: str) -> tuple[Series, Series]:
    """Of the value and of the objective."""
    thing = f"slo/{job_and_metric}"
    return _gauge(f"{thing}.value"), _gauge(f"{thing}.objective")


def _of_jobs(subject: Subject, base: str, part: str, jobs: Iterable[str]) -> Signal | None:
    """Of the subject's own metrics, or of the one named; slo_min and slo_max are over all jobs.
    Without a metric, value and slo are known only of a job that reports one."""
    own = [each for each in jobs if each.startswith(f"{subject.name}:")]
    if base in ("slo_min", "slo_max"):
        own = list(jobs)
    elif part:
        own = [f"{subject.name}:{part}"]
    if not own or (base in ("value", "slo") and len(own) > 1):
        return None
    if base in ("value", "slo"):
        return Signal((slo_series(own[0])[base == "slo"],))
    most = max if base == "slo_max" else min

    def reckon(values: Sequence[float]) -> float | None:
        each = (_slack(values[at : at + 2]) for at in range(0, len(values), 2))
        return most((slack for slack in each if slack is not None), default=None)

    return Signal(tuple(series for name in own for series in slo_series(name)), reckon)
