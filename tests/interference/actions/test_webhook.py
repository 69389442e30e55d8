import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from exporter.interference.actions.outbox import MOST_IN_BATCH, Notice, Outbox
from exporter.interference.actions.webhook import Reply, Webhook, http_post
from exporter.interference.model import ActionSpec
from exporter.testing import FakeClock
from tests.interference.actions.incidents import incident, suspect

URL = "http://receiver.test/hook"
SPEC = ActionSpec("webhook", url=URL)


class Receiver:
    """Answers by `status`; 0: is down."""

    def __init__(self, status: int = 200, retry_after: float | None = None) -> None:
        self.status, self.retry_after = status, retry_after
        self.tries = 0
        self.bodies: list[Any] = []

    def __call__(self, url: str, body: bytes) -> Reply:
        self.tries += 1
        if not self.status:
            raise ConnectionRefusedError(111, "Connection refused")
        if self.status == 200:
            self.bodies.append(json.loads(body))
        return Reply(self.status, self.retry_after)

    @property
    def runs(self) -> list[str]:
        return [alert["labels"]["run"] for body in self.bodies for alert in body["alerts"]]


def hook(receiver: Receiver, clock: FakeClock, most: int = 1000) -> Webhook:
    return Webhook(clock, "node-a", dry_run=False, post=receiver, most=most)


def send(webhook: Webhook, clock: FakeClock, seconds: float = 2.0) -> None:
    clock.advance(seconds)
    webhook.send_due()


def test_what_comes_together_is_sent_together_and_once() -> None:
    receiver, clock = Receiver(), FakeClock()
    webhook = hook(receiver, clock)
    results = [webhook.fire(incident(run), SPEC).result for run in ("a", "b", "a")]
    webhook.send_due()
    assert receiver.tries == 0  # others may come along for a second
    send(webhook, clock)
    assert results == ["done", "done", "nothing"]
    assert [len(body["alerts"]) for body in receiver.bodies] == [2]
    send(webhook, clock)
    assert receiver.tries == 1


def test_begin_and_end_are_told_in_order() -> None:
    receiver, clock = Receiver(), FakeClock()
    webhook = hook(receiver, clock)
    webhook.fire(incident("a"), SPEC)
    webhook.clear(incident("a"), SPEC)
    assert webhook.clear(incident("a"), SPEC).result == "nothing"
    send(webhook, clock)
    assert [body["status"] for body in receiver.bodies] == ["firing", "resolved"]


def test_the_end_is_told_of_what_an_agent_before_this_one_told_the_begin_of() -> None:
    receiver, clock = Receiver(), FakeClock()
    webhook = hook(receiver, clock)
    results = [webhook.clear(incident("before the restart"), SPEC).result for _ in range(2)]
    assert results == ["done", "nothing"]
    send(webhook, clock)
    assert [(body["status"], body["alerts"][0]["fingerprint"]) for body in receiver.bodies] == [
        ("resolved", "before the restart")
    ]


def test_what_was_told_long_ago_is_forgotten() -> None:
    box = Outbox(most=10)
    for number in range(1000):
        for state in ("firing", "resolved"):
            assert box.add(Notice(str(number), state, {}), 0.0)
    assert not box.add(Notice("999", "resolved", {}), 0.0)
    assert box.remembered <= 10


def test_an_hour_of_an_absent_receiver_costs_the_oldest_only_and_is_tried_ever_less() -> None:
    receiver, clock = Receiver(status=0), FakeClock()
    webhook = hook(receiver, clock, most=100)
    for second in range(3600):
        if second % 10 == 0:
            webhook.fire(incident(f"run-{second:04}"), SPEC)
        send(webhook, clock, 1.0)
    assert 60 <= receiver.tries <= 70  # 1, 2, 4 … 60 s apart
    assert webhook.counts() == {URL: (0, 260, 100)}
    receiver.status = 200
    send(webhook, clock, 60.0)
    assert receiver.runs == [f"run-{second:04}" for second in range(2600, 3600, 10)]
    assert webhook.counts() == {URL: (100, 260, 0)}


