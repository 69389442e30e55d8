"""agent.yaml's section pingmesh, as frozen structs.

The rule: whatever keeps the mesh from starting is a fault here, with its line, so that `check`
and the start say the same. What is in the files that are named, pingmesh/start.py looks at.
"""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Annotated, Any, ClassVar, Self

from msgspec import Meta, Struct

from exporter.config.client import ClientTls, secret_faults
from exporter.config.convert import Fault, doubles
from exporter.config.scalars import HttpUrl

Text = Annotated[str, Meta(min_length=1)]
AtLeastOne = Annotated[int, Meta(ge=1)]
REACH_WORDS = ("link-local", "metadata", "loopback", "private", "all")
"""Names of networks. Which networks they are is known to pingmesh/guard.py."""


class Reach(str):
    """What may be probed, or may not: an address, a network, or a name for some."""

    want: ClassVar[str] = (
        f"an address, a network such as 10.0.0.0/8, or one of {', '.join(REACH_WORDS)}"
    )
    json_schema: ClassVar[dict[str, Any]] = {
        "type": "string",
        "pattern": rf"^({'|'.join(REACH_WORDS)}|[0-9A-Fa-f.:]+(/[0-9.]+)?)$",
    }

    def __new__(cls, text: str) -> Self:
        if text not in REACH_WORDS:
            try:
                ip_network(text, strict=False)
            except ValueError:
                raise ValueError("no network") from None
        return super().__new__(cls, text)


class Pingmesh(Struct, frozen=True, forbid_unknown_fields=True):
    """Probes between nodes. `pinglist` is a file, `controller` the URL of a controller that
    serves one, asked with `tls` and the token that `bearer_token_file` holds; `allow` and `deny`
    say what pulled lists and /probe may reach. At most `max_pps` probes leave per second, and at
    most `max_classes` classes (probe, zone and rack of both ends) have series of their own: the
    rest is counted as "other"."""

    pinglist: Text | None = None
    controller: HttpUrl | None = None
    tls: ClientTls = ClientTls()
    bearer_token_file: Text | None = None
    responder: bool = True
    allow: tuple[Reach, ...] = ()
    deny: tuple[Reach, ...] = (Reach("link-local"), Reach("metadata"))
    max_pps: AtLeastOne = 2000
    max_classes: AtLeastOne = 512

    def faults(self) -> Iterator[Fault]:
        if self.pinglist is not None and self.controller is not None:
            want = "one of the two"
            yield Fault(("controller",), "is set beside pinglist", want=want, also=(("pinglist",),))
        secure = self.controller is not None and self.controller.startswith("https:")
        yield from secret_faults(
            self.tls,
            self.bearer_token_file,
            None,
            secure,
            "controller: https://…",
            ("controller",),
        )
        for key, values in (("allow", self.allow), ("deny", self.deny)):
            for index in doubles(values):
                yield Fault((key, index), "is there twice", str(values[index]))
