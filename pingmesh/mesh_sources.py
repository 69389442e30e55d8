"""Agents' results, pulled from their /metrics or asked of Prometheus, as one Report per agent.

The rule: counters are only ever compared with themselves; an agent that restarted begins anew,
one that does not answer is silent, not well. Answers are bounded in size and time, and redirects
are not followed. What the counts mean is mesh.py's.
"""

import asyncio
import logging
import re
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypedDict
from urllib.parse import urlsplit

from exporter.clock import Clock
from exporter.errors import KernmeshError
from exporter.threads import in_thread
from pingmesh.controller_config import MeshConfig
from pingmesh.mesh import Report, Tally
from pingmesh.topology import RackId

if TYPE_CHECKING:
    import httpx

PROBES, LOST, RTT = "pingmesh_probes_total", "pingmesh_lost_total", "pingmesh_rtt_seconds_bucket"
FAIL, STAMP = "pingmesh_fail", "pingmesh_last_round_timestamp_seconds"
NAMES = (PROBES, LOST, RTT, FAIL, STAMP)
MAX_BYTES = 8 << 20
_LINE = re.compile(r"([a-z_]+)\{(.*)\} (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")

Labels = Mapping[str, str]

log = logging.getLogger(__name__)


class Asked(NamedTuple):
    """Whom to ask for what: addresses by agent, the racks by the labels (zone, rack) that their
    targets carry, and the probe that the mesh is made of."""

    addresses: Mapping[str, str]
    racks: Mapping[tuple[str, str], RackId]
    probe: str


class Results(Protocol):
    """A way to get reports; `problem` is why there are none at all, None while there are."""

    problem: str | None

    async def read(self, asked: Asked) -> Mapping[str, Report]:
        """By agent; who is silent is not in it."""

    async def close(self) -> None: ...


class Buckets(NamedTuple):
    """A histogram as exposed: cumulative counts by ascending bound. Packed, because a window of
    a mesh holds a million numbers; the bounds are one tuple for all."""

    bounds: tuple[float, ...]
    counts: "array[float]"

    def at(self, bound: float) -> float:
        where = bisect_left(self.bounds, bound)
        found = where < len(self.bounds) and self.bounds[where] == bound
        return self.counts[where] if found else 0.0


_EMPTY = Buckets((), array("d"))


class Snapshot(NamedTuple):
    """One scrape. Counts are since the agent's start. `stamps`: when each lane's last round
    ended."""

    at: float
    sent: Mapping[RackId, float]
    lost: Mapping[RackId, float]
    buckets: Mapping[RackId, Buckets]
    failing: frozenset[str]
    stamps: frozenset[tuple[str, str]]


def snapshot(text: str, at: float, asked: Asked) -> Snapshot:
    """Reads one scrape. Lines that are none of ours, or cannot be read, are passed over."""
    sent: dict[RackId, float] = {}
    lost: dict[RackId, float] = {}
    buckets: dict[RackId, dict[float, float]] = {}
    failing: set[str] = set()
    stamps: set[tuple[str, str]] = set()
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        name, raw, written = match.groups()
        if name not in NAMES:
            continue
        labels = _labels(raw)
        if name == FAIL:
            failing.add(labels.get("target", ""))
            continue
        if name == STAMP:
            stamps.add((labels.get("lane", ""), written))
            continue
        rack = _rack(labels, asked)
        try:
            value = float(written)
            bound = float(labels.get("le", "inf"))
        except ValueError:
            continue
        if rack is None or not value >= 0:
            continue
        if name == RTT:
            of_rack = buckets.setdefault(rack, {})
            of_rack[bound] = of_rack.get(bound, 0.0) + value
        else:
            counts = sent if name == PROBES else lost
            counts[rack] = counts.get(rack, 0.0) + value
    packed = {rack: _packed(of_rack) for rack, of_rack in buckets.items()}
    return Snapshot(at, sent, lost, packed, frozenset(failing), frozenset(stamps))


