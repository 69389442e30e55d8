"""arm64's programs run on this machine, by QEMU's user emulation and binfmt_misc (root).

The rule: what is registered with the kernel is taken out again. The kernel opens the emulator when
it is told of it (flag F), so that nothing of it is in a root file system that is entered.
Documentation/admin-guide/binfmt-misc.rst; the magic is an ELF header's up to e_machine.
"""

import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MISC = Path("/proc/sys/fs/binfmt_misc")
NAME = "kernmesh-test-arm64"
_MAGIC = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00"
_MASK = b"\xff" * 7 + b"\x00" + b"\xff" * 8 + b"\xfe\xff\xff\xff"


def _escaped(raw: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in raw)


@contextmanager
def emulated(emulator: Path) -> Iterator[None]:
    """While it is open, arm64's programs run here, wherever they are."""
    if platform.machine() == "aarch64":
        yield
        return
    if not (MISC / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", MISC], check=True)
    line = f":{NAME}:M::{_escaped(_MAGIC)}:{_escaped(_MASK)}:{emulator}:F"
    (MISC / "register").write_text(line)
    try:
        yield
    finally:
        (MISC / NAME).write_text("-1")
