"""What a configuration wants of the machine, by the key that wants it.

Of programs it is the hooks that they cannot do without, each with its ways: a way needs all of its
kinds (the first words of ELF sections), a hook needs one of its ways. Loads nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from exporter.config import AgentConfig, Ebpf
from exporter.ebpf.elf import verify_object
from exporter.ebpf.features import kind_of, no_kernel_btf
from exporter.ebpf.hooks import Hook as Tried
from exporter.ebpf.hooks import Refusal, hooks_of
from exporter.ebpf.objectfile import read_object
from exporter.ebpf.selection import select
from exporter.ebpf.without_btf import WithoutKernelBtf
from exporter.errors import BpfError, ConfigError
from exporter.hostfs import HostFs

HARDWARE = "perf_event of hardware"
"""Kind of a section that counts what the CPU counts: perf_event/type=0, 3 or 4."""
_HARDWARE_SECTIONS = ("perf_event/type=0,", "perf_event/type=3,", "perf_event/type=4,")


class Hook(NamedTuple):
    """One that its program cannot do without."""

    program: str
    ways: tuple[frozenset[str], ...]


class Wants(NamedTuple):
    """`programs` are configured or needed by rules; `lost_without_btf` those that libbpf cannot
    load as this kernel has no BTF, None where tracefs, which would tell, may not be looked into.
    `ping` and `psi` are the keys that want ICMP, and pressure of cgroups; "" where none does."""

    programs: tuple[str, ...] = ()
    hooks: tuple[Hook, ...] = ()
    lost_without_btf: tuple[str, ...] | None = ()
    backend: str = "auto"
    btf: str | None = None
    ping: str = ""
    psi: str = ""
    state_dir: str | None = None
    drop: bool = True

    def lost(self, kinds: Collection[str]) -> tuple[str, ...]:
        """Programs that have no way left where these kinds are not to be had."""
        away = frozenset(kinds)
        found = (hook.program for hook in self.hooks if all(way & away for way in hook.ways))
        return tuple(dict.fromkeys(found))

    def by_programs(self) -> str:
        """The key that wants BPF at all."""
        return "ebpf.programs" if self.programs else ""


def named(programs: Collection[str]) -> str:
    """The key, with its programs: for Line.wanted_by. "" where there are none."""
    shown = ", ".join(list(programs)[:4])
    more = f" and {len(programs) - 4} more" if len(programs) > 4 else ""
    return f"ebpf.programs: {shown}{more}" if programs else ""


def wants_of(config: AgentConfig, host: HostFs) -> Wants:
    """Objects that cannot be read want nothing (`kernmesh check` says what is wrong with them)."""
    rules, psi = _of_rules(config, host)
    settings = config.ebpf
    chosen = select(settings)
    asked = {program.name: program for program in chosen.programs}
    if rules:
        more = select(Ebpf(programs=rules, dirs=settings.dirs))
        asked |= {program.name: program for program in more.programs}
    hooks: list[Hook] = []
    lost: list[str] | None = []
    without_btf = no_kernel_btf(host) is not None
    for program in asked.values():
        try:
            data = read_object(program.object)
            sections = verify_object(data).functions
            its = hooks_of(program.spec.hooks, sections)
            hooks += _needed(program.name, its)
            if without_btf and lost is not None:
                with closing(WithoutKernelBtf(data, settings.btf, host)) as without:
                    if _lost(its, sections, without):
                        lost.append(program.name)
        except BpfError:
            continue
        except PermissionError:
            lost = None
    return Wants(
        tuple(asked),
        tuple(hooks),
        None if lost is None else tuple(lost),
        settings.backend,
        settings.btf,
        _ping(config),
        psi,
        config.usage.state_dir,
        config.privileges.drop,
    )


def _needed(program: str, hooks: Iterable[Tried]) -> Iterator[Hook]:
    for report in (each.report() for each in hooks):
        if not report.optional:
            yield Hook(program, tuple(frozenset(map(_kind, way)) for way in report.ways))


def _kind(section: str) -> str:
    return HARDWARE if section.startswith(_HARDWARE_SECTIONS) else kind_of(section)


def _lost(hooks: Iterable[Tried], sections: Mapping[str, str], without: WithoutKernelBtf) -> bool:
    """Whether one of them has no way left without BTF. They are not to be asked again."""
    for hook in hooks:
        while name := next((each for each in hook.functions if without.unsuited(each)), None):
            hook.refuse(Refusal(name, sections[name], ""))
        if hook.lost:
            return True
    return False


def _of_rules(config: AgentConfig, host: HostFs) -> tuple[tuple[str, ...], str]:
    """Programs that the rules need, and the key that wants pressure."""
    if config.interference.rules is None:
        return (), ""
    from exporter.interference.needs import take_rules
    from exporter.interference.this_node import this_node

    try:
        needs = take_rules(config.interference.rules, this_node(host)).needs
    except ConfigError:
        return (), ""
    asked = needs.online | needs.offline
    psi = any(name.endswith(("_some_seconds", "_full_seconds")) for name in asked)
    return needs.programs, "interference.rules" if psi else ""


def _ping(config: AgentConfig) -> str:
    pingmesh = config.pingmesh
    for key in ("controller", "pinglist", "allow"):
        if getattr(pingmesh, key):
            return f"pingmesh.{key}"
    return ""


def state_place(folder: str) -> Path:
    """The folder, or the nearest one above it that is there."""
    path = Path(folder).absolute()
    return next((each for each in (path, *path.parents) if each.exists()), Path("/"))
