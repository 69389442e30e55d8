"""Towards a server that is asked: whom we trust, and how we prove who we are.

The rule: certificates, keys, tokens and passwords are read again when their files change, and a
file that cannot be used is an error at every turn, never passed over: who cannot tell whom it asks
asks nothing. Knows no HTTP client.
"""

import os
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from exporter.config.client import BasicAuth, ClientTls
from exporter.config.load import line_of
from exporter.errors import KernmeshError, Problem
from exporter.filestamp import Stamp, stamp_of
from exporter.secretfile import read_secret


class BadFile(KernmeshError):
    """A file that the settings name cannot be used. `key` is which setting, under `section`."""

    def __init__(self, key: str, path: str, problem: str, section: str) -> None:
        self.key, self.path, self.problem = key, path, problem
        super().__init__(f"{section}.{key}: {path}: {problem}")


class Seen(NamedTuple):
    """`stamps` are others when a context made before is not what the files say any more;
    `headers` are good for one request."""

    stamps: Mapping[str, Stamp]
    headers: Mapping[str, str]


class Identity(NamedTuple):
    """What one section of the configuration says of a server."""

    section: str
    tls: ClientTls = ClientTls()
    bearer_token_file: str | None = None
    basic_auth: BasicAuth | None = None

    def look(self) -> Seen:
        """Blocks. Raises BadFile."""
        stamps = {key: _stamp(self.section, key, path) for key, path in _files(self.tls)}
        return Seen(stamps, self._headers())

    def context(self) -> ssl.SSLContext:
        """Blocks. Raises BadFile."""
        return _tls_context(self.tls, self.section)

    def check(self, file: Path) -> Iterator[Problem]:
        """What is wrong with the files that this section of `file` names."""
        for look in (self.context, self._headers):
            try:
                look()
            except BadFile as error:
                key = f"{self.section}.{error.key}"
                yield Problem(str(file), line_of(file, key), key, f"{error.path}: {error.problem}")

    def _headers(self) -> Mapping[str, str]:
        if self.bearer_token_file is not None:
            token = _secret(self.section, "bearer_token_file", self.bearer_token_file, "token")
            return {"Authorization": f"Bearer {token}"}
        if self.basic_auth is not None:
            key, file = "basic_auth.password_file", self.basic_auth.password_file
            password = _secret(self.section, key, file, "password")
            pair = b64encode(f"{self.basic_auth.username}:{password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {}


def _tls_context(tls: ClientTls, section: str) -> ssl.SSLContext:
    """As the settings say. Raises BadFile."""
    for key, path in _files(tls):
        _stamp(section, key, path)
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (ssl.SSLError, OSError) as error:
        problem = _unreadable(error) or "no certificate in PEM in it"
        raise BadFile("tls.ca_file", str(tls.ca_file), problem, section) from error
    if tls.cert_file is not None and tls.key_file is not None:
        try:
            # Without a password of ours OpenSSL would ask for one on the terminal.
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
        except (ssl.SSLError, OSError) as error:
            mismatch = getattr(error, "reason", None) == "KEY_VALUES_MISMATCH"
            problem = _unreadable(error) or (
                f"does not belong to {tls.key_file}"
                if mismatch
                else f"no certificate, or no unencrypted key in {tls.key_file}"
            )
            raise BadFile("tls.cert_file", tls.cert_file, problem, section) from error
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _secret(section: str, key: str, path: str, what: str) -> str:
    """Raises BadFile."""
    try:
        return read_secret(Path(path), what)
    except ValueError as error:
        raise BadFile(key, path, str(error), section) from error


def tls_problem(error: BaseException, section: str) -> str | None:
    """What went wrong between us and a server's TLS, None where it was something else."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, ssl.SSLError):
        found = found.__cause__ or found.__context__
    if found is None:
        return None
    if isinstance(found, ssl.SSLCertVerificationError):
        text = found.verify_message.rstrip(".")
        issuer = "issuer" in text or "self-signed" in text or "self signed" in text
        hint = f" (is {section}.tls.ca_file of its CA?)" if issuer else ""
        return f"its certificate is not to be trusted: {text}{hint}"
    reason = found.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"):
        return "it does not speak TLS (is it http://?)"
    if reason.endswith("ALERT_CERTIFICATE_REQUIRED"):
        return f"it wants a certificate of ours: {section}.tls.cert_file and key_file"
    if "ALERT" in reason:
        alert = reason.partition("ALERT_")[2].replace("_", " ").lower()
        return f"it refuses us by a TLS alert: {alert} (see {section}.tls.cert_file)"
    return f"TLS failed: {reason.replace('_', ' ').lower() or found}"


def _files(tls: ClientTls) -> Iterator[tuple[str, str]]:
    for key in ("ca_file", "cert_file", "key_file"):
        path = getattr(tls, key)
        if path is not None:
            yield f"tls.{key}", path


def _stamp(section: str, key: str, path: str) -> Stamp:
    """Changes when the file does. Raises BadFile where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return stamp_of(os.fstat(file.fileno()))
    except OSError as error:
        raise BadFile(key, path, error.strerror or "cannot be read", section) from error


def _unreadable(error: OSError) -> str | None:
    """SSLError is an OSError too, and says nothing that a user could use."""
    return None if isinstance(error, ssl.SSLError) else error.strerror
