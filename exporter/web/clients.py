"""How many clients there are and how many were sent away, as metrics."""

from collections.abc import Callable, Iterable

from prometheus_client import Metric

from exporter.errors import NoData
from exporter.metrics.table import FastFamily, Shape
from exporter.web.connections import Connections

_OPEN = Shape("gauge", "kernmesh_http_connections", "Connections of clients that are open.")
_CUT = Shape(
    "counter",
    "kernmesh_http_connections_cut_total",
    "Connections that were closed on a client: too slow, to make room for another, or no room.",
    ["reason"],
)
_HANDSHAKES = Shape(
    "counter",
    "kernmesh_tls_handshakes_total",
    "TLS handshakes by how they ended: ok, or what kept the client out.",
    ["result"],
)


class Clients:
    """`connections()` is None before the server runs."""

    def __init__(self, connections: Callable[[], Connections | None]) -> None:
        self._connections = connections

    def collect(self) -> Iterable[Metric]:
        now = self._connections()
        if now is None:
            raise NoData("the server does not run yet")
        yield FastFamily.of(_OPEN, {(): now.open})
        cut = {("deadline",): now.timed_out, ("room",): now.evicted, ("full",): now.refused}
        yield FastFamily.of(_CUT, {reason: float(count) for reason, count in cut.items()})
        if now.handshakes:  # none without TLS
            ended = {(result,): float(count) for result, count in now.handshakes.items()}
            yield FastFamily.of(_HANDSHAKES, ended)
