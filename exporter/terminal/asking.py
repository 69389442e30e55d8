"""What an agent says of itself, asked over HTTP: its status, and how fast its programs count.

The rule: every answer is bounded, and whatever goes wrong is one KernmeshError with a line. Rates
are between two answers; before the second, they are the agent's own. Draws nothing.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from exporter.clock import Clock
from exporter.ebpf.facts import COUNTED
from exporter.errors import KernmeshError
from exporter.pages.status_json import StatusJson

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS = 5.0
MAX_BYTES = 8 << 20
LEAST_SECONDS = 0.2
_COUNT = re.compile(rf'^{COUNTED.name}\{{program="([^"]*)"\}} (\S+)$', re.MULTILINE)


class Seen(NamedTuple):
    """`events` per second, by program; a program whose rate is not known is not in it."""

    status: StatusJson
    events: Mapping[str, float]


class Asker:
    """Of one agent. `ask` blocks."""

    def __init__(self, client: "httpx.Client", url: str, clock: Clock) -> None:
        self._client, self._url, self._clock = client, url.rstrip("/"), clock
        self._before: tuple[float, Mapping[str, float]] | None = None

    def ask(self) -> Seen:
        """Raises KernmeshError."""
        try:
            status = msgspec.json.decode(self._get("/status.json"), type=StatusJson)
        except (ValueError, RecursionError) as error:
            raise KernmeshError(
                f"{self._url}: no kernmesh agent of this version: {error}"
            ) from error
        now = self._clock.monotonic()
        text = self._get(f"/metrics?name[]={COUNTED.name}").decode(errors="replace")
        counts = _counts(text)
        events = {
            program.name: program.events_per_second
            for program in status.programs
            if program.events_per_second is not None
        }
        if self._before is not None and now - self._before[0] >= LEAST_SECONDS:
            at, before = self._before
            events |= {
                program: (count - before[program]) / (now - at)
                for program, count in counts.items()
                if count >= before.get(program, float("inf"))
            }
        self._before = now, counts
        return Seen(status, events)

    def _get(self, path: str) -> bytes:
        import httpx

        body = bytearray()
        try:
            with self._client.stream("GET", self._url + path) as answer:
                if answer.status_code != 200:
                    raise KernmeshError(f"{self._url}{path}: HTTP {answer.status_code}")
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > MAX_BYTES:
                        raise KernmeshError(f"{self._url}{path}: more than {MAX_BYTES} bytes")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # of a bad redirect
            reason = str(error) or type(error).__name__
            raise KernmeshError(f"{self._url}: {reason}") from error
        return bytes(body)


def _counts(text: str) -> dict[str, float]:
    found = {}
    for program, count in _COUNT.findall(text):
        with suppress(ValueError):  # no number
            found[program] = float(count)
    return found


def open_client(ca: str | None) -> "httpx.Client":
    """`ca` is a file of certificates to trust instead of the usual ones. Raises KernmeshError."""
    import ssl

    import httpx

    try:
        verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca) if ca else True
    except (OSError, ssl.SSLError) as error:
        raise KernmeshError(f"--cacert: {ca}: {error}") from error
    return httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False, verify=verify)
