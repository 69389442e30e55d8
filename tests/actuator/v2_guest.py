"""Inside an emulated machine with a pure cgroup v2: each knob is set, killed, undone; a JSON line
for each.

Knows nothing of kernels: what one lacks (cpu.idle before 5.15) the actuator finds out.
"""

import mmap
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from exporter.actuator.client import Actuator
from exporter.actuator.protocol import Knob, Move, Process, Set, Start, Undo
from tests.actuator.trees import began, workers_of
from tests.programs.ground import Ground, of_guest
from tests.qemu.rows import DONE, Row

ROOT = Path("/sys/fs/cgroup")
OFFLINE = "kubepods/besteffort"
FILES = ("cpu.max", "cpu.idle", "cpu.weight", "memory.high", "io.max")
KNOBS: dict[Knob, dict[str, float]] = {
    "cpu_quota": {"cores": 0.5},
    "preempt": {},
    "memory_high": {"bytes": 64 << 20},
    "io": {"rbps": 1e6, "wiops": 100},
}


def values() -> dict[str, str]:
    folder = ROOT / OFFLINE
    return {name: (folder / name).read_text().strip() for name in FILES if (folder / name).exists()}


def prepare(ground: Ground) -> None:
    for path in ("kubepods", OFFLINE):
        (ROOT / path).mkdir()
        (ROOT / path / "cgroup.subtree_control").write_text("+cpu +memory +io")
    leaf = ROOT / OFFLINE / "pod"
    leaf.mkdir()
    (ROOT / OFFLINE / "cpu.weight").write_text("77")
    if os.fork() == 0:  # so that the cgroup has used a device
        (leaf / "cgroup.procs").write_text("0")
        file = os.open(ground.mount / "direct", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
        os.write(file, mmap.mmap(-1, 65_536))
        os._exit(0)
    os.wait()


def check_knob(actuator: Actuator, knob: Knob) -> Row:
    before = values()
    answer = actuator.ask(Set(run="a", knob=knob, limits=KNOBS[knob]))
    changed = values()
    again = actuator.ask(Undo(run="a"))
    wrong = [each for each in (answer.refused, again.refused, *again.notes) if each]
    if not answer.changes or changed == before:
        wrong.append(f"nothing was changed: {changed}")
    if values() != before:
        wrong.append(f"left {values()}, was {before}")
    shown = ", ".join(f"{each.file} {each.before} → {each.after}" for each in answer.changes)
    return Row(knob, events=len(answer.changes), missing=tuple(wrong), log=shown)


def check_kill(actuator: Actuator) -> Row:
    before = values()
    for knob, limits in KNOBS.items():
        actuator.ask(Set(run="a", knob=knob, limits=limits))
    changed = values()
    os.kill(workers_of(actuator.pid)[0], signal.SIGKILL)
    actuator.wait_for_start(2, 60)
    wrong = [] if values() == before else [f"left {values()}, was {before}"]
    return Row("kill -9", events=sum(changed[n] != before[n] for n in before), missing=tuple(wrong))


def check_move(actuator: Actuator) -> Row:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    answer = actuator.ask(Move(job="db", processes=(Process(pid, began(pid)),)))
    cgroup = Path(f"/proc/{pid}/cgroup").read_text().strip()
    accounts = (ROOT / "kernmesh/db/memory.current").exists()
    actuator.close()
    back = Path(f"/proc/{pid}/cgroup").read_text().strip()
    os.kill(pid, signal.SIGKILL)
    wrong = [each for each in (answer.refused, *answer.notes) if each]
    if (cgroup, back, accounts) != ("0::/kernmesh/db", "0::/", True):
        wrong.append(f"was in {cgroup}, then in {back}, accounted {accounts}")
    if (ROOT / "kernmesh").exists():
        wrong.append("its cgroup is there still")
    return Row("move", events=answer.moved, missing=tuple(wrong))


def main(out: str) -> None:
    ground = of_guest(Path("/scratch"))
    prepare(ground)
    actuator = Actuator(Start("/run/state", ("kubepods/besteffort",), jobs=("db",)))
    actuator.start()
    checks: list[Callable[[], Row]] = [
        *(lambda knob=knob: check_knob(actuator, knob) for knob in KNOBS),
        lambda: check_kill(actuator),
        lambda: check_move(actuator),
    ]
    with Path(out).open("w") as file:
        for check in checks:
            row = check()
            print(msgspec.json.encode(row).decode(), file=file, flush=True)
        print(DONE, file=file, flush=True)


if __name__ == "__main__":
    main(sys.argv[-1])