def report(source: str, taken: Sequence[Snapshot], recent: float = 0.0) -> Report | None:
    """What happened between the first and the last; None where nothing can be said yet. `recent`:
    how many seconds before the last its `recent` begins."""
    since = 0
    for index in range(1, len(taken)):
        if _restarted(taken[index - 1], taken[index]):
            since = index
    taken = taken[since:]
    if len(taken) < 2:
        return None
    first, last = taken[0], taken[-1]
    failing: dict[str, int] = {}
    rounds = 0
    for before, now in pairwise(taken):
        if now.stamps != before.stamps:  # another round than was seen before
            rounds += 1
            for target in now.failing:
                failing[target] = failing.get(target, 0) + 1
    late = next((s for s in reversed(taken[:-1]) if s.at <= last.at - recent), first)
    return Report(source, _tallies(first, last), rounds, failing, _tallies(late, last))


def _tallies(first: Snapshot, last: Snapshot) -> dict[RackId, Tally]:
    racks = {}
    for rack, sent in last.sent.items():
        probes = sent - first.sent.get(rack, 0.0)
        if probes <= 0:
            continue
        lost = min(probes, last.lost.get(rack, 0.0) - first.lost.get(rack, 0.0))
        racks[rack] = Tally(
            probes, lost, _between(first.buckets.get(rack, _EMPTY), last.buckets.get(rack, _EMPTY))
        )
    return racks


def _restarted(before: Snapshot, now: Snapshot) -> bool:
    return any(now.sent.get(rack, 0.0) < count for rack, count in before.sent.items())


def _packed(buckets: Mapping[float, float]) -> Buckets:
    bounds = tuple(sorted(buckets))
    return Buckets(_same(bounds), array("d", [buckets[bound] for bound in bounds]))


@lru_cache(maxsize=64)
def _same(bounds: tuple[float, ...]) -> tuple[float, ...]:
    """One object for all that are equal."""
    return bounds


def _between(first: Buckets, last: Buckets) -> tuple[tuple[float, float], ...]:
    """Cumulative buckets of two scrapes as one window's, each for itself. Empty ones are left out
    but for those that say where the next begins."""
    found: list[tuple[float, float]] = []
    below, empty = 0.0, None
    for bound, count in zip(*last, strict=True):
        since = count - first.at(bound)
        if since > below:
            if empty is not None:
                found.append((empty, 0.0))
            found.append((bound, since - below))
            below, empty = since, None
        else:
            empty = bound
    return tuple(found)


def _rack(labels: Labels, asked: Asked) -> RackId | None:
    if labels.get("probe", asked.probe) != asked.probe:
        return None
    return asked.racks.get((labels.get("target_zone", ""), labels.get("target_rack", "")))


@lru_cache(maxsize=100_000)
def _labels(raw: str) -> Labels:
    found = _LABEL.findall(raw)
    if "\\" not in raw:
        return dict(found)
    return {
        name: _ESCAPED.sub(lambda m: "\n" if m[1] == "n" else m[1], value) for name, value in found
    }


def recent_of(config: MeshConfig) -> float:
    """Seconds: what counts as now."""
    return max(config.window / 5, 3 * config.every)


