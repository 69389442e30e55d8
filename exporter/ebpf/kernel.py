"""Programs into the kernel: the first way of each hook that this kernel takes, found by trying.

Never by kernel version. A function or hook that cannot be had is one line in `problems`, the rest
runs; a hook that the program cannot do without turns the program off with a BpfError.
It must not know what the maps' keys and values mean.
"""

import contextlib
import functools
import logging
import mmap
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from exporter.ebpf import budget, features, libbpf
from exporter.ebpf.attach import attach, is_perf_event
from exporter.ebpf.elf import BpfObject, verify_object
from exporter.ebpf.hooks import HookReport, Refusal, functions_to_try, hooks_of
from exporter.ebpf.layout import is_split_by_cpu
from exporter.ebpf.loaded import HeldObject, KernelProgram
from exporter.ebpf.metricspec import CounterSpec, GaugeSpec
from exporter.ebpf.objectfile import read_object
from exporter.ebpf.places import interface_of
from exporter.ebpf.refusals import Refusals
from exporter.ebpf.spec import Program, ProgramSpec
from exporter.ebpf.verifier import telling_line
from exporter.ebpf.without_btf import WithoutKernelBtf
from exporter.errors import BpfError
from exporter.hostfs import HostFs

logger = logging.getLogger(__name__)

_BLAMED = re.compile(r"^prog '([^']+)': (.*)")
_MAP_REFUSED = re.compile(r"^map '([^']+)': failed to create: (.*?)(\(-\d+\))?$")
_LOG_MARK = "-- BEGIN PROG LOAD LOG --"
_NO_BTF = re.compile("kernel BTF|vmlinux BTF")


class Options(NamedTuple):
    """How to load. `max_entries` is by map name and overrides the object's. `possible_cpus` is
    for the budget only, None for this machine's. `custom_btf` is a BTF file for kernels without.
    `batch` False reads maps key by key, as kernels without batch lookups make us.
    `backend` is for backends.py: who is to load. `refusals` are of the programs that are loaded
    together: what one finds out about the machine, the others need not try."""

    max_entries: Mapping[str, int] = {}
    possible_cpus: int | None = None
    budget_bytes: int = budget.BUDGET_BYTES
    custom_btf: str | None = None
    batch: bool = True
    host: HostFs = HostFs()
    backend: Literal["auto", "core", "bcc"] = "auto"
    refusals: Refusals | None = None


DEFAULTS = Options()


class ProgramReport(NamedTuple):
    """A row of `kernmesh programs`. `hooks` are all ELF sections that the program could use;
    `hook` those that this kernel takes, joined by ", ", or None; `reason` one line why there is
    none, or what is missing although it runs; None where all is well."""

    name: str
    hooks: tuple[str, ...]
    hook: str | None
    reason: str | None


class _Refused(Exception):
    """The kernel did not take what was tried; `refusals` is empty where no function is to blame."""

    def __init__(self, refusals: Sequence[Refusal], whole: BpfError) -> None:
        self.refusals, self.whole = refusals, whole


class _NoKernelBtf(Exception):
    """libbpf looked for the kernel's BTF and found none."""

    def __init__(self, whole: BpfError) -> None:
        self.whole = whole


class Verified(NamedTuple):
    """An object's bytes, read from where they can be trusted, and what they declare."""

    data: bytes
    declared: BpfObject


def read_verified(program: Program) -> Verified:
    """Raises BpfError, one line, where the object is missing, not to be trusted or broken."""
    data = read_object(program.object)
    # libbpf 1.1 crashed on mutated objects: nothing reaches it before its structure holds.
    return Verified(data, verify_object(data, str(program.object)))


def load(
    program: Program, options: Options = DEFAULTS, verified: Verified | None = None
) -> KernelProgram:
    """Loads and attaches; the caller closes it. `verified` is read where it is not given.

    Raises BpfError, one line: the object is missing, not to be trusted or broken; this machine
    permits no BPF; or a hook that the program needs has no way left (the line names each way
    and why it was refused, `log` holds the verifier's whole text).
    """
    return _Loader(program, options, verified or read_verified(program)).load()


