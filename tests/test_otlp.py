"""Spans reach a collector of OTLP over HTTP as what they were, and nobody where none is named."""

import subprocess
import sys

import pytest

from exporter.ebpf.spans import Span
from exporter.otlp import SpanExport, endpoint
from tests.otlp_receiver import receiving

SPAN = Span("read", "disk", 0xAB << 120 | 1, 0x1F, 0x2F, 1_000, 3_000, {"device": "sda", "n": "3"})


def test_a_span_arrives_whole() -> None:
    with receiving() as receiver:
        export = SpanExport(receiver.address)
        export.send(SPAN)
        export.send(SPAN._replace(service="", parent_id=None))
        export.close()
    assert receiver.paths == ["/v1/traces"]
    (first_service, first), (second_service, second) = sorted(receiver.spans, key=lambda s: s[0])
    assert (first_service, second_service) == ("disk", "kernmesh")
    assert first.name == "read"
    assert first.trace_id == b"\xab" + bytes(14) + b"\1"
    assert first.span_id == bytes(7) + b"\x1f"
    assert first.parent_span_id == bytes(7) + b"\x2f"
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (1_000, 3_000)
    attributes = {each.key: each.value.string_value for each in first.attributes}
    assert attributes == {"device": "sda", "n": "3"}
    assert second.parent_span_id == b""


def test_a_collector_that_is_not_there_does_not_hold_up_the_end() -> None:
    export = SpanExport("http://127.0.0.1:9")  # discard: nobody listens
    export.send(SPAN)
    export.close()  # returns: that is what is tested


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("https://c/otlp/v1/traces", "https://c/otlp/v1/traces"),
    ],
)
def test_an_address_without_a_path_means_otlp_s_own(address: str, url: str) -> None:
    assert endpoint(address) == url


WITHOUT = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
from exporter.otlp import SpanExport
try:
    SpanExport("http://c:4318")
except Exception as error:
    print(type(error).__name__, error)
"""


def test_without_the_sdk_it_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], check=True, capture_output=True, text=True
    )
    assert done.stdout == (
        "KernmeshError ebpf.otlp is http://c:4318, but OpenTelemetry's SDK is not installed: "
        "pip install 'kernmesh[tracing]'\n"
    )


def test_the_agent_loads_nothing_of_it_unasked() -> None:
    code = "import sys, exporter.app; print([m for m in sys.modules if 'opentelemetry' in m])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
