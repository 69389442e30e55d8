"""One client's connection: uvicorn's httptools protocol with the deadlines and caps it lacks.

A connection waits either for its client (a request to become complete, the next request, an
answer to be read) or for us. Each wait for the client has a deadline. Knows no routes.
"""

import asyncio
from typing import TYPE_CHECKING, NoReturn

from exporter.web.uvicorn_lean import STATUS_LINE, HttpToolsProtocol

if TYPE_CHECKING:
    from exporter.web.connections import Connections


class Refused(Exception):
    """Raised inside the parser's callbacks to stop at a request that breaks a limit."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


class Connection(HttpToolsProtocol):
    def __init__(self, group: "Connections") -> None:
        super().__init__(group.config, group.state, {}, asyncio.get_running_loop())
        self.group = group
        self.limits = group.limits
        self.waits_since: float | None = None
        """Loop time since when nothing happens because of the client; None: it is our turn."""
        self.stalled_since: float | None = None
        """Loop time since when the answer in progress is held up by its reader."""
        self.refusal: Refused | None = None
        self.in_message = False
        self.half_closed = False
        self.in_body = False
        self.head_bytes = 0
        self.body_bytes = 0
        self.unfinished_bytes = 0
        self.request_timer: asyncio.TimerHandle | None = None
        self.write_timer: asyncio.TimerHandle | None = None

    # What asyncio calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if not self.group.make_room():
            self.group.refused += 1
            self.transport = transport
            transport.abort()
            return
        super().connection_made(transport)
        self.group.empty.clear()
        self.waits_since = self.loop.time()
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timers()
        super().connection_lost(exc)
        if not self.group.members:
            self.group.empty.set()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return  # aborted or refused; what was read before still arrives
        self._expect_request()
        super().data_received(data)  # also stops uvicorn's idle timer
        if self.transport.is_closing() or not self.in_message:
            return
        self.unfinished_bytes += len(data)  # the parser keeps what has no line end yet
        if not self.in_body and self.unfinished_bytes > self.limits.head_bytes:
            self._refuse(431, "request header fields too large")
        elif self.unfinished_bytes > self.limits.head_bytes + self.limits.body_bytes:
            self._refuse(413, "request body too large")

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio reads the answer
        """A client that shuts down only its sending side still gets its answer."""
        if not self._answering() or self.scheme == "https":
            return False
        self.half_closed = True
        self.waits_since = self.loop.time()  # or it is gone altogether: first to make room
        self.cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        now = self.loop.time()
        self.stalled_since = self.waits_since = now
        if self.write_timer is None:
            self.write_timer = self.loop.call_later(self.limits.write_seconds, self._write_late)
        self.group.cut_longest_stalled(now)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.stalled_since = None
        self.waits_since = self.loop.time() if self.half_closed else None

    # What the parser calls

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.in_message, self.in_body = True, False
        self.head_bytes = self.body_bytes = self.unfinished_bytes = 0
        self._expect_request()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + 4)
        super().on_header(name, value)
        if name.lower() == b"content-length" and int(value) > self.limits.body_bytes:
            self._stop(413, "request body too large")

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= self.limits.pipelined:
            self._stop(400, "too many requests sent ahead")
        self.in_body = True
        self.waits_since = None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)  # chunked bodies do not say their length beforehand
        if self.body_bytes > self.limits.body_bytes:
            self._stop(413, "request body too large")
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.in_message = False
        self._cancel_request_timer()
        if not self._answering() and self.timeout_keep_alive_task is None:
            # Answered before its body was here: uvicorn's idle timer has been and gone.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.limits.idle_seconds, self.timeout_keep_alive_handler
            )

    # What uvicorn calls

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.stalled_since = None
        self.waits_since = None if self._answering() else self.loop.time()
        if not self.transport.is_closing():
            self._cancel_write_timer()  # unsent rest: the idle deadline's business
        else:
            self._expect_flush()

    def send_400_response(self, msg: str) -> None:
        """uvicorn's word for a parser error, ours among them."""
        if self.refusal is not None:
            self._refuse(self.refusal.status, str(self.refusal))
        else:
            self._refuse(400, "not an HTTP request")

    def timeout_keep_alive_handler(self) -> None:
        self.abort()

    def abort(self) -> None:
        """Closes at once: what is unsent is dropped, so nothing waits for the client."""
        self._cancel_timers()
        self.group.members.discard(self)
        if not self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()

    # Deadlines

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect_request(self) -> None:
        if self.request_timer is None:
            self.request_timer = self.loop.call_later(
                self.limits.request_seconds, self._request_late
            )

    def _request_late(self) -> None:
        self.request_timer = None
        if self._answering():
            self._expect_request()  # our turn: reading may even be paused
            return
        self.group.timed_out += 1
        self.abort()

    def _write_late(self) -> None:
        self.write_timer = None
        self.group.timed_out += 1
        self.abort()

    def _cancel_request_timer(self) -> None:
        if self.request_timer is not None:
            self.request_timer.cancel()
            self.request_timer = None

    def _expect_flush(self) -> None:
        """A closing connection stays open until its client has taken the rest."""
        if self.write_timer is None and self.transport.get_write_buffer_size():
            self.write_timer = self.loop.call_later(self.limits.write_seconds, self._write_late)

    def _cancel_write_timer(self) -> None:
        if self.write_timer is not None:
            self.write_timer.cancel()
            self.write_timer = None

    def _cancel_timers(self) -> None:
        self._unset_keepalive_if_required()
        self._cancel_write_timer()
        self._cancel_request_timer()

    # Refusals

    def _count_head(self, size: int) -> None:
        self.head_bytes += size
        if self.head_bytes > self.limits.head_bytes:
            self._stop(431, "request header fields too large")

    def _stop(self, status: int, text: str) -> NoReturn:
        """Ends the parsing: httptools turns this into its own error, uvicorn into
        send_400_response, which finds the reason here."""
        self.refusal = Refused(status, text)
        raise self.refusal

    def _refuse(self, status: int, text: str) -> None:
        if self._answering():
            self.abort()  # an answer in between would be taken for part of the one under way
            return
        body = f"{text}\n".encode()
        self.transport.write(
            b"%scontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (STATUS_LINE[status], len(body), body)
        )
        self.transport.close()
        self._expect_flush()