def examine(program: Program, options: Options = DEFAULTS) -> ProgramReport:
    """Tries a program on this kernel and takes it out again; raises nothing."""
    loader: _Loader | None = None
    try:
        loader = _Loader(program, options, read_verified(program))
        with contextlib.closing(loader.load()) as loaded:
            reason = "; ".join(loaded.problems) or None
            return report(program.name, loaded.hooks, reason)
    except BpfError as error:
        return report(program.name, loader.reports() if loader else (), str(error), runs=False)


def report(
    name: str, hooks: Sequence[HookReport], reason: str | None, runs: bool = True
) -> ProgramReport:
    """The row of a program that is loaded already (KernelProgram.hooks), or is not."""
    could = dict.fromkeys(section for hook in hooks for way in hook.ways for section in way)
    taken = dict.fromkeys(section for hook in hooks for section in hook.taken or ())
    reason = reason.removeprefix(f"{name}: ") if reason else None
    return ProgramReport(name, tuple(could), ", ".join(taken) or None if runs else None, reason)


class _Loader:
    """One program on its way in."""

    def __init__(self, program: Program, options: Options, verified: Verified) -> None:
        self._program, self._options = program, options
        if options.custom_btf is not None and (
            wrong := features.btf_file_problem(options.custom_btf)
        ):
            raise BpfError(f"{program.name}: {wrong}")
        self._data = verified.data
        self._sections = verified.declared.functions
        self._known = options.refusals or Refusals()
        self._hooks = hooks_of(program.spec.hooks, self._sections)
        self._without_btf: WithoutKernelBtf | None = None

    def reports(self) -> list[HookReport]:
        return [hook.report() for hook in self._hooks]

    @functools.cached_property
    def _lib(self) -> libbpf.Libbpf:
        return libbpf.library()

    @functools.cached_property
    def _constants(self) -> Mapping[str, int]:
        return _kernel_addresses(self._program, self._options.host)

    def load(self) -> KernelProgram:
        try:
            return self._load_first_ways()
        finally:
            if self._without_btf is not None:
                self._without_btf.close()

    def _load_first_ways(self) -> KernelProgram:
        while True:
            self._pass_over()
            self._check_not_lost()
            functions = functions_to_try(self._hooks)
            try:
                obj = self._attempt(functions)
            except _NoKernelBtf as lacking:
                self._do_without_btf(lacking.whole)
                continue
            except _Refused as refused:
                refusals = refused.refusals or self._refused_alone(functions)
                if not refusals:
                    raise refused.whole from None
                self._refuse(refusals)
                continue
            try:
                held = HeldObject(self._lib, obj, functions)
                return KernelProgram(
                    *(self._lib, self._program.name, "core", held),
                    *(self.reports(), self._options.batch),
                )
            except BaseException:
                obj.close()
                raise

    def _do_without_btf(self, whole: BpfError) -> None:
        """From here on; what is left of the program is tried again."""
        if self._without_btf is not None:
            raise whole
        options = self._options
        self._without_btf = WithoutKernelBtf(self._data, options.custom_btf, options.host)

    def _pass_over(self) -> None:
        """Refuses what need not be tried: ways that a kernel without BTF cannot have, and what this
        machine has refused before."""
        while True:
            refusals = [
                Refusal(function, self._sections[function], reason)
                for function in functions_to_try(self._hooks)
                if (reason := self._unsuited(function))
            ]
            if not refusals:
                return
            self._refuse(refusals)

    def _unsuited(self, function: str) -> str | None:
        lacking = self._without_btf.unsuited(function) if self._without_btf else None
        return lacking or self._known.reason(self._sections[function])

    def _refuse(self, refusals: Iterable[Refusal]) -> None:
        for refusal in refusals:
            logger.debug("%s: %s\n%s", self._program.name, refusal, refusal.log)
            for hook in self._hooks:
                if refusal.function in hook.functions:
                    hook.refuse(refusal)

    def _check_not_lost(self) -> None:
        lost = [hook for hook in self._hooks if hook.lost]
        if not lost and functions_to_try(self._hooks):
            return
        reports = [hook.report() for hook in lost or self._hooks]
        why = features.no_bpf(self._lib, self._options.host)
        if why is None and not reports:
            why = "the object has no functions"
        if why is None:
            why = "; ".join(
                f"hook {each.name!r} has no way into this kernel: {each.reason}" for each in reports
            )
        log = "\n".join(refusal.log for each in reports for refusal in each.refusals)
        raise BpfError(f"{self._program.name}: {why}", log)

    def _open(self) -> libbpf.Object:
        btf = self._without_btf.btf if self._without_btf else self._options.custom_btf
        with self._lib.messages() as said:
            try:
                return libbpf.Object(self._lib, self._program.name, self._data, btf)
            except libbpf.LibbpfError as error:
                why = said[-1] if said else str(error)
                raise BpfError(f"{self._program.object}: libbpf cannot open it: {why}") from None

    def _attempt(self, functions: Sequence[str]) -> libbpf.Object:
        """All of these functions in the kernel and attached, or _Refused and nothing left there."""
        obj = self._open()
        try:
            for function in obj.functions:
                function.set_autoload(function.name in functions)
                if is_perf_event(function.section):
                    function.set_perf_event()
                elif interface_of(function.section):
                    function.set_xdp()
            asked = _asked_constants(obj, self._program)
            constants = {"km_page_bytes": mmap.PAGESIZE, **asked, **self._constants}
            for name in _size_maps(
                obj, self._program.spec, self._options, self._lib.possible_cpus()
            ):
                constants[f"shared_{name}"] = 1
            _set_constants(obj, constants)
            self._load(obj, functions)
            self._attach(obj, functions)
        except BaseException:
            obj.close()
            raise
        return obj

    def _load(self, obj: libbpf.Object, functions: Sequence[str]) -> None:
        with self._lib.messages() as said:
            try:
                obj.load()
                return
            except libbpf.LibbpfError as error:
                failure = error
        blamed, why = _blame(said, functions)
        log = failure.log or "\n".join(said)
        if blamed is None and any(_NO_BTF.search(line) for line in said):
            raise _NoKernelBtf(self._whole_failure(failure, said, log))
        if blamed is None:
            raise _Refused((), self._whole_failure(failure, said, log))
        section = self._sections[blamed]
        # The verifier's own words first: an EPERM may well be its way to say "invalid access".
        reason = telling_line(failure.log)
        if not reason:
            self._known.learn(section, failure.errno, self._options.host)
            reason = features.refusal(section, failure.errno, self._options.host) or why
        raise _Refused((Refusal(blamed, section, reason, log),), failure)

    def _whole_failure(
        self, failure: libbpf.LibbpfError, said: Sequence[str], log: str
    ) -> BpfError:
        """No one function is to blame: the machine, or a map."""
        why = features.no_bpf(self._lib, self._options.host)
        if why is None and any(map(_NO_BTF.search, said)):
            why = features.no_kernel_btf(self._options.host)
        if why is None:
            refused_map = next(filter(None, map(_MAP_REFUSED.match, said)), None)
            if refused_map:
                why = f"map {refused_map[1]} cannot be made: {refused_map[2]}"
        if why is None:
            why = next((line for line in reversed(said) if "fail" in line), str(failure))
        return BpfError(f"{self._program.name}: {why}", log)

    def _attach(self, obj: libbpf.Object, functions: Sequence[str]) -> None:
        refusals: list[Refusal] = []
        places = {each.function: each for each in self._program.spec.attach}
        for function in obj.functions:
            if function.name not in functions:
                continue
            with self._lib.messages() as said:
                try:
                    attach(obj, function, self._options.host, places.get(function.name))
                    continue
                except libbpf.LibbpfError as error:
                    self._known.learn(function.section, error.errno, self._options.host)
                    reason = features.refusal(function.section, error.errno, self._options.host)
                    if reason is None:
                        _, said_why = _blame(said, functions)
                        reason = f"cannot be attached: {said_why or error}"
                except BpfError as error:
                    reason = str(error)
            refusals.append(Refusal(function.name, function.section, reason, "\n".join(said)))
        if refusals:
            raise _Refused(refusals, BpfError(str(refusals[0])))

    def _refused_alone(self, functions: Sequence[str]) -> list[Refusal]:
        """Which of several functions are refused also when each is loaded alone: for failures
        where libbpf names none. Empty where that tells nothing."""
        refusals: list[Refusal] = []
        for function in functions if len(functions) > 1 else ():
            try:
                self._attempt((function,)).close()
            except _Refused as refused:
                reason = str(refused.whole)
                refusals.extend(
                    refused.refusals
                    or [Refusal(function, self._sections[function], reason, refused.whole.log)]
                )
        return refusals if len(refusals) < len(functions) else []