def test_retry_after_is_heeded() -> None:
    receiver, clock = Receiver(status=429, retry_after=30.0), FakeClock()
    webhook = hook(receiver, clock)
    webhook.fire(incident("a"), SPEC)
    for _ in range(30):
        send(webhook, clock, 1.0)
    assert receiver.tries == 1
    receiver.status = 200
    send(webhook, clock, 1.0)
    assert receiver.runs == ["a"]


@pytest.mark.parametrize("status", [301, 400, 401, 404])
def test_what_a_receiver_will_never_take_is_dropped_and_counted(status: int) -> None:
    receiver, clock = Receiver(status), FakeClock()
    webhook = hook(receiver, clock)
    webhook.fire(incident("a"), SPEC)
    send(webhook, clock)
    assert webhook.counts() == {URL: (0, 1, 0)}


def test_a_receiver_that_is_down_does_not_hold_up_another() -> None:
    clock, down = FakeClock(), "http://down.test/"
    told: list[str] = []

    def post(url: str, body: bytes) -> Reply:
        told.append(url)
        return Reply(500 if url == down else 200)

    webhook = Webhook(clock, dry_run=False, post=post)
    webhook.fire(incident("a"), ActionSpec("webhook", url=down))
    webhook.fire(incident("a"), SPEC)
    send(webhook, clock)
    assert told == [down, URL]
    assert webhook.counts()[URL] == (1, 0, 0)


def test_a_batch_is_never_longer_than_its_bound() -> None:
    box = Outbox()
    for number in range(MOST_IN_BATCH + 5):
        box.add(Notice(str(number), "firing", {}), 0.0)
    first = box.batch(1.0)
    box.done(first, 1.0)
    assert (len(first), len(box.batch(1.0))) == (MOST_IN_BATCH, 5)


def test_an_outcome_never_shows_a_webhook_s_secret() -> None:
    webhook = hook(Receiver(), FakeClock())
    secret = ActionSpec("webhook", url="https://user:word@chat.test/services/T0/B0?key=word")
    assert (
        webhook.fire(incident("a"), secret).text == "told to https://chat.test: firing (1 waiting)"
    )


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    got: list[tuple[str, str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            got.append((self.path, self.headers.get("Authorization", ""), self.rfile.read(length)))
            self.send_response(503 if self.path == "/busy" else 200)
            self.send_header("Retry-After", "7")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"127.0.0.1:{running.server_port}", got
    running.shutdown()
    thread.join()
    running.server_close()


def test_a_real_receiver_gets_alertmanager_s_format(
    server: tuple[str, list[tuple[str, str, bytes]]],
) -> None:
    address, got = server
    assert http_post(f"http://{address}/busy", b"{}") == Reply(503, 7.0)
    clock = FakeClock()
    webhook = Webhook(clock, "node-a", dry_run=False)
    spec = ActionSpec("webhook", url=f"http://me:word@{address}/hook?a=b")
    webhook.fire(incident("a", suspect()), spec)
    send(webhook, clock)
    path, authorization, body = got[-1]
    assert (path, authorization) == ("/hook?a=b", "Basic bWU6d29yZA==")
    sent = json.loads(body)
    assert (sent["version"], sent["status"]) == ("4", "firing")
    (alert,) = sent["alerts"]
    assert alert["labels"]["alertname"] == "cpu"
    assert alert["startsAt"] == "2027-01-15T08:00:00.000+00:00"
    assert alert["endsAt"] == "0001-01-01T00:00:00Z"
    assert "cpu pressure 40 %" in alert["annotations"]["summary"]


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "receiver", "http://", "http://[::1:9/"])
def test_what_is_no_url_is_refused_and_no_crash(url: str) -> None:
    webhook = Webhook(FakeClock(), dry_run=False)
    said = webhook.fire(incident("a"), ActionSpec("webhook", url=url))
    assert (said.result, said.text) == ("refused", f"url: got {url!r}, want http(s)://host/…")
    assert webhook.counts() == {}


def test_its_own_thread_sends_what_waits_when_it_is_closed(
    server: tuple[str, list[tuple[str, str, bytes]]],
) -> None:
    address, got = server
    clock = FakeClock()
    webhook = Webhook(clock, dry_run=False)
    webhook.fire(incident("a"), ActionSpec("webhook", url=f"http://{address}/"))
    clock.advance(5)
    webhook.start()
    webhook.close()
    assert len(got) == 1
