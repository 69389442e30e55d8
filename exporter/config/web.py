"""Prometheus' web configuration file (--web.config.file): TLS, users and headers of the server.

The keys are exporter-toolkit's (docs/web-configuration.md there), so its files are read as they
are; `bearer_token_files` and `open_paths` are ours. The rule: what Python's TLS cannot do is a
fault, or a note that is said at the start, never passed over. Opens no certificate.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from msgspec import Meta, Struct, field

from exporter.config.convert import Fault, doubles
from exporter.config.load import load_yaml
from exporter.config.scalars import GoDuration

Text = Annotated[str, Meta(min_length=1)]
Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
ClientAuth = Literal[
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "RequireClientCert",  # what exporter-toolkit once called RequireAnyClientCert
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
]
VERIFYING = ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")

# Go's names (crypto/tls, CipherSuites) to OpenSSL's (openssl-ciphers(1)).
SUITES: Mapping[str, str] = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}
# TLS 1.3's own, which neither Go nor Python lets anybody choose from.
SUITES_13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
CURVES: Mapping[str, str] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
_BCRYPT = re.compile(r"\$2[abxy]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_FRAME, _NOSNIFF = ("", "deny", "sameorigin"), ("", "nosniff")
SLOW_COST = 15
"""From here on a password takes seconds to be checked."""


class Cipher(str):
    """A suite by Go's name."""

    want: ClassVar[str] = "a name of Go's tls.CipherSuites, such as " + next(iter(SUITES))
    json_schema: ClassVar[dict[str, Any]] = {"type": "string", "enum": [*SUITES_13, *SUITES]}

    def __new__(cls, text: str) -> Self:
        if text not in SUITES and text not in SUITES_13:
            raise ValueError("unknown cipher suite")
        return super().__new__(cls, text)


class Curve(str):
    """A curve by Go's name."""

    want: ClassVar[str] = ", ".join(CURVES)
    json_schema: ClassVar[dict[str, Any]] = {"type": "string", "enum": [*CURVES]}

    def __new__(cls, text: str) -> Self:
        if text not in CURVES:
            raise ValueError("unknown curve")
        return super().__new__(cls, text)


