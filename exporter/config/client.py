"""What a section says of a server that is asked: whom we trust, and who we say we are.

The keys are those of Prometheus' scrape configuration. Files are named here and opened elsewhere
(exporter/identity.py).
"""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct

from exporter.config.convert import Fault
from exporter.config.wording import KeyPath

Text = Annotated[str, Meta(min_length=1)]


class ClientTls(Struct, frozen=True, forbid_unknown_fields=True):
    """TLS towards a server, with the keys of Prometheus' tls_config. `ca_file` replaces the
    machine's trust; `cert_file` and `key_file` say who we are; `server_name` is what the server's
    certificate must be for, null: the URL's host. All files are read again when they change."""

    ca_file: Text | None = None
    cert_file: Text | None = None
    key_file: Text | None = None
    server_name: Text | None = None
    insecure_skip_verify: bool = False

    def faults(self) -> Iterator[Fault]:
        for key, given, other in (
            ("key_file", self.key_file, "cert_file"),
            ("cert_file", self.cert_file, "key_file"),
        ):
            if given is None and getattr(self, other) is not None:
                yield Fault((key,), "is missing", want=f"a file, as {other} has one")


class BasicAuth(Struct, frozen=True, forbid_unknown_fields=True):
    """A user, and the file that holds the password; it is read at each use."""

    username: Text
    password_file: Text

    def faults(self) -> Iterator[Fault]:
        if ":" in self.username:
            yield Fault(("username",), "has a colon, which cannot be sent (RFC 7617)")


def secret_faults(
    tls: ClientTls,
    bearer_token_file: str | None,
    basic_auth: BasicAuth | None,
    secure: bool,
    want: str,
    also: KeyPath,
) -> Iterator[Fault]:
    """Of a section's keys `tls`, `bearer_token_file` and `basic_auth`. `want` is what would make it
    secure, `also` the key that is about that."""
    if bearer_token_file is not None and basic_auth is not None:
        text = "is set beside bearer_token_file"
        yield Fault(("basic_auth",), text, want="one of the two", also=(("bearer_token_file",),))
    for key, given in (
        ("tls", tls != ClientTls()),
        ("bearer_token_file", bearer_token_file is not None),
        ("basic_auth", basic_auth is not None),
    ):
        if given and not secure:
            yield Fault((key,), "has no meaning without TLS", want=want, also=(also,))
