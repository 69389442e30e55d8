"""The node that rules are read for in tests: 8 cores and 32 GiB, of which 0.8 and 2 are reserved;
no PMU, and a cgroup controller is missing."""

from exporter.interference.node_facts import NodeFacts

FACTS = NodeFacts(
    8.0,
    32 * 2.0**30,
    0.8,
    2 * 2.0**30,
    unavailable=(("cpi", "no PMU"), ("nr_processes", "no pids controller")),
)
