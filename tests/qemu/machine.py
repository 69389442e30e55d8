"""One guest: QEMU boots a kernel with a root file system, and says on a serial line what it saw.

Emulated, not virtualised: no /dev/kvm is needed, and no timing means anything. A guest that does
not end in time is killed; what it had said until then counts.
"""

import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.qemu import initramfs
from tests.qemu.kernels import Kernel
from tests.qemu.rows import DONE, Row

MEMORY_MIB = 448  # small, so that running out of it is quick; the root file system is in it too
MEMORY_MIB_OF_BCC = 2048  # LLVM and headers are in it twice while it boots
# Two CPUs, for what only happens between them; one host thread: 7.2 oopses with more. QEMU 7.2 now
# and then spoils the flags after cmpxchg16b, on which 6.12 died while booting: so there is none.
_MACHINE = ("-accel", "tcg,thread=single", "-cpu", "max,-cx16", "-smp", "2")
_NOTHING_ELSE = ("-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot")
_KERNEL_LINE = "console=ttyS0 panic=-1 quiet psi=1 oops=panic"
_LAST_WORDS = ("Kernel panic", "BUG:", "Oops", "guest driver:", "Error:", "error:")


class Guest(NamedTuple):
    """`trouble` is one line where the guest did not end as it should, None where it did."""

    kernel: Kernel
    rows: tuple[Row, ...]
    trouble: str | None
    seconds: float


class Plan(NamedTuple):
    """What all guests of a run have in common: the archive `base`, the driver's arguments, and
    the seconds that a guest may take. Consoles stay in `folder`. `headers` has kernels' headers by
    their release, for those that get any. `driver` is the module that runs in them."""

    base: Path
    folder: Path
    arguments: Sequence[str]
    timeout: float
    btf: bool = True
    memory_mib: int = MEMORY_MIB
    headers: Mapping[str, Path] = {}
    driver: str = initramfs.DRIVER


def boot(kernel: Kernel, plan: Plan) -> Guest:
    """Boots `kernel` and waits until its driver has ended. A kernel that dies is reported, and not
    booted again: what dies now and then is to be found out, not tried until it works."""
    folder = plan.folder
    initrd = folder / f"{kernel.series}.initrd"
    console, said = folder / f"{kernel.series}.console", folder / f"{kernel.series}.rows"
    _write_initrd(kernel, plan, initrd)
    said.write_bytes(b"")
    command = ["nice", "-n", "10", "qemu-system-x86_64", *_MACHINE, *_NOTHING_ELSE]
    command += ["-m", f"{plan.memory_mib}"]
    command += ["-kernel", str(kernel.image), "-initrd", str(initrd), "-append", _KERNEL_LINE]
    command += ["-serial", f"file:{console}", "-serial", f"file:{said}"]
    began = time.monotonic()
    trouble = None
    try:
        done = subprocess.run(
            command, timeout=plan.timeout, capture_output=True, text=True, check=False
        )
        if done.returncode:
            trouble = f"qemu: exit {done.returncode}: {done.stderr.strip()[-200:]}"
    except subprocess.TimeoutExpired:
        trouble = f"did not end in {plan.timeout:g} s and was killed"
    initrd.unlink()
    rows, ended = parsed(said.read_text(errors="replace"))
    if trouble is None and not ended:
        trouble = f"ended before it was done: {_last_words(console)}"
    return Guest(kernel, tuple(rows), trouble, time.monotonic() - began)


def _write_initrd(kernel: Kernel, plan: Plan, initrd: Path) -> None:
    """The kernel takes several archives one after the other."""
    initramfs.own(kernel, plan.arguments, initrd, plan.btf, plan.driver)
    parts = [initrd.read_bytes()]
    if kernel.release in plan.headers:
        initramfs.headers(plan.headers[kernel.release], initrd)
        parts.append(initrd.read_bytes())
    with initrd.open("wb") as out:
        subprocess.run(["cat", plan.base], stdout=out, check=True)
        out.seek(0, 2)
        for part in parts:
            out.write(part)


def parsed(said: str) -> tuple[list[Row], bool]:
    """Rows of a guest's serial line, and whether the driver came to its end. Torn lines, which
    a guest that was killed leaves, are passed over."""
    rows = []
    lines = said.splitlines()
    for line in lines:
        with suppress(msgspec.DecodeError):
            rows.append(msgspec.json.decode(line, type=Row))
    return rows, DONE in lines


def _last_words(console: Path) -> str:
    lines = console.read_text(errors="replace").splitlines()
    telling = [line for line in lines if any(word in line for word in _LAST_WORDS)]
    return f"{(telling or lines or ['it says nothing'])[0].strip()} ({console.name})"