def _blame(said: Sequence[str], functions: Sequence[str]) -> tuple[str | None, str]:
    """Which function libbpf's messages hold responsible, and the first thing said of it."""
    matches = [match for match in map(_BLAMED.match, said) if match and match[1] in functions]
    matches = [match for match in matches if "fail" in match[2] or "error" in match[2].lower()]
    if not matches:
        return None, ""
    return matches[-1][1], next(m[2] for m in matches if m[1] == matches[-1][1])


def _size_maps(
    obj: libbpf.Object, spec: ProgramSpec, options: Options, machine_cpus: int
) -> list[str]:
    """Sets map sizes; gives the names of those that become shared, as they do not fit per CPU."""
    constants = obj.variables(".rodata")
    by_cpu = split_by_cpu(spec)
    shared = []
    for each in obj.maps:
        if each.internal:
            continue
        if each.name in options.max_entries:
            each.set_max_entries(options.max_entries[each.name])
        plan = budget.plan(
            each.kind,
            each.max_entries,
            each.value_size,
            options.possible_cpus or machine_cpus,
            can_share=f"shared_{each.name}" in constants and each.name not in by_cpu,
            budget_bytes=options.budget_bytes,
        )
        if plan.shared:
            each.set_kind(plan.kind)
            shared.append(each.name)
    return shared


