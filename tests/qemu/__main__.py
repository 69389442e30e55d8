"""`python -m tests.qemu [series …]`: all shipped programs on all kernels, as a table.

Exit 1 where a program that must work counted too little, 2 where nothing could be tried.
"""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from exporter.errors import KernmeshError
from tests.qemu import initramfs, machine, table, verdict
from tests.qemu.kernels import WANTED, Kernel, fetched, headers

CACHE = initramfs.ROOT / ".cache"
SECONDS = {False: 240, True: 1200}  # of a guest, without and with bcc
PROGRAMS = initramfs.ROOT / "bpf"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.qemu", description=__doc__)
    series = [wanted.series for wanted in WANTED]
    parser.add_argument("kernels", nargs="*", metavar="series", help=f"of {', '.join(series)}")
    parser.add_argument("--programs", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--quick", action="store_true", help="only the ways that kernels prefer")
    parser.add_argument("--without-btf", action="store_true", help="hide the kernels' BTF")
    parser.add_argument(
        "--backend",
        choices=("core", "bcc"),
        default="core",
        help="bcc: as --without-btf --quick, with the kernel's headers; slow",
    )
    parser.add_argument("--jobs", type=int, default=2, help="guests at once (default 2)")
    parser.add_argument("--timeout", type=float, help=f"seconds of a guest ({SECONDS[False]})")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into FILE")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.kernels) - set(series))
    if unknown:
        parser.error(f"no kernel {', '.join(unknown)}, want some of {', '.join(series)}")
    try:
        return _run(arguments)
    except KernmeshError as error:
        print(f"qemu: {error}", file=sys.stderr)
        return 2


def _run(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    wanted = [each for each in WANTED if each.series in (arguments.kernels or [each.series])]
    kernels = fetched(wanted, CACHE / "kernels")
    bcc = arguments.backend == "bcc"
    folder = CACHE / ("qemu-bcc" if bcc else "qemu")  # both may run at once
    folder.mkdir(parents=True, exist_ok=True)
    base = initramfs.base(folder / "base.cpio", bcc)
    programs = arguments.programs or sorted(file.stem for file in PROGRAMS.glob("*.yaml"))
    driver = [] if arguments.quick or bcc else ["--ways"]
    driver += ["--backend", arguments.backend]
    for name in programs:
        driver += ["--program", name]
    btf = not (arguments.without_btf or bcc)
    plan = machine.Plan(base, folder, driver, arguments.timeout or SECONDS[bcc], btf)
    if bcc:
        of_kernels = {each.release: headers(each, CACHE / "kernels") for each in kernels}
        plan = plan._replace(memory_mib=machine.MEMORY_MIB_OF_BCC, headers=of_kernels)

    def boot(kernel: Kernel) -> machine.Guest:
        guest = machine.boot(kernel, plan)
        said = guest.trouble or f"{len(guest.rows)} runs"
        print(f"{kernel.release}: {said}, {guest.seconds:.0f} s", flush=True)
        return guest

    with ThreadPoolExecutor(arguments.jobs) as pool:
        guests = list(pool.map(boot, kernels))
    base.unlink()
    tables = table.render(guests)
    print(f"\n{tables}\n")
    if arguments.write:
        document = arguments.write.read_text()
        arguments.write.write_text(table.put_between_marks(document, tables))
    may_be_off = not btf and not (bcc and arguments.programs)
    failures = list(verdict.failures(guests, programs, may_be_off=may_be_off))
    for failure in failures:
        print(f"FAILED: {failure}")
    tried = len(programs) * len(guests)
    print(f"{tried} program runs, {len(failures)} failures, {time.monotonic() - began:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
