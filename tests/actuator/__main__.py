"""`python -m tests.actuator [series …]`: the actuator on pure cgroup v2, in emulated machines.

Exit 1 where a knob did not do, or did not undo, what it should.
"""

import sys

from tests.qemu import initramfs, machine
from tests.qemu.kernels import WANTED, fetched

CACHE = initramfs.ROOT / ".cache"
SECONDS = 240.0


def main(series: list[str]) -> int:
    wanted = [each for each in WANTED if not series or each.series in series]
    folder = CACHE / "qemu-v2"
    folder.mkdir(parents=True, exist_ok=True)
    base = initramfs.base(folder / "base.cpio")
    plan = machine.Plan(base, folder, [], SECONDS, driver="tests.actuator.v2_guest")
    bad = 0
    for kernel in fetched(wanted, CACHE / "kernels"):
        guest = machine.boot(kernel, plan)
        print(f"{kernel.series} ({guest.seconds:.0f} s): {guest.trouble or 'ended in order'}")
        bad += guest.trouble is not None
        for row in guest.rows:
            bad += not row.counts
            print(f"  {'ok ' if row.counts else 'BAD'} {row.program}: {row.log}")
            for line in row.missing:
                print(f"      {line}")
    base.unlink()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
