"""A collector of OTLP over HTTP, as small as can be: keeps the spans that were sent to it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Receiver:
    """`spans` are (service, span) in the order of their coming."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.paths: list[str] = []
        self.spans: list[tuple[str, Span]] = []
        self._changed = threading.Condition()

    def got(self, path: str, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            self.paths.append(path)
            for resource_spans in request.resource_spans:
                (service,) = (
                    each.value.string_value
                    for each in resource_spans.resource.attributes
                    if each.key == "service.name"
                )
                for scope_spans in resource_spans.scope_spans:
                    self.spans += [(service, span) for span in scope_spans.spans]
            self._changed.notify_all()

    def wait_for(self, count: int, seconds: float = 20.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.spans) >= count, seconds), self.spans


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the standard library's name
            receiver.got(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
