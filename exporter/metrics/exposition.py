"""A registry as the bytes of one scrape: which format the client takes, and that format.

The rule: pure, and nothing but the two text formats; families that are not ours go through
prometheus_client's own renderers. Knows no HTTP beyond three header values.
"""

import logging
import zlib
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from prometheus_client import Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporter.metrics.registry import Registry
from exporter.metrics.table import FastFamily, joined

log = logging.getLogger(__name__)

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_EOF = b"# EOF\n"


class Format(NamedTuple):
    """Clients for which this is equal get the same bytes."""

    openmetrics: bool
    gzip: bool


class _Choice(NamedTuple):
    value: str
    parameters: dict[str, str]
    quality: float


def _choices(header: str) -> Iterator[_Choice]:
    """RFC 9110 section 12.4.2. A quality that is no number from 0 to 1 makes its entry void."""
    for entry in header.split(","):
        value, *rest = (part.strip().lower() for part in entry.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {name.strip(): text.strip().strip('"') for name, _, text in pairs}
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            continue
        if value and 0 <= quality <= 1:
            yield _Choice(value, parameters, quality)


def _takes_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics 1.0.0 is what the client wants more than text; in a tie the one that
    it names first. Text where nothing fits: no scrape is refused over a header."""
    best, openmetrics = 0.0, False
    for value, parameters, quality in _choices(accept):
        if quality <= best:
            continue
        if value == "application/openmetrics-text":
            # 0.0.1 differs in its counters; without a version any is meant.
            if parameters.get("version", "1.0.0") == "1.0.0":
                best, openmetrics = quality, True
        elif value in ("text/plain", "text/*", "*/*"):
            # text/plain 1.0.0 is 0.0.4 with quoted names added, which we have none of.
            best, openmetrics = quality, False
    return openmetrics


def _takes_gzip(accept_encoding: str) -> bool:
    """RFC 9110 section 12.5.3: a weight of 0 refuses, "*" stands for what is not named."""
    qualities = {choice.value: choice.quality for choice in _choices(accept_encoding)}
    gzip = qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0)))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


def negotiate(accept: str | None, accept_encoding: str | None) -> Format:
    """None is a header that was not sent."""
    return Format(_takes_openmetrics(accept or ""), _takes_gzip(accept_encoding or ""))


def render(
    registry: Registry,
    accept: str | None = None,
    accept_encoding: str | None = None,
    names: Collection[str] = (),
) -> tuple[bytes, dict[str, str]]:
    """One scrape: body and headers. `names` are the values of `name[]`, none for everything."""
    openmetrics, gzip = negotiate(accept, accept_encoding)
    found = registry.collect_names(names) if names else registry.collect()
    chunks = render_families(found, openmetrics)
    headers = {
        "Content-Type": OPENMETRICS if openmetrics else TEXT,
        "Vary": "Accept, Accept-Encoding",
    }
    if not gzip:
        return joined(chunks), headers
    # Level 1 of the standard library's zlib: 10,000 series (618 kB) take 2.5 ms, a tenth of
    # what they may; isal and zlib-ng would be one more wheel each for nothing that is missing.
    packer = zlib.compressobj(1, wbits=31)
    packed = [packer.compress(chunk) for chunk in chunks]
    headers["Content-Encoding"] = "gzip"
    return b"".join((*packed, packer.flush())), headers


def render_families(found: Iterable[Metric], openmetrics: bool) -> Iterator[bytes]:
    """The families as they come, in pieces that end anywhere. One of prometheus_client's kind
    that cannot be rendered is left out and said so."""
    for family in found:
        if isinstance(family, FastFamily):
            yield from family.chunks(openmetrics)
            continue
        try:
            yield _theirs(family, openmetrics)
        except Exception as error:  # anybody's collector may hold anything
            log.error("metric %s left out: it cannot be rendered: %r", family.name, error.args[:1])
    if openmetrics:
        yield _EOF


class _One(NamedTuple):
    family: Metric

    def collect(self) -> Iterable[Metric]:
        return (self.family,)


def _theirs(family: Metric, openmetrics: bool) -> bytes:
    if not openmetrics:
        return generate_latest(_One(family))
    body: bytes = generate_openmetrics(_One(family))  # type: ignore[no-untyped-call]
    return body.removesuffix(_EOF)
