"""webhook: tells a URL when an incident begins and when it is over, in Alertmanager's format.

The rule: a receiver that is down or slow costs its own notices only; nothing waits for it. Sent
from one thread, by http.client: an HTTP stack of 25 MB for one POST is not worth it. No redirect is
followed. Format: Alertmanager's webhook_config, version "4".
"""

import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from exporter.clock import Clock
from exporter.interference.actions.log import line_of
from exporter.interference.actions.outbox import Notice, Outbox
from exporter.interference.model import ActionSpec, Incident, Outcome
from exporter.threads import Lasting

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 10.0
_LONGEST_RETRY_AFTER = 600.0
_NEVER = "0001-01-01T00:00:00Z"
_CLOSE_SECONDS = 3.0


class Reply(NamedTuple):
    status: int
    retry_after: float | None = None


Post = Callable[[str, bytes], Reply]
"""url, body; raises OSError or http.client.HTTPException where there is no reply."""


class Webhook:
    """An Action; `start` its thread, `close` it. Counts are kernmesh's own metrics."""

    def __init__(
        self,
        clock: Clock,
        node: str = "",
        dry_run: bool = True,
        post: Post | None = None,
        most: int = 1000,
    ) -> None:
        self._clock, self._node, self._dry_run = clock, node, dry_run
        self._post = post or http_post
        self._most = most
        self._boxes: dict[str, Outbox] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread: Lasting | None = None

    def fire(self, incident: Incident, spec: ActionSpec) -> Outcome:
        return self._tell(incident, spec, "firing")

    def ease(self, incident: Incident, spec: ActionSpec) -> Outcome:
        return Outcome("webhook", "nothing", "is told at the begin and at the end")

    def clear(self, incident: Incident, spec: ActionSpec) -> Outcome:
        return self._tell(incident, spec, "resolved")

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """By URL: delivered, dropped, waiting."""
        with self._changed:
            return {url: (box.delivered, box.dropped, len(box)) for url, box in self._boxes.items()}

    def start(self) -> None:
        self._thread = Lasting(self._run, "webhook")
        self._thread.start()

    def close(self) -> None:
        """What waits is sent if its receiver answers now."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)

    def send_due(self) -> None:
        """Everything that is due now, each address once. Never raises."""
        with self._changed:
            boxes = list(self._boxes.items())
        for url, box in boxes:
            while True:
                with self._changed:
                    batch = box.batch(self._clock.monotonic())
                if not batch or not self._send(url, box, batch):
                    break

    def _tell(self, incident: Incident, spec: ActionSpec, state: str) -> Outcome:
        shown = _without_secrets(spec.url)
        if not shown:
            return Outcome("webhook", "refused", f"url: got {spec.url!r}, want http(s)://host/…")
        if self._dry_run:
            return Outcome("webhook", "dry_run", f"would tell {shown}: {state}")
        notice = Notice(incident.run, state, self._alert(incident, state))
        with self._changed:
            box = self._boxes.setdefault(spec.url, Outbox(self._most))
            new = box.add(notice, self._clock.monotonic())
            waiting = len(box)
            self._changed.notify()
        if not new:
            return Outcome("webhook", "nothing", f"{shown} was told already")
        return Outcome("webhook", "done", f"told to {shown}: {state} ({waiting} waiting)")

    def _alert(self, incident: Incident, state: str) -> dict[str, object]:
        labels = {
            "alertname": incident.rule,
            "severity": incident.severity,
            "node": self._node,
            "subject": incident.subject.pod or incident.subject.name or "node",
            "run": incident.run,
        }
        return {
            "status": state,
            "labels": labels,
            "annotations": {"summary": line_of(incident)},
            "startsAt": _time(incident.wall),
            "endsAt": _time(self._clock.wall()) if state == "resolved" else _NEVER,
            "generatorURL": "",
            "fingerprint": incident.run,
        }

    def _send(self, url: str, box: Outbox, batch: list[Notice]) -> bool:
        """Whether there may be more to send."""
        import http.client

        body = {
            "version": "4",
            "status": batch[0].state,
            "receiver": "kernmesh",
            "groupKey": "kernmesh",
            "groupLabels": {},
            "commonLabels": {"node": self._node},
            "commonAnnotations": {},
            "externalURL": "",
            "truncatedAlerts": 0,
            "alerts": [notice.alert for notice in batch],
        }
        problem, reply = "", Reply(0)
        try:
            reply = self._post(url, json.dumps(body).encode())
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
        with self._changed:
            now = self._clock.monotonic()
            if 200 <= reply.status < 300:
                if box.problem:
                    log.info("webhook %s: answers again", _without_secrets(url))
                box.done(batch, now)
                return True
            problem = problem or f"HTTP {reply.status}"
            if problem != box.problem:  # an hour of the same is one line
                log.warning("webhook %s: %s", _without_secrets(url), problem)
            if 300 <= reply.status < 500 and reply.status not in (408, 429):
                box.refused(batch, now, problem)
                return True
            box.failed(now, problem, reply.retry_after)
            return False

    def _run(self) -> None:
        while True:
            self.send_due()
            with self._changed:
                if self._stopping:
                    return
                times = [at for box in self._boxes.values() if (at := box.next_at()) is not None]
                now = self._clock.monotonic()
                self._changed.wait(max(min(times) - now, 0.01) if times else None)


def http_post(url: str, body: bytes) -> Reply:
    """One POST. Raises OSError, HTTPException, or ValueError for a URL that is none."""
    import http.client

    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("has no host")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS)
    headers = {"Content-Type": "application/json", "User-Agent": "kernmesh"}
    if parts.username is not None:
        import base64

        pair = f"{parts.username}:{parts.password or ''}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        response.read(65_536)
        after = response.getheader("Retry-After", "")
        return Reply(
            response.status, min(float(after), _LONGEST_RETRY_AFTER) if after.isdecimal() else None
        )
    finally:
        connection.close()


def _time(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")


def _without_secrets(url: str) -> str:
    """Users, passwords, paths and queries of a webhook are often its secret. "" for no URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return ""
    return f"{parts.scheme}://{parts.hostname}"
