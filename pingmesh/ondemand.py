"""One target probed now: `/probe?target=…&module=…` as blackbox_exporter's users know it, and
`kernmesh probe TARGET`.

The rule: over HTTP only what the agent's own `allow` names is reached; without `allow` there is
no such page. Several packets per ICMP and UDP probe; one exchange of anything else.
"""

import asyncio
import math
import socket
from collections.abc import Iterator, Mapping

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from exporter.clock import SystemClock
from exporter.errors import ConfigError, KernmeshError
from exporter.metrics.table import FastFamily, Shape
from exporter.threads import in_thread
from exporter.web.app import page
from pingmesh.connectionlane import attempt
from pingmesh.flight import ANSWERED, Flight
from pingmesh.guard import Guard
from pingmesh.packetlane import PacketLane, Settings
from pingmesh.pages.probe import Asked, Refusal, Report, probe_page, wants_html
from pingmesh.pinglist import KINDS, Kind, Target, read_pinglist, targets
from pingmesh.probe import Outcome, Probe, probes
from pingmesh.resolve import NoAddress, Resolver, SystemLookup
from pingmesh.schedule import Plan

PACKETS = 3
SPACING_SECONDS = 0.05
TIMEOUT_SECONDS = 2.0
LONGEST_TIMEOUT = 30.0
AT_ONCE = 8
MODULES: Mapping[str, tuple[Kind | None, bool | None]] = {
    "": (None, None),
    "ping": ("icmp", None),
    "ping_ipv6": ("icmp", True),
    "tcp_connect": ("tcp", None),
    "http_2xx": ("http", None),
    "http_2xx_ipv6": ("http", True),
    **{kind: (kind, None) for kind in KINDS if kind != "dns"},
}
"""Module to kind (None: by the target's text) and whether IPv6 is preferred (None: it is not).
The names beside the kinds are those of the original's pingmesh.yml. dns needs a pinglist: it has
to know what to ask."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def ask(
    text: str, module: str, guard: Guard, timeout: float, packets: int = PACKETS
) -> Report:
    """Raises KernmeshError where target or module make no sense."""
    if module not in MODULES:
        known = ", ".join(sorted(filter(None, MODULES)))
        raise KernmeshError(f'module: unknown, got "{module}", want {known}')
    kind, prefer_v6 = MODULES[module]
    target = _target(text, kind)
    [probe] = probes([target])
    prefer = socket.AF_INET6 if prefer_v6 else socket.AF_INET
    resolver = Resolver(SystemClock(), SystemLookup(patience=timeout), prefer)
    settings = Settings(SPACING_SECONDS, timeout, 1e3, floor=SPACING_SECONDS)
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        if probe.kind in ("icmp", "udp"):
            rtts, outcome = await _echoes(probe, settings, guard, resolver, packets)
        else:
            outcome = await attempt(probe, settings, guard, resolver)
            rtts = (math.nan if outcome.rtt is None else outcome.rtt,)
    finally:
        resolver.close()
    address = resolver.peek(probe.host) or ""
    return Report(target, address, rtts, outcome.reason, outcome, loop.time() - started)


def _target(text: str, kind: Kind | None) -> Target:
    group: dict[str, object] = {"ips": [text]}
    if kind is not None:
        group["probe"] = kind
    import msgspec.json

    try:
        listed = read_pinglist(msgspec.json.encode({"mesh": {"probe": group}}), "target")
    except ConfigError as error:
        raise KernmeshError(f"target: {error.problems[0].text}") from error
    return targets(listed)[0]


async def _echoes(
    probe: Probe, settings: Settings, guard: Guard, resolver: Resolver, packets: int
) -> tuple[tuple[float, ...], Outcome]:
    started = asyncio.get_running_loop().time()
    try:
        await resolver.address(probe.host, settings.timeout)
    except NoAddress:
        return (math.nan,), Outcome(None, "dns")
    phases = {"resolve": asyncio.get_running_loop().time() - started}
    flights: list[tuple[Flight, Mapping[int, Outcome]]] = []
    done = asyncio.Event()

    def publish(
        _: object, flight: Flight, plan: Plan, lateness: float, outcomes: Mapping[int, Outcome]
    ) -> None:
        flights.append((flight, outcomes))
        if len(flights) == packets:
            done.set()

    lane = PacketLane([probe], settings, guard, resolver, publish)
    lane.start()
    try:
        await done.wait()
    finally:
        lane.stop()
    rtts = tuple(flight.rtts[0] for flight, _ in flights)
    good = [rtt for rtt in rtts if not math.isnan(rtt)]
    if good:
        phases["rtt"] = sum(good) / len(good)
        return rtts, Outcome(min(good), "", phases)
    assert all(flight.states[0] != ANSWERED for flight, _ in flights)
    flight, outcomes = flights[-1]
    hop = outcomes[0].hop if 0 in outcomes else ""
    return rtts, Outcome(None, flight.reasons[0], phases, hop=hop)


def prometheus_text(report: Report) -> bytes:
    """The names are blackbox_exporter's where it has them."""
    outcome = report.outcome
    return b"".join(family.render(openmetrics=False) for family in _families(report, outcome))


