"""Clients that are open, and those that were sent away, come out as metrics."""

import pytest

from exporter.errors import NoData
from exporter.web.clients import Clients
from exporter.web.limits import Limits
from tests.web.serving import play, serving


def test_open_and_cut_connections_are_counted() -> None:
    async def test() -> None:
        async with serving(Limits(request_seconds=0.05)) as agent:
            clients = Clients(lambda: agent.server.connections)
            slow = await agent.connect()
            await slow.closed()
            quick = await agent.connect()
            await quick.ask("/-/healthy")
            values = {
                sample.name + sample.labels.get("reason", ""): sample.value
                for family in clients.collect()
                for sample in family.samples
            }
            assert values == {
                "kernmesh_http_connections": 1,
                "kernmesh_http_connections_cut_totaldeadline": 1,
                "kernmesh_http_connections_cut_totalroom": 0,
                "kernmesh_http_connections_cut_totalfull": 0,
            }

    play(test)


def test_before_there_is_a_server_nothing_is_known() -> None:
    with pytest.raises(NoData):
        list(Clients(lambda: None).collect())
