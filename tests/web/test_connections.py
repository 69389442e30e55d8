"""Clients that are slow, half gone, greedy or wrong, on real sockets with small limits."""

import asyncio

import pytest

from exporter.web.limits import Limits
from exporter.web.server import Server, serve
from tests.web.serving import Client, play, serving, until

GET = b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n"
BIG = b"x" * (16 << 20)  # more than the kernel buffers on both sides
SMALL_BUFFER = 4096


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /metrics HTTP/1.1\r\nhost: a\r\n",
        b"\r\n",
        b"POST /-/reload HTTP/1.1\r\ncontent-length: 10\r\n\r\nabc",
    ],
    ids=["nothing", "half a head", "an empty line", "half a body"],
)
def test_a_request_that_does_not_become_complete_is_dropped(sent: bytes) -> None:
    async def test() -> None:
        async with serving(Limits(request_seconds=0.05)) as agent:
            client = await agent.connect()
            client.send(sent)
            assert b"200" not in await client.closed()
            assert agent.server.connections.timed_out == 1

    play(test)


def test_the_deadline_is_for_the_request_and_does_not_start_again_at_each_byte() -> None:
    async def test() -> None:
        async with serving(Limits(request_seconds=0.05)) as agent:
            client = await agent.connect()
            client.send(b"GET /metrics HTTP/1.1\r\nx: ")
            while not agent.server.connections.timed_out:
                client.send(b"y")
                await asyncio.sleep(0)
            assert await client.closed() == b""

    play(test)


def test_a_second_request_has_the_deadline_too() -> None:
    async def test() -> None:
        async with serving(Limits(request_seconds=0.5)) as agent:
            client = await agent.connect()
            assert (await client.ask("/metrics")).status == 200
            client.send(b"GET")
            assert await client.closed() == b""
            assert agent.server.connections.timed_out == 1

    play(test)


def test_a_connection_is_kept_between_requests_but_not_for_ever() -> None:
    async def test() -> None:
        async with serving(Limits(idle_seconds=0.5)) as agent:
            client = await agent.connect()
            assert (await client.ask("/metrics")).status == 200
            assert (await client.ask("/metrics")).status == 200
            assert await client.closed() == b""

    play(test)


def test_a_body_that_comes_after_its_answer_leaves_the_connection_usable() -> None:
    async def test() -> None:
        async with serving() as agent:
            client = await agent.connect()
            client.send(b"POST /-/reload HTTP/1.1\r\ncontent-length: 3\r\n\r\n")
            assert (await client.answer()).status == 403
            client.send(b"abc")
            assert (await client.ask("/metrics")).status == 200

    play(test)


def test_a_body_that_comes_after_its_answer_does_not_end_the_idle_deadline() -> None:
    async def test() -> None:
        async with serving(Limits(idle_seconds=0.5)) as agent:
            client = await agent.connect()
            client.send(b"POST /-/reload HTTP/1.1\r\ncontent-length: 3\r\n\r\n")
            assert (await client.answer()).status == 403
            client.send(b"abc")
            assert await client.closed() == b""

    play(test)


def test_a_reader_that_stops_reading_is_cut_and_pins_nothing() -> None:
    async def test() -> None:
        async with serving(Limits(write_seconds=0.05), body=BIG) as agent:
            client = await agent.connect(SMALL_BUFFER)
            client.send(GET)
            await until(lambda: agent.server.connections.timed_out == 1)
            await until(lambda: not agent.server.connections.state.tasks)
            assert not agent.server.connections.members
            assert len(await client.closed()) < len(BIG)

    play(test)


def test_a_reader_that_is_slow_but_reads_gets_all() -> None:
    async def test() -> None:
        async with serving(body=BIG) as agent:
            client = await agent.connect(SMALL_BUFFER)
            assert (await client.ask("/metrics")).body == BIG

    play(test)


def test_the_longest_held_up_answer_goes_when_there_are_too_many() -> None:
    async def test() -> None:
        limits = Limits(stalled=2, stall_grace_seconds=0)
        async with serving(limits, body=BIG) as agent:
            clients = []
            for stalled in (1, 2, 2):
                client = await agent.connect(SMALL_BUFFER)
                client.send(GET)
                clients.append(client)
                await until(
                    lambda wanted=stalled: (  # type: ignore[misc]
                        sum(c.stalled_since is not None for c in agent.server.connections.members)
                        == wanted
                    )
                )
            await until(lambda: agent.server.connections.evicted == 1)
            assert len(await clients[0].closed()) < len(BIG)
            assert (await clients[2].answer()).body == BIG

    play(test)


