"""Which files a role goes on reading: Python's own, the C library's, the kernel's, and those that
its configuration names.

The rule: a folder stands for files that are exchanged in it (a ConfigMap's, a renewed certificate);
one that holds everybody's files (/etc, /root) is never opened whole, only the file that is named.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

import exporter
from exporter.hostfs import HostFs

_SHARED = frozenset(
    map(Path, ("/", "/boot", "/dev", "/etc", "/home", "/media", "/mnt", "/opt", "/proc", "/root"))
) | frozenset(map(Path, ("/run", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/run")))  # noqa: S108
# Libraries, time zones, PCI names, CA bundles: what a package manager wrote, and anybody may read.
_PROGRAMS = (
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/bin",
    "/nix/store",
    "/gnu/store",
)
# The C library's and OpenSSL's, by file: what else is in /etc is nobody's business.
_RESOLVERS = ("resolv.conf", "hosts", "nsswitch.conf", "gai.conf", "host.conf")
_SETTINGS = (
    *("services", "protocols"),
    *("passwd", "group", "localtime", "timezone", "machine-id", "os-release", "ld.so.cache"),
    *("ld.so.conf", "ld.so.conf.d", "mime.types", "ssl/openssl.cnf", "ssl/cert.pem", "ssl/certs"),
    *(
        "pki/tls/certs",
        "pki/tls/cert.pem",
        "pki/tls/openssl.cnf",
        "pki/ca-trust",
        "ca-certificates",
    ),
    *("crypto-policies", "alternatives", "kernmesh"),
)
_OTHERS = (
    *("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/run/nscd"),
    *("/var/lib/ca-certificates", "/var/lib/extrausers", "/dev/urandom", "/dev/random"),
)
NULL = Path("/dev/null")
UNWATCHED = frozenset((NULL, *(Path("/etc", name) for name in _SETTINGS), *map(Path, _OTHERS)))
"""Read at the start, or never: where another file takes their place, nothing is lost."""


def everywhere(host: HostFs) -> Iterator[Path]:
    """What any role reads: of Python and the C library some is read late."""
    yield from map(Path, _PROGRAMS)
    yield from (Path("/etc", name) for name in (*_RESOLVERS, *_SETTINGS))
    yield from map(Path, _OTHERS)
    library = str(Path(os.__file__).parent)
    yield from map(Path, [library, sys.prefix, sys.base_prefix, *_import_folders()])
    package = Path(exporter.__file__).resolve().parent
    yield package
    yield from (package.parent / name for name in ("pingmesh", "bpf", "dashboards"))
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF"):
        if value := os.environ.get(name):
            yield Path(value)
    # Our own threads and descriptors are in /proc, wherever the host's is.
    yield from (Path("/proc"), Path("/sys"), host.proc, host.sys, host.cgroup)


def _import_folders() -> Iterator[str]:
    """Of sys.path those that are one's own, lest "" be the root folder of a service."""
    for folder in sys.path:
        path = Path(folder or ".").resolve()
        if path not in _SHARED and path != Path.home():
            yield str(path)


def beside(file: Path) -> Path:
    """What to open so that a file which takes this one's place is found, too; of a folder that."""
    if file.is_dir():
        return file
    folder = file.absolute().parent
    return file if folder in _SHARED or folder == Path.home() else folder


def named(files: Iterable[str | Path | None]) -> Iterator[Path]:
    """With what they are links to, as a ConfigMap's are."""
    for each in files:
        if each is None:
            continue
        path = Path(each)
        yield beside(path)
        with suppress(OSError, RuntimeError):
            yield beside(path.resolve(strict=True))


def named_by(config: object) -> Iterator[Path]:
    """Every text in a configuration that is the name of a file, or the whole name of a folder."""
    for text in _texts(msgspec.to_builtins(config, enc_hook=str)):
        with suppress(OSError, ValueError):  # too long for a name, or no name at all
            path = Path(text)
            if path.is_file() or (path.is_absolute() and path.is_dir() and path not in _SHARED):
                yield from named([path])


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def of_kubernetes(kubeconfig: str | None) -> Iterator[Path]:
    """Whatever says where its API is and as whom to ask; tokens are exchanged in their folder."""
    from exporter.errors import KernmeshError
    from exporter.kube.access import SERVICE_ACCOUNT, find_access

    yield SERVICE_ACCOUNT
    files: list[str | Path | None] = [kubeconfig, *os.environ.get("KUBECONFIG", "").split(":")]
    try:
        access = find_access(Path(kubeconfig) if kubeconfig else None)
    except KernmeshError:
        pass  # said by whoever asks; it may be mended where it is
    else:
        files += [access.kubeconfig, access.token_file]
        files += [each.file for each in (access.ca, access.cert, access.key) if each is not None]
    yield from named(each for each in files if each)
    home = os.environ.get("HOME")
    if home and not Path(home, ".kube").is_symlink():
        yield Path(home, ".kube")