def _families(report: Report, outcome: Outcome) -> Iterator[FastFamily]:
    def one(name: str, text: str, number: float) -> FastFamily:
        return FastFamily.of(Shape("gauge", name, text), {(): number})

    yield one("probe_success", "Whether the probe succeeded.", float(not report.reason))
    yield one("probe_duration_seconds", "How long the probe took.", report.seconds)
    if report.address:
        version = 6.0 if ":" in report.address else 4.0
        yield one("probe_ip_protocol", "Version of IP that was used.", version)
    if "resolve" in outcome.phases:
        seconds = outcome.phases["resolve"]
        yield one("probe_dns_lookup_time_seconds", "Time to resolve the name.", seconds)
    if outcome.phases:
        family = Shape("gauge", "probe_phase_seconds", "Parts of the probe.", ["phase"])
        yield FastFamily.of(family, {(phase,): value for phase, value in outcome.phases.items()})
    if report.target.kind in ("icmp", "udp"):
        lost = sum(math.isnan(rtt) for rtt in report.rtts)
        yield one("probe_packets_sent", "Packets sent.", float(len(report.rtts)))
        yield one("probe_packets_lost", "Packets without an answer.", float(lost))
    if outcome.rtt is not None:
        yield one("probe_rtt_seconds", "The shortest round trip.", outcome.rtt)
    for name, number in outcome.numbers.items():
        yield one(f"probe_{name}", "Found out by the probe.", number)
    if report.reason:
        shape = Shape("gauge", "probe_failure_info", "Why it failed.", ["reason", "hop"])
        yield FastFamily.of(shape, {(report.reason, outcome.hop): 1.0})


def screen(report: Report) -> str:
    """For a terminal."""
    target = report.target
    where = f" ({report.address})" if report.address not in ("", target.host) else ""
    lines = [f"{target.kind} {target.text}{where}"]
    if target.kind in ("icmp", "udp"):
        lines += [
            f"  {number}: {'lost' if math.isnan(rtt) else f'{rtt * 1000:.3f} ms'}"
            for number, rtt in enumerate(report.rtts, 1)
        ]
    for phase, seconds in report.outcome.phases.items():
        lines.append(f"  {phase}: {seconds * 1000:.3f} ms")
    for name, number in report.outcome.numbers.items():
        lines.append(f"  {name}: {number:g}")
    if report.reason:
        hop = f", says {report.outcome.hop}" if report.outcome.hop else ""
        lines.append(f"  FAILED: {report.reason}{hop}")
    else:
        assert report.outcome.rtt is not None
        lines.append(f"  ok: {report.outcome.rtt * 1000:.3f} ms")
    return "\n".join(lines)


def probe_route(guard: Guard | None) -> BaseRoute:
    """`/probe`. `guard` None: nothing is allowed, which the page says. A browser gets a page, all
    others Prometheus' text."""
    places = asyncio.Semaphore(AT_ONCE)

    async def ask_for(request: Request, target: str, module: str) -> Report | Refusal:
        if guard is None:
            return Refusal("/probe is off: name the targets that it may reach in pingmesh.allow")
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return Refusal("a page of another site asked for this probe; ask from this one")
        if not target:
            return Refusal("target is missing: /probe?target=HOST&module=ping", 400)
        if places.locked():
            return Refusal("too many probes under way", 503)
        async with places:
            try:
                report = await ask(target, module, guard, _timeout(request))
            except KernmeshError as error:
                return Refusal(str(error), 400)
        if report.reason == "denied":
            return Refusal("this target is not in pingmesh.allow")
        return report

    async def show(request: Request) -> Response:
        target = request.query_params.get("target", "")
        module = request.query_params.get("module", "")
        found = await ask_for(request, target, module)
        if wants_html(request.headers.getlist("accept")):
            shown = Asked(target, module, tuple(MODULES) if guard else ())
            html = await in_thread(lambda: probe_page(shown, found), "page")
            return page(html, found.status if isinstance(found, Refusal) and target else 200)
        if isinstance(found, Refusal):
            return PlainTextResponse(f"{found.text}\n", found.status)
        return Response(prometheus_text(found), media_type=CONTENT_TYPE)

    return Route("/probe", show)


def _timeout(request: Request) -> float:
    """A little less than Prometheus waits, so that it hears of the failure."""
    try:
        wait = float(request.headers.get("x-prometheus-scrape-timeout-seconds", "")) - 0.5
    except ValueError:
        return TIMEOUT_SECONDS
    return min(max(wait, 0.1), LONGEST_TIMEOUT) if math.isfinite(wait) else TIMEOUT_SECONDS
