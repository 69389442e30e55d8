"""TLS to the API server: its CA, or the system's; a client certificate from files or from memory.

PEM that a kubeconfig carries in itself never touches a disk. Knows no HTTP client.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.errors import KernmeshError
from exporter.kube.access import Access, Material
from exporter.pem import pem_file


def watched_files(access: Access) -> tuple[Path, ...]:
    """Whatever the context is made of that may be exchanged; tokens are not part of it."""
    materials = (access.ca, access.cert, access.key)
    return tuple(each.file for each in materials if each is not None and each.file is not None)


def tls_context(access: Access) -> ssl.SSLContext | bool:
    """False where the server is asked without TLS. Raises KernmeshError."""
    if not access.server.startswith("https:"):
        return False
    try:
        context = _verifying(access.ca) if access.verify else _unverified()
    except (OSError, ssl.SSLError, ValueError) as error:
        raise KernmeshError(f"{access.name}: CA certificate: {_reason(error)}") from error
    if access.cert is not None and access.key is not None:
        try:
            with _as_file(access.cert) as cert, _as_file(access.key) as key:
                # A key with a passphrase would ask the terminal.
                context.load_cert_chain(cert, key, password=lambda: b"")
        except (OSError, ssl.SSLError, ValueError) as error:
            text = f"{access.name}: client certificate or key: {_reason(error)}"
            raise KernmeshError(text) from error
    return context


def _verifying(ca: Material | None) -> ssl.SSLContext:
    if ca is None:
        return ssl.create_default_context()
    pem = ca.data if ca.data is not None else _read(ca.file)
    return ssl.create_default_context(cadata=pem.decode("ascii"))


def _read(file: Path | None) -> bytes:
    assert file is not None
    return file.read_bytes()


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # insecure-skip-tls-verify: the user said so
    return context


@contextmanager
def _as_file(material: Material) -> Iterator[str]:
    """A path that OpenSSL can open: the file's, or one of memory that nothing else has a name
    for."""
    if material.data is None:
        yield str(material.file)
        return
    with pem_file(material.data) as path:
        yield path


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
