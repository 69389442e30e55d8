"""Values and objectives that applications tell of themselves: an answer in JSON, from anywhere.

    {"code": 0, "msg": "success", "data": [{"job_name", "metric_name", "value", "slo"}]}

The rule: the sampler never waits for an application. Whoever asks does so in a thread of its own
and leaves the answer; one that is older than three intervals is none. `ask` is the seam: a URL
here, a command in the actuator, which may run one.
"""

import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import NamedTuple

import msgspec

from exporter.clock import Clock
from exporter.errors import KernmeshError
from exporter.interference.signals import slo_series
from exporter.usage.series import Series

MOST_BYTES = 1 << 20
MOST_VALUES = 1000
_MOST_NAME = 200
_MOST = 3.4e38  # what the store can keep (float32); what is no number is no less either
_OLD_INTERVALS = 3.0

Ask = Callable[[], bytes]
"""The answer's text. Blocks; raises OSError, ValueError or KernmeshError."""


class SloValue(NamedTuple):
    job: str
    metric: str
    value: float
    objective: float


class _Row(msgspec.Struct):
    job_name: str
    metric_name: str
    value: float
    slo: float


class _Answer(msgspec.Struct):
    code: int = 0
    msg: str = ""
    data: list[_Row] = []


def parse_answer(text: bytes, place: str) -> list[SloValue]:
    """Raises KernmeshError with what is wrong. Values that are no numbers are left out."""
    if len(text) > MOST_BYTES:
        raise KernmeshError(f"{place}: got more than {MOST_BYTES} bytes, want fewer")
    try:
        answer = msgspec.json.decode(text, type=_Answer)
    except (ValueError, RecursionError) as error:
        raise KernmeshError(
            f"{place}: no answer of the form {{code, msg, data}}: {error}"
        ) from None
    if answer.code:
        raise KernmeshError(f"{place}: answered code {answer.code}: {answer.msg[:200]}")
    if len(answer.data) > MOST_VALUES:
        raise KernmeshError(f"{place}: got {len(answer.data)} values, want {MOST_VALUES} at most")
    for row in answer.data:
        if max(len(row.job_name), len(row.metric_name)) > _MOST_NAME or "\n" in row.job_name:
            raise KernmeshError(f"{place}: got a name of over {_MOST_NAME} characters")
    return [
        SloValue(row.job_name, row.metric_name, row.value, row.slo)
        for row in answer.data
        if abs(row.value) <= _MOST and abs(row.slo) <= _MOST
    ]


def from_url(url: str, timeout: float = 5.0) -> Ask:
    """http and https only. No proxies of the environment: what is asked is near."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"got {url!r}, want http:// or https://")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask() -> bytes:
        try:
            with opener.open(url, timeout=timeout) as answer:
                text: bytes = answer.read(MOST_BYTES + 1)
        except HTTPException as error:
            raise KernmeshError(f"{url}: cannot be asked: {error!r}") from None
        return text

    return ask


class SloReader:
    """A Read, and what fills it: `ask_all` is called by who runs tasks, every `interval`."""

    def __init__(self, clock: Clock, asks: Mapping[str, Ask], interval: float) -> None:
        """`asks` by the place that messages name: the URL, or the command."""
        self._clock, self._asks = clock, dict(asks)
        self._interval = interval
        self._turn = threading.Lock()
        self._answers: dict[str, tuple[float, Sequence[SloValue]]] = {}

    def ask_all(self) -> list[str]:
        """Asks each once. Blocks. A line for each that failed; the others are kept."""
        problems: list[str] = []
        for place, ask in self._asks.items():
            try:
                values = parse_answer(ask(), place)
            except KernmeshError as error:
                problems.append(str(error))
            except (OSError, ValueError) as error:
                problems.append(f"{place}: cannot be asked: {error}")
            else:
                with self._turn:
                    self._answers[place] = self._clock.monotonic(), values
        return problems

    def __call__(self, now: float) -> Mapping[Series, float]:
        oldest = self._clock.monotonic() - _OLD_INTERVALS * self._interval
        with self._turn:
            answers = [values for at, values in self._answers.values() if at >= oldest]
        found: dict[Series, float] = {}
        for values in answers:
            for each in values:
                value, objective = slo_series(f"{each.job}:{each.metric}")
                found[value], found[objective] = each.value, each.objective
        return found