class TestFull:
    def test_the_longest_idle_makes_room(self) -> None:
        async def test() -> None:
            async with serving(Limits(connections=3)) as agent:
                clients = [await agent.connect() for _ in range(3)]
                for client in clients:
                    await client.ask("/metrics")
                await clients[0].ask("/metrics")  # so clients[1] is the longest idle
                assert (await agent.ask("/metrics")).status == 200
                assert await clients[1].closed() == b""
                assert (await clients[0].ask("/metrics")).status == 200
                assert (await clients[2].ask("/metrics")).status == 200
                assert agent.server.connections.evicted == 1

        play(test)

    def test_a_flood_of_silent_connections_does_not_keep_a_scrape_out(self) -> None:
        async def test() -> None:
            async with serving(Limits(connections=4)) as agent:
                flood = [await agent.connect() for _ in range(20)]
                for client in flood:
                    client.send(b"GET /")
                assert (await agent.ask("/metrics")).status == 200
                assert len(agent.server.connections.members) <= 4

        play(test)

    def test_whoever_is_being_answered_stays_and_the_newcomer_goes(self) -> None:
        async def test() -> None:
            async with serving(Limits(connections=2)) as agent:
                agent.gate.clear()
                clients = [await agent.connect() for _ in range(2)]
                for client in clients:
                    client.send(GET)
                await until(lambda: agent.being_answered == 2)
                assert await (await agent.connect()).closed() == b""
                assert agent.server.connections.refused == 1
                agent.gate.set()
                assert [(await client.answer()).status for client in clients] == [200, 200]

        play(test)

    def test_a_client_that_left_while_it_was_answered_makes_room(self) -> None:
        async def test() -> None:
            async with serving(Limits(connections=1)) as agent:
                agent.gate.clear()
                client = await agent.connect()
                client.send(GET)
                await until(lambda: agent.being_answered == 1)
                client.writer.close()
                await until(lambda: agent.being_answered == 0)
                agent.gate.set()
                assert (await agent.ask("/metrics")).status == 200

        play(test)


@pytest.mark.parametrize(
    ("sent", "status", "text"),
    [
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 2000 + b"\r\n\r\n", 431, "header fields too large"),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 300 + b"\r\n", 431, "header fields too large"),
        (b"GET /" + b"y" * 2000 + b" HTTP/1.1\r\n\r\n", 431, "header fields too large"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 2000, 431, "header fields too large"),
        (b"POST / HTTP/1.1\r\ncontent-length: 2000\r\n\r\n", 413, "body too large"),
        (b"POST / HTTP/1.1\r\ncontent-length: nine\r\n\r\n", 400, "not an HTTP request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "not an HTTP request"),
        (b"CONNECT a:443 HTTP/1.1\r\n\r\n", 400, "not an HTTP request"),
    ],
    ids=["long header", "many headers", "long path", "endless header", "body", "bad length",
         "TLS", "CONNECT"],
)  # fmt: skip
def test_what_is_too_large_or_no_http_is_refused(sent: bytes, status: int, text: str) -> None:
    async def test() -> None:
        async with serving(Limits(head_bytes=1000, body_bytes=1000)) as agent:
            client = await agent.connect()
            client.send(sent)
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (status, "close")
            assert text in answer.body.decode()
            assert await client.closed() == b""
            assert (await agent.ask("/metrics")).status == 200

    play(test)