class Pulled:
    """Every agent's /metrics, `concurrency` at a time; snapshots of the window are kept."""

    def __init__(self, config: MeshConfig, clock: Clock) -> None:
        self.problem: str | None = None
        self._config = config
        self._clock = clock
        self._taken: dict[str, deque[Snapshot]] = {}
        self._client: httpx.AsyncClient | None = None

    async def read(self, asked: Asked) -> Mapping[str, Report]:
        most = self._config.pull_at_most
        if len(asked.addresses) > most:
            self.problem = (
                f"{len(asked.addresses)} agents are more than mesh.pull_at_most ({most}): set "
                "mesh.prometheus, which pulls them anyway"
            )
            return {}
        client = await self._open()
        gate = asyncio.Semaphore(self._config.concurrency)
        reasons: dict[str, int] = {}

        async def one(name: str, address: str) -> None:
            async with gate:
                try:
                    text = await self._pull(client, address)
                except KernmeshError as error:
                    reasons[str(error)] = reasons.get(str(error), 0) + 1
                    return
            # Splitting lines is what takes the time: the loop has pinglists to serve.
            at = self._clock.monotonic()
            taken = await in_thread(lambda: snapshot(text, at, asked), "mesh")
            self._taken.setdefault(name, deque()).append(taken)

        async with asyncio.TaskGroup() as group:
            for name, address in asked.addresses.items():
                group.create_task(one(name, address))
        now = self._clock.monotonic()
        self._forget(now, asked)
        heard = {}
        for name, taken in self._taken.items():
            found = (
                report(name, list(taken)) if now - taken[-1].at <= 2 * self._config.every else None
            )
            if found is not None:
                heard[name] = found
        self.problem = None
        if reasons and len(asked.addresses) == sum(reasons.values()):
            reason = max(reasons, key=lambda text: reasons[text])
            self.problem = f"no agent answers on port {self._config.agent_port}: {reason}"
        return heard

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _forget(self, now: float, asked: Asked) -> None:
        for name in list(self._taken):
            taken = self._taken[name]
            # One that is older stays, to count from.
            while len(taken) > 1 and taken[1].at < now - self._config.window:
                taken.popleft()
            if name not in asked.addresses or taken[-1].at < now - self._config.window:
                del self._taken[name]

    async def _pull(self, client: "httpx.AsyncClient", address: str) -> str:
        """Raises KernmeshError."""
        import httpx

        host = f"[{address}]" if ":" in address else address
        query = "&".join(f"name[]={name}" for name in NAMES)
        url = f"http://{host}:{self._config.agent_port}/metrics?{query}"
        body = bytearray()
        try:
            async with (
                asyncio.timeout(self._config.timeout),
                client.stream("GET", url) as answer,
            ):
                if answer.status_code != 200:
                    raise KernmeshError(f"HTTP {answer.status_code}")
                async for piece in answer.aiter_bytes(64 * 1024):
                    body += piece
                    if len(body) > MAX_BYTES:
                        raise KernmeshError(f"longer than {MAX_BYTES >> 20} MiB")
        except TimeoutError:
            raise KernmeshError(f"no answer in {self._config.timeout}") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise KernmeshError(str(error) or type(error).__name__) from error
        return body.decode(errors="replace")

    async def _open(self) -> "httpx.AsyncClient":
        if self._client is None:
            self._client = await in_thread(lambda: open_client(self._config), "mesh client")
        return self._client


def open_client(config: MeshConfig, tls: bool = False) -> "httpx.AsyncClient":
    """`tls`: the system's certificates are loaded, which takes a while."""
    import httpx

    return httpx.AsyncClient(
        verify=tls,
        follow_redirects=False,
        trust_env=False,
        timeout=config.timeout,
        headers={"accept": "text/plain;version=0.0.4", "accept-encoding": "gzip"},
        limits=httpx.Limits(
            max_connections=config.concurrency, max_keepalive_connections=config.concurrency
        ),
    )


class _Series(TypedDict):
    metric: dict[str, str]
    value: tuple[float, str]


class _Data(TypedDict):
    result: list[_Series]


class _Answer(TypedDict):
    data: _Data


