"""The client that pulls lists: whom it trusts, and how it proves who this agent is.

The rule: certificates, key and token are read again when their files change, and a file that
cannot be used is an error at every turn, never passed over: an agent that cannot tell who its
controller is asks it nothing. Knows no pinglist.
"""

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from exporter.config.pingmesh import ClientTls
from exporter.errors import KernmeshError
from exporter.threads import in_thread

if TYPE_CHECKING:
    import httpx

_LONGEST_TOKEN = 64 << 10
Stamp = tuple[int, int, int]


class BadFile(KernmeshError):
    """A file that the settings name cannot be used. `key` is which setting, under pingmesh."""

    def __init__(self, key: str, path: str, problem: str) -> None:
        self.key, self.path, self.problem = key, path, problem
        super().__init__(f"pingmesh.{key}: {path}: {problem}")


class PullClient:
    """For one URL. `open` before each request; what it gives is good for that one."""

    def __init__(
        self, url: str, timeout: float, tls: ClientTls, bearer_token_file: str | None
    ) -> None:
        self._secure = urlsplit(url).scheme == "https"
        self._timeout, self._tls, self._token_file = timeout, tls, bearer_token_file
        self._client: httpx.AsyncClient | None = None
        self._stamps: Mapping[str, Stamp] = {}
        self.extensions = {"sni_hostname": tls.server_name} if tls.server_name else {}

    async def open(self) -> tuple["httpx.AsyncClient", Mapping[str, str]]:
        """The client, and the headers that say who we are. Raises BadFile."""
        stamps, token = await in_thread(self._look, "pull files")
        if self._client is not None and stamps != self._stamps:
            await self.close()
        if self._client is None:
            self._client = await in_thread(self._make, "pull client")
            self._stamps = stamps
        return self._client, {"Authorization": f"Bearer {token}"} if token else {}

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _look(self) -> tuple[Mapping[str, Stamp], str | None]:
        stamps = {key: _stamp(key, path) for key, path in _files(self._tls)}
        return stamps, self._token_file and read_token(self._token_file)

    def _make(self) -> "httpx.AsyncClient":
        import httpx

        return httpx.AsyncClient(
            verify=tls_context(self._tls) if self._secure else False,
            follow_redirects=False,
            timeout=self._timeout,
            trust_env=False,
        )


def tls_context(tls: ClientTls) -> ssl.SSLContext:
    """As the settings say. Raises BadFile."""
    for key, path in _files(tls):
        _stamp(key, path)
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (ssl.SSLError, OSError) as error:
        problem = _unreadable(error) or "no certificate in PEM in it"
        raise BadFile("tls.ca_file", str(tls.ca_file), problem) from error
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
            raise BadFile("tls.cert_file", tls.cert_file, problem) from error
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def read_token(path: str) -> str:
    """What a bearer token file holds, less the white space around it. Raises BadFile."""
    key = "bearer_token_file"
    try:
        with Path(path).open("rb") as file:
            data = file.read(_LONGEST_TOKEN + 1)
    except OSError as error:
        raise BadFile(key, path, error.strerror or "cannot be read") from error
    token = data.strip()
    if not token:
        raise BadFile(key, path, "is empty, want a token in it")
    if len(data) > _LONGEST_TOKEN or not token.isascii() or not token.decode().isprintable():
        raise BadFile(key, path, "holds no token: one line of printable ASCII")
    return token.decode()


def tls_problem(error: BaseException) -> str | None:
    """What went wrong between us and a server's TLS, None where it was something else."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, ssl.SSLError):
        found = found.__cause__ or found.__context__
    if found is None:
        return None
    if isinstance(found, ssl.SSLCertVerificationError):
        text = found.verify_message.rstrip(".")
        issuer = "issuer" in text or "self-signed" in text or "self signed" in text
        hint = " (is pingmesh.tls.ca_file of its CA?)" if issuer else ""
        return f"its certificate is not to be trusted: {text}{hint}"
    reason = found.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"):
        return "it does not speak TLS (is it http://?)"
    if reason.endswith("ALERT_CERTIFICATE_REQUIRED"):
        return "it wants a certificate of ours: pingmesh.tls.cert_file and key_file"
    if "ALERT" in reason:
        alert = reason.partition("ALERT_")[2].replace("_", " ").lower()
        return f"it refuses us by a TLS alert: {alert} (see pingmesh.tls.cert_file)"
    return f"TLS failed: {reason.replace('_', ' ').lower() or found}"


def _files(tls: ClientTls) -> Iterator[tuple[str, str]]:
    for key in ("ca_file", "cert_file", "key_file"):
        path = getattr(tls, key)
        if path is not None:
            yield f"tls.{key}", path


def _stamp(key: str, path: str) -> Stamp:
    """Changes when the file does. Raises BadFile where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
    except OSError as error:
        raise BadFile(key, path, error.strerror or "cannot be read") from error
    return status.st_mtime_ns, status.st_size, status.st_ino


def _unreadable(error: OSError) -> str | None:
    """SSLError is an OSError too, and says nothing that a user could use."""
    return None if isinstance(error, ssl.SSLError) else error.strerror
