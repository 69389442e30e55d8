"""What the labeller says of itself: kernmesh_pressure_*, those of an agent's own node among them.

Asked at each scrape, in any thread: what it reads is replaced and never changed, or (the keeper's
nodes) read by one call that holds the interpreter's lock.
"""

from collections.abc import Iterable

from prometheus_client import Metric

from exporter.clock import Clock
from exporter.labeller.central import Central
from exporter.metrics.table import FastFamily, Shape
from exporter.pressure import facts

_LEADER = Shape(
    "gauge", "kernmesh_pressure_leader", "Whether this replica holds the lease, and so writes."
)
_LEASE_MOVES = Shape(
    "gauge",
    "kernmesh_pressure_lease_transitions",
    "How often the lease has changed hands, as it says itself.",
)
_NODES = Shape(
    "gauge",
    "kernmesh_pressure_nodes",
    "Nodes by the level of each resource; of what this replica decides.",
    ["resource", "level"],
)
_PRESSED = Shape(
    "gauge",
    "kernmesh_pressure_node_marked",
    "Nodes that have marks of ours, as the API has them.",
    ["node"],
)
_PENDING = Shape(
    "gauge", "kernmesh_pressure_pending_nodes", "Nodes that are not as they should be yet."
)
_STALE = Shape(
    "gauge",
    "kernmesh_pressure_stale",
    "1: the source did not say all that was asked of it in the last round; what was known holds.",
    ["source"],
)
_ROUNDS = Shape("counter", "kernmesh_pressure_rounds_total", "Rounds of reading.")
_ROUND_SECONDS = Shape(
    "gauge", "kernmesh_pressure_round_seconds", "Time that the last round of reading took."
)
_FAILING = Shape("gauge", "kernmesh_pressure_agents_failing", "Agents that did not answer well.")
_UNMATCHED = Shape(
    "gauge",
    "kernmesh_pressure_unmatched_series",
    "Series of Prometheus whose instance is no node, in the last round.",
)
_SWEPT = Shape(
    "counter",
    "kernmesh_pressure_swept_nodes_total",
    "Nodes whose marks were taken away since the agent that set them was silent.",
)
_EVICTIONS = Shape(
    "counter", "kernmesh_pressure_evictions_total", "Evictions asked for, by result.", ["result"]
)
_CRANE = Shape(
    "counter",
    "kernmesh_pressure_crane_writes_total",
    "Attempts to write crane's annotations, by result.",
    ["result"],
)


class Figures:
    """A Collector."""

    def __init__(self, central: Central, requests: facts.Requests, clock: Clock) -> None:
        self._central, self._requests, self._clock = central, requests, clock

    def collect(self) -> Iterable[Metric]:
        central, now = self._central, self._clock.monotonic()
        keeper, fleet = central.keeper, central.fleet
        yield FastFamily.of(_LEADER, {(): float(central.leads)})
        if central.lease is not None:
            yield FastFamily.of(_LEASE_MOVES, {(): float(central.lease.transitions)})
        if keeper.begun:
            rows = {(each, level): float(n) for (each, level), n in fleet.tally.items()}
            yield FastFamily.of(_NODES, rows)
            ages = {(each,): max(0.0, now - at) for each, at in fleet.known_at.items()}
            yield FastFamily.of(facts.DATA_AGE, ages)
        moves = {key: float(count) for key, count in fleet.transitions.items()}
        yield FastFamily.of(facts.TRANSITIONS, moves)
        yield facts.of_writes(central.writer.counts)
        yield FastFamily.of(facts.UNWRITTEN, {(): keeper.unwritten()})
        yield FastFamily.of(_PENDING, {(): float(keeper.pending)})
        yield FastFamily.of(_PRESSED, {(name,): 1.0 for name in central.pressed()})
        yield FastFamily.of(_ROUNDS, {(): float(central.rounds)})
        if central.round_seconds is not None:
            yield FastFamily.of(_ROUND_SECONDS, {(): central.round_seconds})
        stale: dict[tuple[str, ...], float] = {}
        stale["nodes",] = float(central.nodes.stale_since is not None)
        if central.agents is not None:
            agents = central.agents
            stale["agents",] = float(bool(agents.failing or agents.reasons))
            yield FastFamily.of(_FAILING, {(): float(central.agents.failing)})
        if central.prom is not None:
            stale["prometheus",] = float(bool(central.prom.problems))
            yield FastFamily.of(_UNMATCHED, {(): float(central.prom.unmatched)})
        yield FastFamily.of(_STALE, stale)
        yield FastFamily.of(_SWEPT, {(): float(central.janitor.swept)})
        evictions = {(result,): float(n) for result, n in central.evictor.counts.items()}
        yield FastFamily.of(_EVICTIONS, evictions)
        if central.crane is not None:
            written = {(result,): float(n) for result, n in central.crane_writer.counts.items()}
            yield FastFamily.of(_CRANE, written)
        yield from self._requests.families()
