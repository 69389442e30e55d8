"""`make soak MINUTES=30`: runs it, prints its table, keeps the readings in .cache/soak.

Exit code 0 whatever it found: 1 only where it could not run, 130 where it was broken off. As root,
in a mount namespace of its own.
"""

import argparse
import os
import platform
import shutil
import sys

from benchmarks.soak.agents import LIMIT_MB
from benchmarks.soak.page import write
from benchmarks.soak.report import lines_table, report
from benchmarks.soak.soak import Failed, Say, soak
from benchmarks.tables import markdown

OWN_MOUNTS = "KERNMESH_SOAK_OWN_MOUNTS"
NEEDS = ("unshare", "setpriv", "ip", "losetup", "mkfs.ext4", "mount", "umount", "dd", "bpftool")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="of load (default 30)")
    parser.add_argument("--write", action="store_true", help="also into docs/reliability.md")
    parser.add_argument(
        "--memory", type=int, default=LIMIT_MB, metavar="MIB",
        help=f"that each agent's cgroup may have (default {LIMIT_MB})",
    )  # fmt: skip
    arguments = parser.parse_args()
    if arguments.minutes < 1:
        parser.error("--minutes: want 1 at least")
    if os.geteuid():
        return _cannot("needs root, for cgroups, BPF, interfaces and disks")
    missing = [each for each in NEEDS if shutil.which(each) is None]
    if missing:
        return _cannot(f"{', '.join(missing)}: not here; make test-packages installs them")
    if OWN_MOUNTS not in os.environ:  # so that its disk is gone with it, however it ends
        command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m"]
        command += ["benchmarks.soak", *sys.argv[1:]]
        os.execvpe(command[0], command, {**os.environ, OWN_MOUNTS: "1"})
    try:
        found = soak(arguments.minutes, arguments.memory, Say())
    except Failed as error:
        return _cannot(str(error))
    except (OSError, TimeoutError) as error:
        return _cannot(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        print("soak: broken off; everything is taken away", file=sys.stderr)
        return 130
    machine = f"{os.cpu_count()} cores, Linux {platform.release()}"
    table = report(found, machine)
    print(markdown(table))
    said = lines_table(found)
    if said.rows:
        print(markdown(said))
    for title, rows in (("late", found.late), ("left", found.left)):
        for what, each in rows.items():
            for text in each:
                print(f"{title}: {what}: {text}")
    if arguments.write:
        write(table)
    return 0


def _cannot(why: str) -> int:
    print(f"soak: {why}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