class TlsServer(Struct, frozen=True, forbid_unknown_fields=True):
    """Who we are, and whom we let in. Certificate, key and CA are files, or PEM in the file itself
    (`cert`, `key`, `client_ca`). `client_allowed_sans`: a client's certificate must be for one of
    these names. `cipher_suites` are those of TLS 1.2."""

    cert: Text | None = None
    key: Text | None = None
    client_ca: Text | None = None
    cert_file: Text | None = None
    key_file: Text | None = None
    client_ca_file: Text | None = None
    client_auth_type: ClientAuth = "NoClientCert"
    client_allowed_sans: tuple[Text, ...] | None = None
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: tuple[Cipher, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[Curve, ...] = ()

    def faults(self) -> Iterator[Fault]:
        if self == TlsServer():
            return
        for key in ("cert", "key", "client_ca"):
            text, file = getattr(self, key), getattr(self, f"{key}_file")
            if text is not None and file is not None:
                yield Fault((f"{key}_file",), f"is set beside {key}", want="one of the two")
            if text is None and file is None and key != "client_ca":
                yield Fault((f"{key}_file",), "is missing", want="a file in PEM", also=((key,),))
        yield from self._client_faults()
        if self.max_version in ("TLS10", "TLS11"):
            problem = "is not spoken any more (RFC 8996)"
            yield Fault(("max_version",), problem, self.max_version, "TLS12 or TLS13")
        elif self.min_version > self.max_version:
            want = f"at most max_version ({self.max_version})"
            yield Fault(("min_version",), "too high", self.min_version, want, (("max_version",),))
        if self.max_version == "TLS12" and self.cipher_suites and not self.openssl_suites():
            want = "one of TLS 1.2, or max_version: TLS13"
            yield Fault(("cipher_suites",), "are of TLS 1.3 only", want=want)

    def _client_faults(self) -> Iterator[Fault]:
        auth, ca = self.client_auth_type, self.client_ca is not None or self.client_ca_file
        if auth in ("RequireAnyClientCert", "RequireClientCert"):
            problem = "Python's TLS takes no certificate unverified (and anybody can make one)"
            want = "RequireAndVerifyClientCert, and a client_ca_file"
            yield Fault(("client_auth_type",), problem, auth, want)
        elif auth in VERIFYING and not ca:
            problem = "is missing, and all CAs of this machine would be trusted"
            want = "the CA of your clients"
            yield Fault(("client_ca_file",), problem, want=want, also=(("client_ca",),))
        elif auth == "NoClientCert" and ca:
            want = " or ".join(VERIFYING)
            yield Fault(("client_auth_type",), "asks no client for a certificate", auth, want)
        if self.client_allowed_sans is not None and auth != "RequireAndVerifyClientCert":
            want = "client_auth_type: RequireAndVerifyClientCert"
            also = (("client_auth_type",),)
            yield Fault(("client_allowed_sans",), "proves nothing so", want=want, also=also)

    def openssl_suites(self) -> tuple[str, ...]:
        """Those of TLS 1.2, by OpenSSL's names."""
        return tuple(SUITES[each] for each in self.cipher_suites if each in SUITES)

    def notes(self) -> Iterator[str]:
        if self.client_auth_type == "RequestClientCert":
            yield (
                "client_auth_type: RequestClientCert lets everybody in and verifies nothing, so no "
                "certificate is asked for"
            )
        if self.min_version in ("TLS10", "TLS11"):
            yield f"min_version: {self.min_version} is not spoken any more (RFC 8996), TLS12 is"
        if len(self.curve_preferences) > 1:
            yield f"curve_preferences: Python's TLS takes one: {self.curve_preferences[0]} is used"


class Headers(Struct, frozen=True, forbid_unknown_fields=True):
    """Of every answer; "" sets none."""

    strict_transport_security: str = field(default="", name="Strict-Transport-Security")
    x_content_type_options: str = field(default="", name="X-Content-Type-Options")
    x_frame_options: str = field(default="", name="X-Frame-Options")
    x_xss_protection: str = field(default="", name="X-XSS-Protection")
    content_security_policy: str = field(default="", name="Content-Security-Policy")

    def faults(self) -> Iterator[Fault]:
        for name, value in self.named():
            if not value.isascii() or not value.isprintable():
                yield Fault((name,), "is no header", value, "one line of ASCII")
        if self.x_frame_options not in _FRAME:
            yield Fault(
                ("X-Frame-Options",), "unknown value", self.x_frame_options, "deny or sameorigin"
            )
        if self.x_content_type_options not in _NOSNIFF:
            name, value = "X-Content-Type-Options", self.x_content_type_options
            yield Fault((name,), "unknown value", value, "nosniff")

    def named(self) -> Iterator[tuple[str, str]]:
        for encoded, name in zip(
            self.__struct_encode_fields__, self.__struct_fields__, strict=True
        ):
            value: str = getattr(self, name)
            if value:
                yield encoded, value


class HttpServer(Struct, frozen=True, forbid_unknown_fields=True):
    """`http2` is taken and has no effect: HTTP/1.1 is what is spoken."""

    http2: bool | None = None
    headers: Headers = Headers()


class RateLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """Requests of all clients together: `burst` at once, one more each `interval`; 0: no limit."""

    interval: GoDuration = GoDuration("0")
    burst: Annotated[int, Meta(ge=0)] = 0

    def faults(self) -> Iterator[Fault]:
        if self.interval > 0 and self.burst == 0:
            yield Fault(("burst",), "lets nobody in", self.burst, "1 or more")


class WebConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. Where `basic_auth_users` (passwords hashed with bcrypt) or
    `bearer_token_files` (a token in each, by a name for it) are given, each request must have one
    of them, but for `open_paths`."""

    tls_server_config: TlsServer = TlsServer()
    http_server_config: HttpServer = HttpServer()
    rate_limit: RateLimit = RateLimit()
    basic_auth_users: dict[Text, str] = {}
    bearer_token_files: dict[Text, Text] = {}
    open_paths: tuple[Literal["/-/healthy", "/-/ready"], ...] = ()

    def faults(self) -> Iterator[Fault]:
        for user, hashed in self.basic_auth_users.items():
            path = ("basic_auth_users", user)
            if not _BCRYPT.fullmatch(hashed):  # never shown: it may be the password itself
                yield Fault(path, "is no bcrypt hash", want="$2y$10$… as htpasswd -nBC 10 has it")
            elif ":" in user:
                yield Fault(path, "has a colon, which no client can send (RFC 7617)")
        for index in doubles(self.open_paths):
            yield Fault(("open_paths", index), "is there twice", self.open_paths[index])
        if self.open_paths and not self.closed:
            want = "basic_auth_users or bearer_token_files"
            yield Fault(("open_paths",), "has no meaning where all is open", want=want)

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.tls_server_config != TlsServer()

    @property
    def closed(self) -> bool:
        """Whether requests need credentials."""
        return bool(self.basic_auth_users or self.bearer_token_files)

    def notes(self) -> Iterator[str]:
        """What is not as somebody who wrote this file for a Go program might think."""
        yield from (f"tls_server_config.{note}" for note in self.tls_server_config.notes())
        if self.http_server_config.http2:
            yield "http_server_config.http2: HTTP/2 is not spoken, all clients are served HTTP/1.1"
        if self.closed and not self.secure:
            yield "passwords and tokens travel in the clear: there is no tls_server_config"
        for user, hashed in self.basic_auth_users.items():
            if int(hashed[4:6]) >= SLOW_COST:
                yield f"basic_auth_users.{user}: a cost of {hashed[4:6]} takes seconds to check"


def load_web(path: Path) -> WebConfig:
    """Raises ConfigError with every problem that the file itself has."""
    return load_yaml(path, WebConfig, nulls="default")
