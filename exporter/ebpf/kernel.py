"""Programs into the kernel: the first way of each hook that this kernel takes, found by trying.

Never by kernel version. A function or hook that cannot be had is one line in `problems`, the rest
runs; a hook that the program cannot do without turns the program off with a BpfError.
It must not know what the maps' keys and values mean.
"""

import contextlib
import functools
import logging
import mmap
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from exporter.ebpf import budget, features, libbpf
from exporter.ebpf.attach import attach, is_perf_event
from exporter.ebpf.blame import blamed_function, blamed_whole, lacks_btf
from exporter.ebpf.constants import constants_of, set_constants
from exporter.ebpf.elf import BpfObject, verify_object
from exporter.ebpf.hooks import HookReport, Refusal, functions_to_try, hooks_of
from exporter.ebpf.libbpf_object import Object
from exporter.ebpf.loaded import HeldObject, KernelProgram
from exporter.ebpf.mapsizes import size_maps
from exporter.ebpf.objectfile import read_object
from exporter.ebpf.places import interface_of
from exporter.ebpf.refusals import Refusals
from exporter.ebpf.spec import Program
from exporter.ebpf.verifier import telling_line
from exporter.ebpf.without_btf import WithoutKernelBtf
from exporter.errors import BpfError
from exporter.hostfs import HostFs

logger = logging.getLogger(__name__)


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
        self._declared = verified.declared
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
        return constants_of(self._program, self._declared, self._options.host)

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

    def _open(self) -> Object:
        named = self._options.custom_btf or features.btf_to_name(self._options.host)
        btf = self._without_btf.btf if self._without_btf else named
        with self._lib.messages() as said:
            try:
                return Object(self._lib, self._program.name, self._data, btf)
            except libbpf.LibbpfError as error:
                why = said[-1] if said else str(error)
                raise BpfError(f"{self._program.object}: libbpf cannot open it: {why}") from None

    def _attempt(self, functions: Sequence[str]) -> Object:
        """All of these functions in the kernel and attached, or _Refused and nothing left there."""
        obj = self._open()
        try:
            for function in obj.functions:
                function.set_autoload(function.name in functions)
                if is_perf_event(function.section):
                    function.set_perf_event()
                elif interface_of(function.section):
                    function.set_xdp()
            constants = {"km_page_bytes": mmap.PAGESIZE, **self._constants}
            for name in self._size_maps(obj):
                constants[f"shared_{name}"] = 1
            set_constants(obj, constants)
            self._load(obj, functions)
            self._attach(obj, functions)
        except BaseException:
            obj.close()
            raise
        return obj

    def _size_maps(self, obj: Object) -> list[str]:
        options = self._options
        cpus = options.possible_cpus or self._lib.possible_cpus()
        return size_maps(obj, self._program.spec, options.max_entries, cpus, options.budget_bytes)

    def _load(self, obj: Object, functions: Sequence[str]) -> None:
        with self._lib.messages() as said:
            try:
                obj.load()
                return
            except libbpf.LibbpfError as error:
                failure = error
        blamed, why = blamed_function(said, functions)
        log = failure.log or "\n".join(said)
        if blamed is None and lacks_btf(said):
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
        why = blamed_whole(self._lib, self._options.host, failure, said)
        return BpfError(f"{self._program.name}: {why}", log)

    def _attach(self, obj: Object, functions: Sequence[str]) -> None:
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
                        _, said_why = blamed_function(said, functions)
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
