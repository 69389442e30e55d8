"""Stands before all routes where a web configuration file says so: who may ask, how often, and the
headers of every answer.

The rule: what is not open is closed; a route does not know whether it is guarded.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.clock import Clock
from exporter.web.credentials import Check, Credentials, Known, check_bcrypt

RETRY_SECONDS = 5


class Rules(NamedTuple):
    """`known` None: everybody is let in. `headers` replace a route's own of the same name, and are
    in lower case. `rate`: seconds between two requests, and how many at once; None: no limit."""

    known: Known | None = None
    open_paths: frozenset[str] = frozenset()
    headers: Sequence[tuple[bytes, bytes]] = ()
    rate: tuple[float, int] | None = None


class Guard:
    """`rules()` are those that hold now."""

    def __init__(
        self, app: ASGIApp, rules: Callable[[], Rules], clock: Clock, check: Check = check_bcrypt
    ) -> None:
        self._app, self._rules, self._clock = app, rules, clock
        self._credentials = Credentials(clock, check)
        self._spent, self._spent_at = 0.0, clock.monotonic()
        self.denied: Counter[str] = Counter()
        """Requests turned away: for their credentials, after too many guesses, by the rate."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rules = self._rules()
        if rules.headers:
            send = _with_headers(send, rules.headers)
        refusal = await self._refusal(rules, scope)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        status, text, header = refusal
        body = b"" if scope["method"] == "HEAD" else text
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(text)),
            header,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _refusal(
        self, rules: Rules, scope: Scope
    ) -> tuple[int, bytes, tuple[bytes, bytes]] | None:
        retry = (b"retry-after", b"%d" % RETRY_SECONDS)
        if rules.rate is not None and not self._spend(*rules.rate):
            self.denied["rate"] += 1
            return 429, b"too many requests (rate_limit)\n", retry
        if rules.known is None or scope["path"] in rules.open_paths:
            return None
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        address = scope["client"][0] if scope.get("client") else ""
        verdict = await self._credentials.verdict(rules.known, sent, address)
        if verdict == "yes":
            return None
        if verdict == "later":
            self.denied["guesses"] += 1
            return 429, b"too many wrong passwords, or too many at once\n", retry
        self.denied["credentials"] += 1
        scheme = b'Basic realm="kernmesh", charset="UTF-8"' if rules.known.users else b"Bearer"
        return 401, b"Unauthorized\n", (b"www-authenticate", scheme)

    def _spend(self, seconds: float, burst: int) -> bool:
        """A token bucket, counted by what is gone from it."""
        now = self._clock.monotonic()
        gone = max(0.0, self._spent - (now - self._spent_at) / seconds)
        allowed = gone + 1 <= burst
        self._spent, self._spent_at = gone + allowed, now
        return allowed


def _with_headers(send: Send, headers: Sequence[tuple[bytes, bytes]]) -> Send:
    names = {name for name, _ in headers}

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in names]
            message = {**message, "headers": [*kept, *headers]}
        await send(message)

    return with_headers
