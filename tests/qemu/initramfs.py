"""A root file system for the guests, made of this machine's own files at their own paths.

What is in it: busybox, the venv's Python with what it runs with, libbpf, the checkout's exporter
and bpf, tests/programs, and this package. Nothing is copied beforehand: cpio reads the files where
they are.
"""

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from exporter.ebpf.bcc_process import package
from exporter.errors import KernmeshError
from exporter.hostfs import HostFs
from tests.qemu.kernels import Kernel

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("loop", "dummy", "sch_netem")
# Debian's own Python, where there is one: it carries USDT notes, which the venv's may lack.
PROGRAMS = ("busybox", "mkfs.ext4", "ip", "tc")
_USDT_PYTHON = Path("/usr/bin/python3")
# Half of the standard library by size, and no guest needs it.
_NOT_NEEDED = re.compile(
    r"(^|/)(site-packages|test|tests|idlelib|lib2to3|ensurepip|tkinter|turtledemo|pydoc_data"
    r"|unittest|distutils|config-[^/]*|curses|sqlite3|dbm)(/|$)|\.opt-\d\.pyc$"
)
_LIBBPF = "libbpf.so.1"
_OF_BCC = ("libbcc.so.0", "librt.so.1", "libc.so.6")  # which its Python opens by name
# libbpf's headers, which bpf/include/bcc.h includes.
_BPF_HEADERS = Path("/usr/include/bpf")
_HEADER_FOLDERS = ("include", "arch/x86/include")

INIT = """\
#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
busybox mkdir -p /proc /sys /dev /run /tmp /scratch
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox mount -t tracefs nodev /sys/kernel/tracing
busybox mount -t bpf bpf /sys/fs/bpf
busybox mount -t cgroup2 -o nsdelegate none /sys/fs/cgroup
busybox mount -t tmpfs -o size=96m scratch /scratch
for module in /modules/*.ko; do busybox insmod "$module"; done
busybox ip link set lo up
{prepare}
cd {root}
{python} -m {driver} {arguments} /dev/ttyS1 || echo "guest driver: exit $?"
busybox reboot -f
"""
DRIVER = "tests.qemu.guest"
_HIDE_BTF = "busybox mount -t tmpfs none /sys/kernel/btf"


def base(target: Path, bcc: bool = False) -> Path:
    """What all guests share, as one archive at `target`; with bcc and its LLVM if wanted."""
    listed = _Listing()
    for link in ("/bin", "/sbin"):
        listed.add(Path(link))
    for name in PROGRAMS:
        listed.program(_which(name))
    listed.program(Path(sys.executable))
    _python(listed)
    listed.program(_library(_LIBBPF, "make setup"))
    if bcc:
        _bcc(listed)
    for file in _checkout():
        listed.add(file)
    listed.needed()
    _archive(listed.paths, Path("/"), target)
    return target


def headers(folder: Path, target: Path) -> Path:
    """A kernel's headers (kernels.headers), where a machine has them: below /usr/src."""
    _archive(header_paths(folder), folder, target)
    return target


def header_paths(folder: Path) -> list[str]:
    """Relative to `folder`: what a compiler looks into, and the folders that lead there."""
    places = [each / name for each in folder.glob("usr/src/*") for name in _HEADER_FOLDERS]
    found = {
        above.relative_to(folder)
        for place in places
        for path in (place, *place.rglob("*"))
        for above in (path, *path.parents)
        if folder in above.parents
    }
    return [str(each) for each in sorted(found)]