def test_a_chunked_body_is_counted_as_it_comes() -> None:
    async def test() -> None:
        async with serving(Limits(body_bytes=1000)) as agent:
            client = await agent.connect()
            client.send(b"POST /-/reload HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
            assert (await client.answer()).status == 403
            client.send(b"7d0\r\n" + b"y" * 2000 + b"\r\n")
            assert (await client.answer()).status == 413
            assert await client.closed() == b""

    play(test)


def test_requests_sent_ahead_are_answered_in_order() -> None:
    async def test() -> None:
        async with serving() as agent:
            client = await agent.connect()
            client.send(b"GET /-/healthy HTTP/1.1\r\n\r\n" + GET + b"GET /-/ready HTTP/1.1\r\n\r\n")
            bodies = [(await client.answer()).body for _ in range(3)]
            assert bodies == [b"kernmesh is healthy.\n", b"x 1\n", b"kernmesh is ready.\n"]

    play(test)


def test_thousands_of_requests_sent_ahead_end_the_connection() -> None:
    async def test() -> None:
        async with serving() as agent:
            client = await agent.connect()
            client.send(GET * 5000)
            await client.closed()
            await until(lambda: not agent.server.connections.state.tasks)
            assert len(agent.renders) <= 10
            assert (await agent.ask("/metrics")).status == 200

    play(test)


def test_a_client_that_shuts_down_its_sending_side_gets_its_answer() -> None:
    async def test() -> None:
        async with serving() as agent:
            agent.gate.clear()
            client = await agent.connect()
            client.send(GET)
            client.writer.write_eof()
            await until(lambda: any(c.half_closed for c in agent.server.connections.members))
            agent.gate.set()
            answer = await client.answer()
            assert (answer.body, answer.headers["connection"]) == (b"x 1\n", "close")
            assert await client.closed() == b""

    play(test)


def test_a_request_for_another_protocol_is_answered_as_http() -> None:
    async def test() -> None:
        async with serving() as agent:
            client = await agent.connect()
            client.send(GET[:-2] + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n")
            assert (await client.answer()).status == 200

    play(test)


class TestStop:
    def test_idle_and_stuck_clients_do_not_hold_it_up(self) -> None:
        async def test() -> None:
            async with serving(body=BIG) as agent:
                idle = await agent.connect()
                await idle.ask("/-/healthy")
                silent, stuck = await agent.connect(), await agent.connect(SMALL_BUFFER)
                stuck.send(GET)
                await until(lambda: any(c.stalled_since for c in agent.server.connections.members))
                await agent.server.stop(grace=0.05)
                assert not agent.server.connections.members
                assert not agent.server.connections.state.tasks
                assert [await idle.closed(), await silent.closed()] == [b"", b""]
                assert len(await stuck.closed()) < len(BIG)

        play(test)

    def test_an_answer_under_way_is_given_and_no_one_new_comes_in(self) -> None:
        async def test() -> None:
            async with serving() as agent:
                agent.gate.clear()
                client = await agent.connect()
                client.send(GET)
                await until(lambda: agent.being_answered == 1)
                stopping = asyncio.create_task(agent.server.stop(grace=30))
                await until(lambda: agent.socket.fileno() == -1)
                with pytest.raises(ConnectionRefusedError):
                    await agent.connect()
                agent.gate.set()
                answer = await client.answer()
                assert (answer.body, answer.headers["connection"]) == (b"x 1\n", "close")
                await stopping

        play(test)

    def test_a_render_that_hangs_does_not_hold_it_up(self) -> None:
        async def test() -> None:
            async with serving() as agent:
                agent.gate.clear()
                client = await agent.connect()
                client.send(GET)
                await until(lambda: len(agent.renders) == 1)
                await agent.server.stop(grace=0.05)
                assert await client.closed() == b""
                assert not agent.server.connections.state.tasks

        play(test)

    def test_serve_ends_when_it_is_told_to(self) -> None:
        async def test() -> None:
            async with serving() as agent:
                stop = asyncio.Event()
                other = agent.socket.dup()
                serving_too = asyncio.create_task(serve(Server(agent.app), [other], stop))
                stop.set()
                await serving_too
                assert other.fileno() == -1

        play(test)


def test_a_connection_that_dies_with_a_reset_leaves_nothing_behind() -> None:
    async def test() -> None:
        async with serving(body=BIG) as agent:
            client: Client = await agent.connect(SMALL_BUFFER)
            client.send(GET)
            await until(lambda: any(c.stalled_since for c in agent.server.connections.members))
            client.writer.transport.abort()
            await until(lambda: not agent.server.connections.members)
            await until(lambda: not agent.server.connections.state.tasks)
            assert (await agent.ask("/-/healthy")).status == 200

    play(test)
