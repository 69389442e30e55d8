"""Which benchmarks there are, in the order of the issues that set their goals, and whose pages keep
their tables.
"""

from typing import NamedTuple


class Benchmark(NamedTuple):
    """`name` is its module here; `page` is in docs/."""

    name: str
    issue: int
    page: str = "benchmarks.md"


BENCHMARKS = (
    Benchmark("render", 2),
    Benchmark("scrape", 2),  # the first scrape of 100,000 keys is issue 3's
    Benchmark("agent", 2),  # with all programs it is issue 3's
    Benchmark("bpf_cost", 2),
    Benchmark("backends", 3),
    Benchmark("usage", 4),
    Benchmark("pods", 4),
    Benchmark("pingmesh", 5, "benchmarks-pingmesh.md"),
    Benchmark("pingmesh_share", 5, "benchmarks-pingmesh.md"),
    Benchmark("controller", 5, "benchmarks-pingmesh.md"),
    Benchmark("kubernetes_source", 5, "benchmarks-pingmesh.md"),
    Benchmark("mesh_reading", 5, "benchmarks-pingmesh.md"),
    Benchmark("interference_engine", 6),
    Benchmark("interference_driver", 6),
    Benchmark("pressure", 7, "pressure.md"),
    Benchmark("tls", 9),
)
NAMES = tuple(each.name for each in BENCHMARKS)
APART = ("interference", "soak")
"""Programs with arguments of their own, and longer than the others: never run with them."""
LEVELS = {"pressure.md": 4}
"""Of the headings of tables, on pages where it is not 2."""
