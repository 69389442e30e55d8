"""Who may ask: passwords, tokens, guesses and rates."""

import asyncio
import threading
from base64 import b64encode
from collections.abc import Awaitable, Mapping, Sequence
from hashlib import sha256

import bcrypt
import pytest
from starlette.types import Message, Receive, Scope, Send

from exporter.testing import FakeClock
from exporter.web.credentials import (
    GUESS_SECONDS,
    GUESSES,
    WAITING,
    Credentials,
    Known,
    check_bcrypt,
)
from exporter.web.guard import Guard, Rules
from tests.web.serving import play, until

TOKEN = b"0123456789abcdef"
KNOWN = Known(
    {"alice": b"$2y$10$in wonderland", "bob": b"$2y$10$builder"}, (sha256(TOKEN).digest(),)
)


def plain(password: bytes, hashed: bytes) -> bool:
    """Stands for bcrypt: the hash is the password behind its cost."""
    return hashed[7:] == password


def basic(user: str, password: str) -> bytes:
    return b"Basic " + b64encode(f"{user}:{password}".encode())


def asked(
    headers: Sequence[bytes], known: Known = KNOWN, credentials: Credentials | None = None
) -> str:
    found: list[str] = []

    async def test() -> None:
        asking = credentials or Credentials(FakeClock(), plain)
        found.append(await asking.verdict(known, headers, "192.0.2.1"))

    play(test)
    return found[0]


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ([basic("alice", "in wonderland")], "yes"),
        ([basic("bob", "builder").replace(b"Basic", b"bAsIc")], "yes"),
        ([b"Bearer " + TOKEN], "yes"),
        ([b"bearer  " + TOKEN + b" "], "yes"),
        ([], "no"),
        ([basic("alice", "builder")], "no"),
        ([basic("carol", "builder")], "no"),
        ([basic("", "")], "no"),
        ([basic("alice", "in wonderland" + "x" * 72)], "no"),
        ([b"Basic " + b64encode(b"alice")], "no"),
        ([b"Basic " + b64encode(b"\xff:x")], "no"),
        ([b"Basic !"], "no"),
        ([b"Basic"], "no"),
        ([b"Bearer"], "no"),
        ([b"Bearer " + TOKEN[:-1]], "no"),
        ([b"Digest x"], "no"),
        ([basic("alice", "in wonderland")] * 2, "no"),
    ],
)
def test_who_is_let_in(headers: Sequence[bytes], verdict: str) -> None:
    assert asked(headers) == verdict


@pytest.mark.parametrize(
    ("known", "header"),
    [
        (Known(tokens=KNOWN.tokens), basic("alice", "in wonderland")),
        (Known(KNOWN.users), b"Bearer " + TOKEN),
    ],
)
def test_what_is_not_configured_lets_nobody_in(known: Known, header: bytes) -> None:
    assert asked([header], known) == "no"


@pytest.mark.parametrize("prefix", [b"2a", b"2b", b"2y"])
def test_bcrypt_as_htpasswd_and_others_write_it(prefix: bytes) -> None:
    made = bcrypt.hashpw(b"secret", bcrypt.gensalt(4))
    hashed = b"$" + prefix + made[3:]
    assert check_bcrypt(b"secret", hashed)
    assert not check_bcrypt(b"Secret", hashed)
    assert not check_bcrypt(b"secret", b"$2y$10$no hash")


def test_a_password_is_hashed_once_and_one_that_is_wrong_too() -> None:
    credentials = Credentials(FakeClock(), plain)
    for password, verdict in (("in wonderland", "yes"), ("x", "no")):
        for _ in range(3):
            assert asked([basic("alice", password)], credentials=credentials) == verdict
    assert credentials.hashed == 2


def test_a_changed_hash_counts_at_once() -> None:
    credentials = Credentials(FakeClock(), plain)
    header = [basic("alice", "in wonderland")]
    assert asked(header, credentials=credentials) == "yes"
    other = Known({"alice": b"$2y$10$through the glass"})
    assert asked(header, other, credentials) == "no"
    assert asked(header, Known({"bob": b"$2y$10$in wonderland"}), credentials) == "no"


def test_what_was_remembered_of_one_is_of_no_use_to_another() -> None:
    """CVE-2022-46146: parts that run into each other."""
    credentials = Credentials(FakeClock(), plain)
    assert asked([basic("alice", "in wonderland")], credentials=credentials) == "yes"
    for user, password in (("alice", "$2y$10$in wonderland"), ("alic", "ein wonderland")):
        assert asked([basic(user, password)], credentials=credentials) == "no"


