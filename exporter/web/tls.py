"""The server's TLS context, from a web configuration file's tls_server_config.

The rule: a context is made whole or not at all, and what keeps it from being made is said with the
key that is to blame. A key that wants a password is refused: there is nobody to ask.
"""

import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from exporter.config.web import CURVES, TlsServer
from exporter.pem import pem_file

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1_2,  # as its note says
    "TLS11": ssl.TLSVersion.TLSv1_2,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_VERIFY = {
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_PEM_END = "-----END CERTIFICATE-----"


class Secure(NamedTuple):
    """`names`: one of them must be in a client's certificate; None: any that verifies will do.
    `not_after`: Unix time at which our certificate ends, None where it cannot be told."""

    context: ssl.SSLContext
    names: frozenset[str] | None
    not_after: float | None


class BadMaterial(Exception):
    """`key` is whose fault it is, under tls_server_config."""

    def __init__(self, key: str, text: str) -> None:
        self.key = key
        super().__init__(text)


def make_secure(tls: TlsServer, folder: Path) -> Secure:
    """`folder` is where paths that are relative begin. Raises BadMaterial."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    # A client may not make us negotiate again and again (TLS 1.2), nor does it need to.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if tls.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    _choose(context, tls)
    pem = _certify(context, tls, folder)
    if tls.client_auth_type in _VERIFY:
        _trust(context, tls, folder)
        context.verify_mode = _VERIFY[tls.client_auth_type]
    sans = tls.client_allowed_sans
    names = None if sans is None else frozenset(map(_plain_name, sans))
    return Secure(context, names, not_after(pem))


def files(tls: TlsServer, folder: Path) -> Iterator[Path]:
    """Whatever the context is made of that may be exchanged."""
    for path in (tls.cert_file, tls.key_file, tls.client_ca_file):
        if path is not None:
            yield folder / path


def names_of(certificate: Mapping[str, Any]) -> frozenset[str]:
    """Subject alternative names of what SSLSocket.getpeercert gives, IP addresses as Go has them"""
    pairs = certificate.get("subjectAltName", ())
    return frozenset(_plain_name(str(value)) for _, value in pairs)


def not_after(pem: bytes) -> float | None:
    """Unix time of the first certificate's end: RFC 5280, 4.1: the second time of `validity`."""
    try:
        text = pem.decode("ascii", "replace")
        begin = text.index("-----BEGIN CERTIFICATE-----")
        der = ssl.PEM_cert_to_DER_cert(text[begin : text.index(_PEM_END) + len(_PEM_END)])
        fields = list(_elements(_inside(_inside(der))))
        if fields[0][0] == 0xA0:  # version
            fields.pop(0)
        tag, end = list(_elements(fields[3][1]))[1]  # after serial, signature and issuer
        digits = end.decode("ascii")
        if tag == 0x17:  # UTCTime: from 1950 on
            digits = ("19" if digits >= "50" else "20") + digits
        return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except (ValueError, IndexError):
        return None


def _choose(context: ssl.SSLContext, tls: TlsServer) -> None:
    suites = tls.openssl_suites()
    if suites:
        try:
            context.set_ciphers(":".join(suites))
        except ssl.SSLError as error:
            raise BadMaterial("cipher_suites", "this OpenSSL has none of them") from error
    elif tls.cipher_suites:  # all of TLS 1.3, so nothing before it has any
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if tls.curve_preferences:
        name = tls.curve_preferences[0]
        try:
            context.set_ecdh_curve(CURVES[name])
        except (ValueError, ssl.SSLError) as error:
            raise BadMaterial("curve_preferences", f"this OpenSSL cannot use {name}") from error


def _certify(context: ssl.SSLContext, tls: TlsServer, folder: Path) -> bytes:
    """Our certificate's PEM."""
    cert_key = "cert" if tls.cert is not None else "cert_file"
    key_key = "key" if tls.key is not None else "key_file"
    pem = _material(cert_key, tls.cert, tls.cert_file, folder)
    key = _material(key_key, tls.key, tls.key_file, folder)
    with pem_file(pem) as cert_path, pem_file(key) as key_path:
        try:
            # Without a password of ours OpenSSL would ask for one on the terminal.
            context.load_cert_chain(cert_path, key_path, password="")
        except (ssl.SSLError, OSError) as error:
            if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
                text = "does not belong to the certificate"
                raise BadMaterial(key_key, text) from error
            if not_after(pem) is None:
                raise BadMaterial(cert_key, "no certificate in PEM in it") from error
            reason = (getattr(error, "reason", None) or "").replace("_", " ").lower()
            if "too small" in reason or "too weak" in reason:
                raise BadMaterial(cert_key, f"OpenSSL refuses it: {reason}") from error
            raise BadMaterial(key_key, "no unencrypted key in PEM in it") from error
    return pem


def _trust(context: ssl.SSLContext, tls: TlsServer, folder: Path) -> None:
    name = "client_ca" if tls.client_ca is not None else "client_ca_file"
    pem = _material(name, tls.client_ca, tls.client_ca_file, folder)
    try:
        context.load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise BadMaterial(name, "no certificate in PEM in it") from error


def _material(key: str, text: str | None, file: str | None, folder: Path) -> bytes:
    if text is not None:
        return text.encode()
    assert file is not None  # TlsServer.faults has seen to that
    try:
        return (folder / file).read_bytes()
    except OSError as error:
        raise BadMaterial(key, f"{folder / file}: {error.strerror}") from error


def _plain_name(text: str) -> str:
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        return text


def _inside(der: bytes) -> bytes:
    return list(_elements(der))[0][1]  # noqa: RUF015 # IndexError, where there is none


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tags and contents, one after another (X.690: definite lengths). Raises IndexError."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size])
            at += size
        yield tag, der[at : at + length]
        at += length