class Prometheus:
    """The same from Prometheus' HTTP API: increases over the window, by agent and rack."""

    def __init__(self, url: str, config: MeshConfig) -> None:
        self.problem: str | None = None
        self._url = url.rstrip("/")
        self._config = config
        self._client: httpx.AsyncClient | None = None

    async def read(self, asked: Asked) -> Mapping[str, Report]:
        try:
            found = await self._ask(asked)
        except KernmeshError as error:
            if self.problem != str(error):
                log.warning("mesh: %s", error)
            self.problem = str(error)
            return {}
        self.problem = None
        return found

    async def _ask(self, asked: Asked) -> Mapping[str, Report]:
        window, label = f"{self._config.window:.0f}s", self._config.node_label
        probe = f'probe="{asked.probe}"'
        by = f"{label},target_zone,target_rack"
        sent = await self._query(f"sum by({by})(increase({PROBES}{{{probe}}}[{window}]))")
        lost = await self._query(f"sum by({by})(increase({LOST}{{{probe}}}[{window}]))")
        slow = await self._query(f"sum by({by},le)(increase({RTT}{{{probe}}}[{window}]))")
        now = f"{recent_of(self._config):.0f}s"
        sent_now = await self._query(f"sum by({by})(increase({PROBES}{{{probe}}}[{now}]))")
        lost_now = await self._query(f"sum by({by})(increase({LOST}{{{probe}}}[{now}]))")
        failing = await self._query(f"count_over_time({FAIL}[{window}])")
        scrapes = await self._query(f"max by({label})(count_over_time({STAMP}[{window}]))")
        return await in_thread(
            lambda: gathered(sent, lost, slow, failing, scrapes, sent_now, lost_now, label, asked),
            "mesh",
        )

    async def _query(self, query: str) -> list[tuple[Labels, float]]:
        """An instant vector. Raises KernmeshError."""
        import httpx
        import msgspec

        if self._client is None:
            tls = urlsplit(self._url).scheme == "https"
            self._client = await in_thread(lambda: open_client(self._config, tls), "mesh client")
        where = f"{self._url}/api/v1/query"
        try:
            answer = await self._client.post(where, data={"query": query})
            if answer.status_code != 200:
                raise KernmeshError(f"{where}: HTTP {answer.status_code}")
            found = msgspec.json.decode(answer.content, type=_Answer)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise KernmeshError(f"{where}: {str(error) or type(error).__name__}") from error
        except msgspec.MsgspecError as error:
            raise KernmeshError(f"{where}: no answer of Prometheus: {error}") from error
        return [(each["metric"], float(each["value"][1])) for each in found["data"]["result"]]

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def gathered(
    sent: Iterable[tuple[Labels, float]],
    lost: Iterable[tuple[Labels, float]],
    slow: Iterable[tuple[Labels, float]],
    failing: Iterable[tuple[Labels, float]],
    scrapes: Iterable[tuple[Labels, float]],
    sent_now: Iterable[tuple[Labels, float]],
    lost_now: Iterable[tuple[Labels, float]],
    label: str,
    asked: Asked,
) -> dict[str, Report]:
    """Instant vectors as reports. `label` names the agent, by name or address, with a port or
    without."""
    agents = {address: name for name, address in asked.addresses.items()}
    agents.update((name, name) for name in asked.addresses)

    def known(
        rows: Iterable[tuple[Labels, float]],
    ) -> Iterator[tuple[str, RackId | None, Labels, float]]:
        for labels, value in rows:
            agent = agents.get(_host(labels.get(label, "")))
            if agent is not None and value >= 0:  # no NaN
                yield agent, _rack(labels, asked), labels, value

    def tallied(
        sent: Iterable[tuple[Labels, float]], lost: Iterable[tuple[Labels, float]]
    ) -> dict[str, dict[RackId, Tally]]:
        losses = {(agent, rack): value for agent, rack, _, value in known(lost)}
        racks: dict[str, dict[RackId, Tally]] = {}
        for agent, rack, _, value in known(sent):
            if rack is not None and value > 0:
                racks.setdefault(agent, {})[rack] = Tally(
                    value,
                    min(value, losses.get((agent, rack), 0.0)),
                    _between(_EMPTY, _packed(bounds.get((agent, rack), {}))),
                )
        return racks

    bounds: dict[tuple[str, RackId | None], dict[float, float]] = {}
    for agent, rack, labels, value in known(slow):
        bounds.setdefault((agent, rack), {})[float(labels.get("le", "inf"))] = value
    rounds = {agent: int(value) for agent, _, _, value in known(scrapes)}
    failed: dict[str, dict[str, int]] = {}
    for agent, _, labels, value in known(failing):
        failed.setdefault(agent, {})[labels.get("target", "")] = int(value)
    recent = tallied(sent_now, lost_now)
    return {
        agent: Report(
            agent, found, rounds.get(agent, 0), failed.get(agent, {}), recent.get(agent, {})
        )
        for agent, found in tallied(sent, lost).items()
    }


def _host(instance: str) -> str:
    """Without its port, and an IPv6 address without its brackets."""
    if instance.startswith("["):
        return instance[1:].partition("]")[0]
    return instance if instance.count(":") > 1 else instance.partition(":")[0]
