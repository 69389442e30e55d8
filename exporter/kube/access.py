"""Where the API server is and as whom to ask it: a pod's service account, or a kubeconfig.

The rule: whatever is wrong is one KernmeshError line that names file and key, before anything is
asked. Secrets are never part of a message. Knows no HTTP client.
"""

import base64
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn
from urllib.parse import urlsplit

from msgspec import Struct

from exporter.config import line_of, load_yaml
from exporter.errors import ConfigError, KernmeshError, Problem

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Material(NamedTuple):
    """PEM text: in a file, which may be exchanged at any time, or as it stands; one of both."""

    file: Path | None = None
    data: bytes | None = None


class Access(NamedTuple):
    """`name` says in messages where this comes from. `ca` None: the system's. `token_file` may be
    exchanged at any time. `server_name` is what the certificate must say, if not the URL's host.
    `namespace` is where whoever asks lives, "" where unknown. `kubeconfig` is the file that this
    stands in, None where it stands in none."""

    name: str
    server: str
    ca: Material | None = None
    verify: bool = True
    server_name: str = ""
    cert: Material | None = None
    key: Material | None = None
    token: str = ""
    token_file: Path | None = None
    namespace: str = ""
    kubeconfig: Path | None = None

    def __repr__(self) -> str:
        """Without the token, wherever it may be printed."""
        return f"Access({self.name}, {self.server})"


def find_access(
    kubeconfig: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    account: Path = SERVICE_ACCOUNT,
) -> Access:
    """The kubeconfig that is named; else the pod's service account; else KUBECONFIG's file; else
    ~/.kube/config: client-go's order. Raises KernmeshError."""
    if kubeconfig is not None:
        return read_kubeconfig(kubeconfig)
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(environ, account)
    named = [each for each in environ.get("KUBECONFIG", "").split(":") if each]
    if len(named) > 1:
        raise KernmeshError(f"KUBECONFIG: names {len(named)} files, want one; join them first")
    if named:
        return read_kubeconfig(Path(named[0]))
    home = Path(environ.get("HOME") or "/", ".kube/config")
    if home.exists():
        return read_kubeconfig(home)
    raise KernmeshError(
        "no access to the Kubernetes API: this is no pod with a service account "
        f"(KUBERNETES_SERVICE_HOST is not set), KUBECONFIG is not set, and there is no {home}"
    )


def check(kubeconfig: str | None, file: Path, key: str) -> Iterator[Problem]:
    """What is wrong with the kubeconfig that `key` of this file names. Where none is named, access
    is the machine's matter, and nothing is wrong."""
    if kubeconfig is not None:
        try:
            read_kubeconfig(Path(kubeconfig))
        except KernmeshError as error:
            yield Problem(str(file), line_of(file, key), key, str(error))