def _set_constants(obj: libbpf.Object, values: Mapping[str, int]) -> None:
    """Writes numbers into the object's constants of these names, where it has them."""
    places = obj.variables(".rodata")
    rodata = next((m for m in obj.maps if m.internal and m.name.endswith(".rodata")), None)
    for name, value in values.items():
        if rodata is not None and name in places:
            place = places[name]
            rodata.write_initial(place.offset, value.to_bytes(place.size, sys.byteorder))


def _asked_constants(obj: libbpf.Object, program: Program) -> Mapping[str, int]:
    """`constants` of the YAML. Raises BpfError for one that the object has not, or that is larger
    than the object's variable."""
    asked = program.spec.constants
    places = obj.variables(".rodata") if asked else {}
    for name, value in asked.items():
        if name not in places:
            raise BpfError(f"{program.yaml}: constants: the object's rodata has no variable {name}")
        if value >> 8 * places[name].size:
            raise BpfError(
                f"{program.yaml}: constants: {name}: got {value}, want what fits in "
                f"{places[name].size} bytes"
            )
    return asked


def _kernel_addresses(program: Program, host: HostFs) -> dict[str, int]:
    """`kaddrs` of the YAML: kernel symbols' addresses, for constants named kaddr_<symbol>."""
    wanted = set(program.spec.kaddrs)
    found: dict[str, int] = {}
    if not wanted:
        return found
    path = host.proc / "kallsyms"
    try:
        with path.open() as lines:
            for line in lines:
                address, _, name = line.split()[:3]
                if name in wanted:
                    found.setdefault(f"kaddr_{name}", int(address, 16))
    except OSError as error:
        raise BpfError(f"{program.yaml}: kaddrs: {path}: {error.strerror}") from None
    missing = sorted(name for name in wanted if not found.get(f"kaddr_{name}"))
    if missing:
        raise BpfError(
            f"{program.yaml}: kaddrs: this kernel shows no address of {', '.join(missing)}"
        )
    return found


def split_by_cpu(spec: ProgramSpec) -> set[str]:
    """Maps whose metric has a last label `cpu`: shared, they could not tell it."""
    metrics: tuple[CounterSpec | GaugeSpec, ...] = (*spec.metrics.counters, *spec.metrics.gauges)
    return {each.map_name for each in metrics if is_split_by_cpu(each)}
