"""The HTTP server of a role, as its file says it: alike in all, but for where it listens."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct

from exporter.config.convert import Fault, doubles
from exporter.config.scalars import ListenAddress

Listen = Annotated[tuple[ListenAddress, ...], Meta(min_length=1)]


class HttpServer(Struct, frozen=True, forbid_unknown_fields=True):
    """The HTTP server. `web_config` is a file as Prometheus exporters read it (TLS, users);
    `lifecycle` lets POST /-/reload reload."""

    listen: Listen = ()
    web_config: Annotated[str, Meta(min_length=1)] | None = None
    lifecycle: bool = False

    def faults(self) -> Iterator[Fault]:
        for index in doubles([text for text in self.listen if not text.endswith(":0")]):
            yield Fault(("listen", index), "is there twice", self.listen[index])