def in_cluster(environ: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> Access:
    """docs/tasks/run-application/access-api-from-pod: the API's address from the environment, CA,
    token and namespace from the service account's folder. Raises KernmeshError."""
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    token, ca = account / "token", account / "ca.crt"
    for file in (token, ca):
        if not os.access(file, os.R_OK):
            raise KernmeshError(
                f"{file}: cannot be read; the pod's service account must be mounted "
                "(automountServiceAccountToken)"
            )
    try:
        namespace = (account / "namespace").read_text().strip()
    except OSError:
        namespace = ""
    server = f"https://{host}:{port}"
    return Access(f"service account in {account}", server, Material(ca), token_file=token)._replace(
        namespace=namespace
    )


class _Cluster(Struct, frozen=True, rename="kebab"):
    server: str
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""

    def problem(self) -> str:
        """Why it cannot be used, "" where it can."""
        if not _is_address(self.server):
            return f"server: no address, got {self.server}, want https://HOST:PORT"
        return (
            f"proxy-url: a proxy is not supported, got {self.proxy_url}" if self.proxy_url else ""
        )


_USER_KEYS = {
    "client_certificate": "client-certificate",
    "client_certificate_data": "client-certificate-data",
    "client_key": "client-key",
    "client_key_data": "client-key-data",
    "token_file": "tokenFile",
    "auth_provider": "auth-provider",
}


class _Unsupported(Struct, frozen=True):
    """A map that is there, whatever is in it."""


class _User(Struct, frozen=True, rename=_USER_KEYS):
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = ""
    username: str = ""
    exec: _Unsupported | None = None
    auth_provider: _Unsupported | None = None

    def problem(self) -> str:
        """Why it cannot be used, "" where it can."""
        for key, there in (
            ("exec", self.exec),
            ("auth-provider", self.auth_provider),
            ("username", self.username),
        ):
            if there:
                return (
                    f"{key}: is a way to log in that is not supported, want token, tokenFile or "
                    "client-certificate (such as a service account's)"
                )
        certificate = self.client_certificate or self.client_certificate_data
        if bool(certificate) != bool(self.client_key or self.client_key_data):
            return "client-certificate: one of certificate and key is missing"
        return ""


class _Context(Struct, frozen=True):
    cluster: str
    user: str = ""
    namespace: str = ""


class _NamedCluster(Struct, frozen=True):
    name: str
    cluster: _Cluster


class _NamedUser(Struct, frozen=True):
    name: str
    user: _User = _User()


class _NamedContext(Struct, frozen=True):
    name: str
    context: _Context


class _Kubeconfig(Struct, frozen=True, rename={"current_context": "current-context"}):
    """docs/reference/config-api/kubeconfig.v1"""

    clusters: tuple[_NamedCluster, ...] = ()
    users: tuple[_NamedUser, ...] = ()
    contexts: tuple[_NamedContext, ...] = ()
    current_context: str = ""


def read_kubeconfig(path: Path) -> Access:
    """The current context of a kubeconfig. Relative paths in it are relative to its folder. Raises
    KernmeshError."""
    try:
        config = load_yaml(path, _Kubeconfig, unknown="ignore", nulls="default")
    except ConfigError as error:
        raise KernmeshError(str(error.problems[0])) from error
    if not config.current_context:
        raise KernmeshError(f"{path}: current-context: is missing, want a context's name")
    contexts = {each.name: each.context for each in config.contexts}
    context = contexts.get(config.current_context)
    if context is None:
        _unknown(path, "current-context", config.current_context, contexts)
    clusters = {each.name: each.cluster for each in config.clusters}
    cluster = clusters.get(context.cluster)
    if cluster is None:
        _unknown(path, f"contexts: {config.current_context}: cluster", context.cluster, clusters)
    users = {each.name: each.user for each in config.users}
    user = users.get(context.user) if context.user else _User()
    if user is None:
        _unknown(path, f"contexts: {config.current_context}: user", context.user, users)
    # Only what is used: others in the file may log in as they like.
    for kind, name, problem in (
        ("clusters", context.cluster, cluster.problem()),
        ("users", context.user, user.problem()),
    ):
        if problem:
            raise KernmeshError(f"{path}: {kind}: {name}: {problem}")

    def material(key: str, file: str, data: str) -> Material | None:
        if data:  # which takes precedence, as kubeconfig's reference says
            try:
                return Material(data=base64.b64decode(data, validate=True))
            except ValueError:  # binascii.Error, or no ASCII
                raise KernmeshError(f"{path}: {key}-data: is not base64") from None
        return _readable(path, key, file) if file else None

    token_file = _readable(path, "tokenFile", user.token_file).file if user.token_file else None
    return Access(
        f"{path} (context {config.current_context})",
        cluster.server.rstrip("/"),
        material(
            "certificate-authority",
            cluster.certificate_authority,
            cluster.certificate_authority_data,
        ),
        not cluster.insecure_skip_tls_verify,
        cluster.tls_server_name,
        material("client-certificate", user.client_certificate, user.client_certificate_data),
        material("client-key", user.client_key, user.client_key_data),
        "" if token_file else user.token.strip(),
        token_file,
        context.namespace,
        path,
    )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _unknown(path: Path, key: str, name: str, known: Mapping[str, object]) -> NoReturn:
    there = ", ".join(sorted(known)) or "none"
    raise KernmeshError(f"{path}: {key}: nothing of that name, got {name}, there are: {there}")


def _readable(path: Path, key: str, file: str) -> Material:
    full = path.parent / file
    try:
        full.open("rb").close()
    except OSError as error:
        raise KernmeshError(f"{path}: {key}: {full}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise KernmeshError(f"{path}: {key}: {full}: is no path: {error}") from error
    return Material(full)