def own(
    kernel: Kernel,
    arguments: Sequence[str],
    target: Path,
    btf: bool = True,
    driver: str = DRIVER,
) -> Path:
    """What one guest has besides: its kernel's modules, and /init with the driver's arguments.
    `driver` is the module that runs there. `btf` False hides the kernel's own BTF, as kernels have
    it that carry none."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "modules").mkdir()
        for module in MODULES:
            data = kernel.module(module)
            if data is not None:
                (folder / "modules" / f"{module}.ko").write_bytes(data)
        init = folder / "init"
        init.write_text(init_script(arguments, btf, driver))
        init.chmod(0o755)
        _archive([str(p.relative_to(folder)) for p in folder.rglob("*")], folder, target)
    return target


def init_script(arguments: Sequence[str], btf: bool, driver: str = DRIVER) -> str:
    return INIT.format(
        root=ROOT,
        python=sys.executable,
        driver=driver,
        prepare="" if btf else _HIDE_BTF,
        arguments=shlex.join(arguments),
    )


class _Listing:
    """Paths below / for cpio: each with the folders and links that lead to it."""

    def __init__(self) -> None:
        self._paths: dict[str, None] = {}
        self._linked: list[Path] = []

    @property
    def paths(self) -> list[str]:
        return list(self._paths)

    def add(self, path: Path) -> None:
        at = Path("/")
        for position, part in enumerate(path.parts[1:], start=2):
            if part == "..":
                at = at.parent
                continue
            at /= part
            self._paths[str(at.relative_to("/"))] = None
            if at.is_symlink():
                self.add(at.parent / at.readlink() / Path(*path.parts[position:]))
                return

    def program(self, path: Path) -> None:
        """A program or library; `needed` adds the libraries that it wants."""
        self.add(path)
        self._linked.append(path)

    def needed(self) -> None:
        """What the dynamic loader would map for the programs; links are kept as they are."""
        # ldd gives 1 where one of them is static, as busybox is
        said = subprocess.run(["ldd", *self._linked], capture_output=True, text=True, check=False)
        for found in sorted(set(re.findall(r"(/\S+) \(0x", said.stdout))):
            self.add(Path(found))

    def tree(self, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            if not _NOT_NEEDED.search(str(path.relative_to(folder))) and not path.is_dir():
                if path.suffix == ".so" or ".so." in path.name:
                    self.program(path)
                else:
                    self.add(path)


def _python(listed: _Listing) -> None:
    """The interpreter's library, the venv, and the distributions that kernmesh runs with."""
    library = Path(sys.base_prefix) / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}"
    listed.tree(library)
    listed.add(Path(sys.prefix) / "pyvenv.cfg")
    lock = (ROOT / "requirements/run.lock").read_text()
    for name in re.findall(r"^([\w.-]+)==", lock, re.M):
        try:
            files = distribution(name).files or ()
        except PackageNotFoundError:  # named for another platform
            continue
        for file in files:
            path = Path(str(file.locate()))
            if path.suffix == ".so" or ".so." in path.name:
                listed.program(path)
            elif path.suffix in (".py", ".pyc", "") and path.is_file():
                listed.add(path)
    if _USDT_PYTHON.exists() and sys.base_prefix != "/usr":
        listed.program(_USDT_PYTHON)
        own = next(Path("/usr/lib").glob(f"{_USDT_PYTHON.resolve().name}/encodings"), None)
        if own:
            for path in sorted(own.parent.glob("*.py")):
                listed.add(path)
            for path in sorted(own.glob("*.py")):
                listed.add(path)


def _bcc(listed: _Listing) -> None:
    """Debian's bcc, the sources that it compiles, and the headers beside the kernel's."""
    found = package(HostFs())
    if found is None:
        raise KernmeshError("bcc: is not installed, which make test does (TEST_PACKAGES)")
    for name in _OF_BCC:
        listed.program(_library(name, "make test"))
    for folder, pattern in {
        found: "*.py",
        _BPF_HEADERS: "*.h",
        ROOT / "bpf": "*.bpf.c",
        ROOT / "bpf/include": "*.h",
    }.items():
        for path in sorted(folder.glob(pattern)):
            listed.add(path)


def _checkout() -> Iterator[Path]:
    yield ROOT / "tests/__init__.py"
    for folder, patterns in {
        "exporter": ("**/*.py", "**/*.pyc", "**/*.j2"),
        "bpf": ("*.bpf.o", "*.yaml"),
        "tests/programs": ("*.py",),
        "tests/qemu": ("*.py",),
        "tests/actuator": ("*.py",),
    }.items():
        for pattern in patterns:
            yield from sorted((ROOT / folder).glob(pattern))
    yield from sorted((ROOT / ".venv").glob("lib/python*/site-packages/*kernmesh*.pth"))


def _which(name: str) -> Path:
    for folder in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        if (Path(folder) / name).exists():
            return Path(folder) / name
    raise KernmeshError(f"{name}: is not installed, which make test-qemu does (QEMU_PACKAGES)")


def _library(name: str, installed_by: str) -> Path:
    said = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    found = re.search(rf"^\s*{re.escape(name)} .*=> (\S+)$", said.stdout, re.M)
    if not found:
        raise KernmeshError(f"{name}: is not installed, which {installed_by} does")
    return Path(found[1])


def _archive(paths: Iterable[str], folder: Path, target: Path) -> None:
    names: Sequence[str] = sorted(paths)
    with target.open("wb") as out:
        subprocess.run(
            ["busybox", "cpio", "-o", "-H", "newc", "-R", "0:0"],
            cwd=folder,
            input="\n".join(names).encode(),
            stdout=out,
            stderr=subprocess.DEVNULL,
            check=True,
        )
