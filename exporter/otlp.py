"""Spans to a collector by OTLP over HTTP, with OpenTelemetry's own SDK (the extra `tracing`).

Nothing is imported and nobody is called unless ebpf.otlp names an address. Spans wait in the SDK's
queue of 2,048; when nobody takes them, the oldest are dropped.
"""

import importlib.util
import threading
from typing import Any
from urllib.parse import urlsplit

from exporter.ebpf.spans import Span
from exporter.errors import KernmeshError

_SCOPE = "kernmesh"
_REQUEST_SECONDS = 5.0
_LAST_SECONDS = 3.0  # that what is left may take at the end


class SpanExport:
    """`send` may be called from any thread, until `close`."""

    def __init__(self, address: str) -> None:
        """Raises KernmeshError where the SDK is not installed. Calls nobody yet."""
        wanted = ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
        if not all(map(_is_there, wanted)):
            raise KernmeshError(
                f"ebpf.otlp is {address}, but OpenTelemetry's SDK is not installed: "
                "pip install 'kernmesh[tracing]'"
            )
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = OTLPSpanExporter(endpoint(address), timeout=_REQUEST_SECONDS)
        self._processor = BatchSpanProcessor(exporter)
        self._resources: dict[str, Any] = {}

    def send(self, span: Span) -> None:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, TraceFlags

        sampled = TraceFlags(TraceFlags.SAMPLED)
        parent = None
        if span.parent_id is not None:
            parent = SpanContext(span.trace_id, span.parent_id, is_remote=True, trace_flags=sampled)
        own = SpanContext(span.trace_id, span.span_id, is_remote=False, trace_flags=sampled)
        self._processor.on_end(
            ReadableSpan(
                span.name,
                context=own,
                parent=parent,
                resource=self._resource(span.service or _SCOPE),
                attributes=dict(span.attributes),
                start_time=span.start_ns,
                end_time=span.end_ns,
                instrumentation_scope=InstrumentationScope(_SCOPE),
            )
        )

    def _resource(self, service: str) -> Any:
        from opentelemetry.sdk.resources import Resource

        if service not in self._resources:
            self._resources[service] = Resource({"service.name": service})
        return self._resources[service]

    def close(self) -> None:
        """Sends what is left, as far as that goes fast."""
        last = threading.Thread(target=self._processor.shutdown, name="otlp", daemon=True)
        last.start()
        last.join(_LAST_SECONDS)


def endpoint(address: str) -> str:
    """A collector's address without a path means OTLP's own path."""
    return address if urlsplit(address).path.strip("/") else address.rstrip("/") + "/v1/traces"


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not
        return False
