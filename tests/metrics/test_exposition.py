import gzip

import pytest
from prometheus_client import Counter, Histogram
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.metrics.exposition import OPENMETRICS, TEXT, Format, negotiate, render
from exporter.metrics.process import BuildInfo
from exporter.metrics.registry import Registry

# As sent by the programs themselves (scrape/scrape.go and config/config.go of each).
PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_2_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
    "application/openmetrics-text;version=1.0.0;q=0.8,"
    "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (PROMETHEUS_2_42, True),
        (PROMETHEUS_2_PROTOBUF, True),
        (PROMETHEUS_3, True),
        (BROWSER, False),
        (None, False),
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("text/*", False),
        ("text/plain;version=0.0.4", False),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", False),
        ("application/openmetrics-text", True),
        ('application/openmetrics-text; version="1.0.0"', True),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;q=0.4,text/plain;q=0.5", False),
        ("text/plain;q=0.5,application/openmetrics-text;q=0.6", True),
        ("text/plain,application/openmetrics-text", False),
        ("application/openmetrics-text,text/plain", True),
        ("application/openmetrics-text;q=0,*/*", False),
        ("application/openmetrics-text;q=nonsense,text/plain;q=0.1", False),
        ("application/openmetrics-text;q=2,text/plain;q=0.1", False),
        ("application/openmetrics-text;q=nan", False),
        ("APPLICATION/OpenMetrics-Text;Version=1.0.0", True),
        ("image/png", False),
        (";;;,,,=;q", False),
    ],
)
def test_the_format_is_the_one_that_the_client_wants_most(
    accept: str | None, openmetrics: bool
) -> None:
    assert negotiate(accept, None) == Format(openmetrics, gzip=False)


@pytest.mark.parametrize(
    ("header", "zipped"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("deflate, GZIP;q=1.0, *;q=0.5", True),
        ("x-gzip", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        ("identity", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("identity;q=0.5, gzip;q=1", True),
        ("identity;q=0, gzip", True),
        ("gzipped", False),
        ("gzip;q=x", False),
    ],
)
def test_gzip_is_used_where_it_is_accepted(header: str | None, zipped: bool) -> None:
    assert negotiate(None, header).gzip is zipped


@pytest.fixture
def registry() -> Registry:
    made = Registry()
    made.register(BuildInfo("1.2.3", "abc", "ebpf_exporter"), "build")
    Counter("jobs", 'Jobs "done".', ["kind"], registry=made).labels('a"b\\c\nd').inc()
    Histogram("seconds", "Time.", buckets=(1,), registry=made).observe(0.5)
    return made


def test_text_is_parsed_by_prometheus_client_and_says_what_it_is(registry: Registry) -> None:
    body, headers = render(registry)
    assert headers["Content-Type"] == TEXT == "text/plain; version=0.0.4; charset=utf-8"
    assert "Content-Encoding" not in headers
    names = [family.name for family in parse_text(body.decode())]
    assert names[:3] == ["kernmesh_build_info", "ebpf_exporter_build_info", "jobs"]
    assert b"# EOF" not in body


def test_openmetrics_is_parsed_strictly_and_ends_in_one_eof(registry: Registry) -> None:
    body, headers = render(registry, PROMETHEUS_3)
    assert headers["Content-Type"] == OPENMETRICS
    assert body.endswith(b"\n# EOF\n")
    assert body.count(b"# EOF") == 1
    families = {family.name: family for family in parse_openmetrics(body.decode())}  # type: ignore[no-untyped-call]
    assert families["jobs"].samples[0].labels == {"kind": 'a"b\\c\nd'}
    assert families["kernmesh_build_info"].samples[0].value == 1


def test_an_empty_openmetrics_page_is_its_eof() -> None:
    assert render(Registry(), PROMETHEUS_3)[0] == b"# EOF\n"


def test_gzip_holds_the_same_bytes_and_caches_are_told(registry: Registry) -> None:
    names = ["jobs_total", "kernmesh_build_info"]
    plain, _ = render(registry, None, None, names)
    packed, headers = render(registry, None, "gzip", names)
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Vary"] == "Accept, Accept-Encoding"
    assert gzip.decompress(packed) == plain
    assert b'jobs_total{kind="a\\"b\\\\c\\nd"} 1.0\n' in plain
