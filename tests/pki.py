"""Certificates for tests, made by openssl: authorities, and what they sign."""

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Pair(NamedTuple):
    """Files in PEM."""

    cert: Path
    key: Path


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def authority(folder: Path, name: str) -> Pair:
    _openssl(
        folder,
        *("req", "-x509", *_KEY, "-days", "30", "-subj", f"/CN={name}"),
        *("-keyout", f"{name}.key", "-out", f"{name}.pem"),
    )
    return Pair(folder / f"{name}.pem", folder / f"{name}.key")


def signed(
    folder: Path,
    name: str,
    by: Pair,
    names: str = "DNS:localhost,IP:127.0.0.1",
    days: int = 30,
) -> Pair:
    """`days` negative: its time is over."""
    _openssl(
        folder,
        *("req", "-new", *_KEY, "-subj", f"/CN={name}"),
        *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
    )
    extensions = folder / f"{name}.ext"
    extensions.write_text(f"subjectAltName={names}\n")
    _openssl(
        folder,
        *("x509", "-req", "-in", f"{name}.csr", "-CA", str(by.cert), "-CAkey", str(by.key)),
        *("-CAcreateserial", "-days", str(days), "-extfile", str(extensions)),
        *("-out", f"{name}.pem"),
    )
    return Pair(folder / f"{name}.pem", folder / f"{name}.key")


def for_server(own: Pair, clients_ca: Path | None = None) -> ssl.SSLContext:
    """A server's; where there is a CA of clients, it wants a certificate of theirs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.cert, own.key)
    if clients_ca is not None:
        context.load_verify_locations(clients_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
