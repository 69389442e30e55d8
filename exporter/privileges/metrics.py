"""What is in force, as families. Read at each scrape."""

from collections.abc import Iterable

from prometheus_client import Metric

from exporter.metrics.table import FastFamily, Shape
from exporter.privileges.capabilities import name_of
from exporter.privileges.inforce import IN_FORCE, InForce

_IN_FORCE = Shape(
    "gauge",
    IN_FORCE,
    "Whether every thread is held by it (1), as the kernel says.",
    ("mechanism",),
)
_CAPABILITY = Shape(
    "gauge",
    "kernmesh_capability_effective",
    "1 for each capability that a thread has or can take; there is none where no series is.",
    ("capability",),
)


def families(now: InForce) -> Iterable[Metric]:
    rows = {(name,): float(on) for name, on in now.mechanisms().items()}
    yield FastFamily.of(_IN_FORCE, rows)
    yield FastFamily.of(_CAPABILITY, {(name_of(each),): 1.0 for each in sorted(now.capabilities)})