def test_who_guesses_is_not_listened_to_until_later_and_nobody_else_pays() -> None:
    clock, tried = FakeClock(), list[bytes]()

    def check(password: bytes, hashed: bytes) -> bool:
        tried.append(password)
        return plain(password, hashed)

    async def test() -> None:
        credentials = Credentials(clock, check)

        async def ask(password: str, address: str = "2001:db8::1") -> str:
            return await credentials.verdict(KNOWN, [basic("alice", password)], address)

        assert await ask("in wonderland", "192.0.2.7") == "yes"
        for guess in range(GUESSES):
            assert await ask(f"guess {guess}", f"2001:db8::{guess}") == "no"
        hashed = len(tried)
        assert await ask("guess more") == "later"
        assert len(tried) == hashed
        assert await ask("guess more", "192.0.2.8") == "no"
        assert await ask("in wonderland") == "yes"  # which is known already
        clock.advance(GUESS_SECONDS)
        assert await ask("guess again") == "no"
        assert await ask("and again") == "later"

    play(test)


def test_passwords_are_hashed_off_the_loop_one_at_a_time_and_few_wait() -> None:
    gate, running, most = threading.Event(), 0, 0

    def check(password: bytes, hashed: bytes) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        assert gate.wait(30)
        running -= 1
        return plain(password, hashed)

    async def test() -> None:
        credentials = Credentials(FakeClock(), check)

        def ask(number: int) -> Awaitable[str]:
            header = basic("alice", f"guess {number}")
            return credentials.verdict(KNOWN, [header], f"192.0.2.{number}")

        first = [asyncio.ensure_future(ask(number)) for number in range(WAITING)]
        await until(lambda: running == 1)
        assert await ask(WAITING) == "later"
        gate.set()
        assert [await each for each in first] == ["no"] * WAITING
        assert most == 1

    play(test)


async def pages(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"x-frame-options", b"DENY"), (b"x-route", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def answers(
    guard: Guard, path: str = "/metrics", headers: Sequence[bytes] = (), method: str = "GET"
) -> tuple[int, Mapping[bytes, bytes], bytes]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def test() -> None:
        scope = {
            "type": "http",
            "path": path,
            "method": method,
            "client": ("192.0.2.1", 1),
            "headers": [(b"authorization", value) for value in headers],
        }
        await guard(scope, receive, send)

    play(test)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def guarded(rules: Rules, clock: FakeClock | None = None) -> Guard:
    return Guard(pages, lambda: rules, clock or FakeClock(), plain)


@pytest.mark.parametrize(
    ("known", "asks"),
    [(KNOWN, b'Basic realm="kernmesh", charset="UTF-8"'), (Known((), KNOWN.tokens), b"Bearer")],  # type: ignore[arg-type]
)
def test_who_is_not_let_in_is_told_how(known: Known, asks: bytes) -> None:
    guard = guarded(Rules(known, frozenset({"/-/healthy"})))
    status, headers, body = answers(guard)
    assert (status, headers[b"www-authenticate"], body) == (401, asks, b"Unauthorized\n")
    assert answers(guard, method="HEAD")[2] == b""
    for path in ("/-/healthy/", "/-/Healthy", "/-/reload", "/probe", "/pinglist/a"):
        assert answers(guard, path)[0] == 401
    assert answers(guard, "/-/healthy")[0] == 200
    assert answers(guard, headers=[b"Bearer " + TOKEN])[0] == 200
    assert guard.denied == {"credentials": 7}


def test_headers_are_set_on_every_answer_and_replace_a_route_s_own() -> None:
    rules = Rules(Known(KNOWN.users), headers=((b"x-frame-options", b"sameorigin"),))
    _, headers, _ = answers(guarded(rules))
    assert headers[b"x-frame-options"] == b"sameorigin"
    _, headers, _ = answers(guarded(rules), headers=[basic("bob", "builder")])
    assert (headers[b"x-frame-options"], headers[b"x-route"]) == (b"sameorigin", b"1")


def test_a_rate_lets_its_burst_through_and_one_more_each_interval() -> None:
    clock = FakeClock()
    guard = guarded(Rules(rate=(2.0, 3)), clock)
    assert [answers(guard)[0] for _ in range(4)] == [200, 200, 200, 429]
    clock.advance(2)
    assert [answers(guard)[0] for _ in range(2)] == [200, 429]
    assert guard.denied == {"rate": 2}


def test_too_many_guesses_get_429() -> None:
    guard = guarded(Rules(KNOWN))
    statuses = [answers(guard, headers=[basic("a", str(n))])[0] for n in range(GUESSES + 1)]
    assert statuses == [401] * GUESSES + [429]
