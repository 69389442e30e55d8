"""The signals that rules may name: Caelus' variables under its names and units, and ours.

The rule: a name has one meaning, one unit and one range, wherever it is used; how it is read from
the store stands in signals.py. A variable that this node cannot have (no PMU, no such cgroup file)
is still a known name.
"""

from typing import Literal, NamedTuple

from exporter.interference.model import Scope

Unit = Literal[
    "cores",
    "ratio",
    "bytes",
    "kibps",
    "kbps",
    "bps",
    "per second",
    "seconds",
    "ms",
    "count",
    "cpi",
    "its own",
]


class Variable(NamedTuple):
    """`low` and `high` are what it can be at all (None: no bound): a comparison outside of them is
    a mistake in the rule. `per_device`: it is known as name[device] too, for `$dev`."""

    name: str
    scope: Scope
    unit: Unit
    text: str
    low: float | None = 0.0
    high: float | None = None
    per_device: bool = False


def _node(name: str, unit: Unit, text: str, high: float | None = None) -> Variable:
    return Variable(name, "node", unit, text, high=high)


def _device(name: str, unit: Unit, text: str, high: float | None = None) -> Variable:
    return Variable(name, "node", unit, text, high=high, per_device=True)


def _container(name: str, unit: Unit, text: str, high: float | None = None) -> Variable:
    return Variable(name, "container", unit, text, high=high)


def _job(name: str, unit: Unit, text: str) -> Variable:
    """Known as name[metric]: a job may report several."""
    high = 1.0 if unit == "ratio" else None
    return Variable(name, "app", unit, text, low=None, high=high, per_device=True)


def _beside(name: str, unit: Unit, text: str) -> tuple[Variable, Variable]:
    """What the node's other work does, beside a container's pain or an application's."""
    return _container(name, unit, text), Variable(name, "app", unit, text)


_PSI = tuple(
    maker(f"psi_{what}_{kind}", "ratio", f"share of time that {who} tasks waited for {what}", 1.0)
    for maker in (_node, _container)
    for what in ("cpu", "memory", "io")
    for kind, who in (("some", "some"), ("full", "all"))
)

VARIABLES: tuple[Variable, ...] = (
    _node("cpu_total", "cores", "busy cores"),
    _node("cpu_avg", "ratio", "busy share of all cores", 1.0),
    _node("cpu_per_core", "ratio", "busy share of the busiest core", 1.0),
    _node("cpu_steal_total", "cores", "cores that the hypervisor gave to others"),
    _node("cpu_offline_total", "cores", "cores that offline work uses"),
    _node("load_1min", "count", "load average of 1 minute"),
    _node("load_5min", "count", "load average of 5 minutes"),
    _node("load_15min", "count", "load average of 15 minutes"),
    _node("memory_total", "bytes", "memory of the node"),
    _node("memory_usage_total", "bytes", "memory in use"),
    _node("memory_usage_cache", "bytes", "page cache"),
    _node("memory_usage_rss", "bytes", "anonymous memory"),
    _node("memory_available", "bytes", "memory that can be had without swapping"),
    _node("memory_offline_total", "bytes", "memory that offline work uses"),
    _device("diskio_read_kibps", "kibps", "KiB read per second"),
    _device("diskio_write_kibps", "kibps", "KiB written per second"),
    _device("diskio_read_iops", "per second", "reads per second"),
    _device("diskio_write_iops", "per second", "writes per second"),
    _device("diskio_util", "ratio", "share of time with a request in flight", 1.0),
    _device("diskio_await", "ms", "time that a request takes"),
    _device("netio_speed", "kbps", "what the link can carry"),
    _device("netio_recv_kbps", "kbps", "kilobits received per second"),
    _device("netio_sent_kbps", "kbps", "kilobits sent per second"),
    _device("netio_recv_pckps", "per second", "packets received per second"),
    _device("netio_sent_pckps", "per second", "packets sent per second"),
    _device("netio_drop_in", "per second", "received packets dropped per second"),
    _device("netio_drop_out", "per second", "sent packets dropped per second"),
    _node("process_nr_uninterruptible", "count", "tasks that wait uninterruptibly"),
    _node("mem_direct_reclaim", "per second", "allocations that had to reclaim"),
    _node("mem_direct_compact", "per second", "allocations that had to compact"),
    _node("memory_working_set_activate", "per second", "refaulted pages that were in use"),
    *_PSI,
    _container("cpu_usage", "cores", "cores used"),
    _container("nr_cpu_throttled", "per second", "periods in which the quota stopped it"),
    _container("cpu_throttled_ratio", "ratio", "share of time that the quota stopped it", 1.0),
    _container("load_avg", "count", "tasks that run or want to"),
    _container("memory_total_usage", "bytes", "memory charged to it"),
    _container("memory_working_set_usage", "bytes", "memory less inactive files"),
    _container("memory_cache_usage", "bytes", "page cache charged to it"),
    _container("memory_limit", "bytes", "memory that it may have; unknown where there is no limit"),
    _container("listen_overflows", "per second", "connections that a full backlog lost"),
    _container("rx_bps", "bps", "bytes received per second"),
    _container("tx_bps", "bps", "bytes sent per second"),
    _container("rx_pps", "per second", "packets received per second"),
    _container("tx_pps", "per second", "packets sent per second"),
    _container("tcp_oom", "per second", "sockets that found no memory"),
    _container("read_latency", "ms", "time that a read takes"),
    _container("write_latency", "ms", "time that a write takes"),
    _container("read_bps", "bps", "bytes read from disks per second"),
    _container("write_bps", "bps", "bytes written to disks per second"),
    _container("cpu_request", "cores", "cores that it was promised"),
    _container("runq_p95", "seconds", "95 % of its waits for a CPU are shorter"),
    _container("runq_delay", "seconds", "seconds waited for a CPU per second of time"),
    _container("preempted", "per second", "times that offline work took its CPU"),
    _container(
        "waited_for_offline", "ratio", "seconds per second waited while offline work held the CPU"
    ),
    _container(
        "slowed_by_offline",
        "ratio",
        "time that it waited while offline work held the CPU, per CPU time that it used",
    ),
    _container(
        "waited_for_offline_p99",
        "seconds",
        "99 % of its waits for a CPU that offline work held are shorter",
    ),
    _container("cpi", "cpi", "cycles per instruction"),
    _container("nr_processes", "count", "processes"),
    _container("forks", "per second", "processes and threads made"),
    _container("io_wait_each", "ms", "time that some task waited for disks, per request"),
    *_beside("offline_cpu", "cores", "cores that all offline work of the node uses"),
    *_beside("offline_io_bps", "bps", "bytes that all offline work reads and writes per second"),
    *_beside("offline_memory", "bytes", "memory that all offline work uses"),
    *_beside("node_direct_reclaim", "per second", "allocations on the node that had to reclaim"),
    _job("value", "its own", "what the job reports of a metric, in the metric's own unit"),
    _job("slo", "its own", "what the metric's value should be at most"),
    _job("slack", "ratio", "(slo − value) / slo"),
    Variable("slo_min", "app", "ratio", "least slack of all jobs", low=None, high=1.0),
    Variable("slo_max", "app", "ratio", "greatest slack of all jobs", low=None, high=1.0),
)
