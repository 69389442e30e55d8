"""Inside a guest: each program is loaded, gets its load, and is read; one JSON line for each.

Knows nothing of kernels: which hooks exist is found out by exporter.ebpf.kernel. A program that
fails or hangs costs itself and nothing else.
"""

import argparse
import signal
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import msgspec

from exporter.decoders.context import DecodeContext
from exporter.ebpf.kernel import Options
from exporter.ebpf.objectfile import SHIPPED
from exporter.ebpf.spec import HookSpec, Program, read_program
from exporter.errors import BpfError, KernmeshError
from tests.programs.counting import counted
from tests.programs.ground import Ground, of_guest
from tests.programs.loads import load_for
from tests.qemu.rows import DONE, Row

# Emulated, while others use the machine's cores as well. bcc's is mostly LLVM.
SECONDS_PER_RUN = {"core": 60, "bcc": 600}
SCRATCH = Path("/scratch")
_NOT_THIS_TIME = "not this time"


class _Place(NamedTuple):
    """Where programs are tried, and how they are loaded."""

    context: DecodeContext
    ground: Ground
    options: Options


class _Overdue(Exception):
    """A program's run took too long."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", dest="programs", action="append", required=True)
    parser.add_argument("--ways", action="store_true", help="each way of each hook by itself")
    parser.add_argument("--backend", choices=tuple(SECONDS_PER_RUN), default="core")
    parser.add_argument("out")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, _overdue)
    with Path(arguments.out).open("w") as out:
        options = Options(backend=arguments.backend)
        ground = of_guest(SCRATCH)
        place = _Place(DecodeContext.of(), ground, options)
        for name in arguments.programs:
            for row in _rows(SHIPPED[-1] / f"{name}.yaml", place, arguments.ways):
                print(msgspec.json.encode(row).decode(), file=out, flush=True)
        print(DONE, file=out, flush=True)


def _overdue(number: int, frame: FrameType | None) -> None:
    raise _Overdue


def _rows(file: Path, place: _Place, ways: bool) -> Iterator[Row]:
    try:
        program = read_program(file)
    except KernmeshError as error:
        yield Row(program=file.stem, reason=str(error))
        return
    first = _run(program, place)
    yield first
    if ways:
        for hook, way in _other_ways(program, first):
            row = _run(_forced(program, hook, way), place)
            yield row._replace(forced=f"{hook.name}: {', '.join(way)}")


def _other_ways(program: Program, first: Row) -> Iterator[tuple[HookSpec, tuple[str, ...]]]:
    """Ways that were not come to. Those before the one that was taken are refused already."""
    for hook in program.spec.hooks:
        taken = [number for number, way in enumerate(hook.any_of) if way in first.functions]
        for way in hook.any_of[taken[0] + 1 :] if taken else ():
            yield hook, way


def _forced(program: Program, wanted: HookSpec, way: tuple[str, ...]) -> Program:
    """The program with one hook that knows this way only."""
    hooks = []
    for hook in program.spec.hooks:
        if hook.name == wanted.name:
            # functions that no hook names would be attached each by itself
            rest = {name for other in hook.any_of for name in other} - set(way)
            hooks.append(HookSpec(hook.name, (way,)))
            hooks.append(HookSpec(_NOT_THIS_TIME, (("none", *sorted(rest)),), optional=True))
        else:
            hooks.append(hook)
    return program._replace(spec=msgspec.structs.replace(program.spec, hooks=tuple(hooks)))


def _run(program: Program, place: _Place) -> Row:
    began = time.monotonic()
    row = Row(program=program.name)
    seconds = SECONDS_PER_RUN[place.options.backend]
    signal.alarm(seconds)
    try:
        row = _counted(program, place)
    except BpfError as error:
        row = row._replace(reason=str(error), log=error.log[-4000:])
    except _Overdue:
        row = row._replace(reason=f"took more than {seconds} s and was given up")
    except Exception as error:
        traceback.print_exc()  # to the console, which the harness keeps
        row = row._replace(reason=f"{type(error).__name__}: {error}")
    finally:
        signal.alarm(0)
    return row._replace(seconds=round(time.monotonic() - began, 2))


def _counted(program: Program, place: _Place) -> Row:
    spec = program.spec
    context, ground, options = place
    found = counted(program, context, ground, load_for(program.name), options)
    try:
        reports = [hook for hook in found.loaded.hooks if hook.name != _NOT_THIS_TIME]
        there = {function.name for function in found.loaded.functions()}
        ways = [way for hook in spec.hooks for way in hook.any_of]
        return Row(
            program=program.name,
            hooks={hook.name: ", ".join(hook.taken or ()) for hook in reports},
            functions=tuple(way for way in ways if there.issuperset(way)),
            events=found.events,
            missing=tuple(f"{s.want}: got {s.counted:g}" for s in found.seen if not s.enough),
            reason="; ".join(p for p in found.problems if not p.startswith(_NOT_THIS_TIME)),
            refused=tuple(str(refusal) for hook in reports for refusal in hook.refusals),
            backend=found.loaded.backend,
        )
    finally:
        found.loaded.close()


if __name__ == "__main__":
    main()
