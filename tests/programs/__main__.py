"""`python -m tests.programs`: every shipped program on the running kernel, under its load.

Needs root. Exit 1 where a program that must work here counted less than user space made.
"""

import argparse
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.bpf_cost import NOTHING, STATISTICS, compile_load, cost_ns
from benchmarks.programs import compile_bpf
from exporter.decoders.context import DecodeContext
from exporter.ebpf.loaded import KernelProgram
from exporter.ebpf.objectfile import shipped_folder
from exporter.ebpf.spec import Program, read_program
from exporter.errors import BpfError
from tests.programs.counting import Runs, counted, runs_of
from tests.programs.ground import Ground, of_this_machine
from tests.programs.loads import Want, load_for
from tests.programs.tables import ALL, Outcome, put_between_marks, render
from tests.switched import switched_on

LEAST_RUNS = 50
SECONDS_OF_RUNS = 1.0  # that a load is made again and again for, so that cost is no first run's
MAY_BE_OFF = frozenset(("cpi", "llcstat"))
"""Virtual machines have no performance counters."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.programs", description=__doc__)
    parser.add_argument("programs", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put what is made into FILE")
    arguments = parser.parse_args()
    files = {file.stem: file for file in sorted(shipped_folder().glob("*.yaml"))}
    unknown = set(arguments.programs) - files.keys()
    if unknown:
        parser.error(f"no program {', '.join(sorted(unknown))}; there are {', '.join(files)}")
    wanted = [read_program(files[name]) for name in arguments.programs or files]
    with switched_on(STATISTICS), of_this_machine() as ground:
        outcomes = list(_outcomes(wanted, ground))
        made = render(outcomes, _machine(), _floor_ns())
    print("\n\n".join(f"## {name}\n\n{part}" for name, part in made.items()))
    if arguments.write:
        if arguments.programs:
            del made[ALL]
        arguments.write.write_text(put_between_marks(arguments.write.read_text(), made))
    short = [each.name for each in outcomes if not _right(each)]
    for name in short:
        print(f"FAILED: {name}", file=sys.stderr)
    return 1 if short else 0


def _right(outcome: Outcome) -> bool:
    return outcome.agrees or (not outcome.hooks and outcome.name in MAY_BE_OFF)


def _outcomes(programs: Sequence[Program], ground: Ground) -> Iterator[Outcome]:
    context = DecodeContext.of()
    for program in programs:
        print(f"running {program.name} …", file=sys.stderr)
        make = load_for(program.name)
        load = " ".join((make.__doc__ or "").split("\n\n")[0].split())
        outcome = Outcome(program.name, program.spec, load)
        try:
            found = counted(program, context, ground, make)
        except BpfError as error:
            yield outcome._replace(reason=str(error).removeprefix(f"{program.name}: "))
            continue
        try:
            runs = _runs_under_load(found.loaded, partial(make, ground))
            sizes = [each.info.bytes for each in found.loaded.maps.values()]
            hooks = found.loaded.hooks
            yield outcome._replace(
                hooks=[section for hook in hooks for section in hook.taken or ()],
                wanted={_what(seen.want): seen.want.at_least for seen in found.seen},
                got={_what(seen.want): seen.counted for seen in found.seen},
                ns=runs.ns / runs.times if runs.times >= LEAST_RUNS else None,
                runs=runs.times,
                map_bytes=None if None in sizes else sum(size or 0 for size in sizes),
                refused=[str(r) for hook in hooks if hook.taken for r in hook.refusals],
                reason="; ".join(found.problems),
            )
        finally:
            found.loaded.close()


def _runs_under_load(loaded: KernelProgram, make: Callable[[], object]) -> Runs:
    """Those of loads that follow the first one."""
    before, began = runs_of(loaded), time.monotonic()
    while time.monotonic() - began < SECONDS_OF_RUNS:
        make()
    after = runs_of(loaded)
    return Runs(after.times - before.times, after.ns - before.ns)


def _what(want: Want) -> str:
    """Without what is another one in each run."""
    what = str(want).split(" >= ")[0].replace("{}", "")
    return re.sub(r"kernmesh-\d+-|(?<=port=)\d+", "…", what)


def _machine() -> str:
    return f"Linux {platform.release()}, {platform.machine()}, {os.cpu_count()} CPUs."


def _floor_ns() -> float:
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        target = compile_bpf("recording", Path(folder))
        compile_load(Path(folder))
        return cost_ns(target, NOTHING, [min(os.sched_getaffinity(0))])


if __name__ == "__main__":
    sys.exit(main())
