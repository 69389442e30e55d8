"""The kernel's types out of its headers, by bcc's own compiler: where there is no BTF at all.

The place of each field that a program reads is what a compiled function returns. What the headers
lack makes the compiler complain of its line, which is left out the next time: then it is absent,
as it is from the kernel. Only headers of the running kernel tell its types.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from exporter.ebpf.btf import Btf, BtfType
from exporter.ebpf.btf_build import Field, build
from exporter.ebpf.relocations import Relocation, plain

# kernel/sched/sched.h and other private headers are in no package.
_HEADERS: Mapping[str, str] = {
    "cgroup": "linux/cgroup-defs.h",
    "cgroup_root": "linux/cgroup-defs.h",
    "cgroup_subsys_id": "linux/cgroup-defs.h",
    "cgroup_subsys_state": "linux/cgroup-defs.h",
    "css_set": "linux/cgroup-defs.h",
    "fdtable": "linux/fdtable.h",
    "file": "linux/fs.h",
    "files_struct": "linux/fdtable.h",
    "gendisk": "linux/blkdev.h",
    "inet_connection_sock": "net/inet_connection_sock.h",
    "kernfs_node": "linux/kernfs.h",
    "pt_regs": "linux/ptrace.h",
    "req_op": "linux/blk_types.h",
    "req_opf": "linux/blk_types.h",
    "request": "linux/blk-mq.h",
    "request_queue": "linux/blkdev.h",
    "sched_entity": "linux/sched.h",
    "shrink_control": "linux/shrinker.h",
    "sk_buff": "linux/skbuff.h",
    "sock": "net/sock.h",
    "sock_common": "net/sock.h",
    "socket": "linux/net.h",
    "task_struct": "linux/sched.h",
    "tcp_sock": "linux/tcp.h",
    "thread_info": "linux/thread_info.h",
    "timer_list": "linux/timer.h",
}
_FIRST = "linux/sched.h"
_TRIES = 4
_LINE = re.compile(r"main\.c:(\d+):\d+: error:")


class Compiler(Protocol):
    def constants(self, text: str, names: Sequence[str]) -> tuple[list[int], str]:
        """What each of the functions returns; [] and all that the compiler said if it refused."""


class Probe(NamedTuple):
    """A number that the headers are asked for: where a field is, what an enumerator is, or
    (with neither) how large a struct is."""

    kind: str
    type: str
    name: str

    def expression(self) -> str:
        if self.kind == "enum":
            return f"(unsigned long){self.name}"
        if not self.name:
            return f"sizeof({self.kind} {self.type})"
        return f"__builtin_offsetof({self.kind} {self.type}, {self.name})"


class HeaderTypes(NamedTuple):
    """`known` are types that the headers have; whatever else these lack, the kernel lacks."""

    btf: Btf
    known: frozenset[str]


def header_types(btf: Btf, relocated: Iterable[Relocation], compiler: Compiler) -> HeaderTypes:
    """Of what a program (its object's BTF and relocations) reads; bcc's errors pass through."""
    probes = list(dict.fromkeys(_probes(btf, relocated)))
    found = _ask(probes, compiler)
    structs: dict[str, list[Field]] = {}
    enums: dict[str, dict[str, int]] = {}
    for probe, number in found.items():
        if probe.kind == "enum":
            enums.setdefault(probe.type, {})[probe.name] = number
        else:
            fields = structs.setdefault(probe.type, [])
            fields += [Field(probe.name, number, 8)] if probe.name else []
    asked = {probe.type for probe in probes if probe.kind == "enum"}
    return HeaderTypes(Btf(build(structs, enums)), frozenset(structs) | asked)


def _probes(btf: Btf, relocated: Iterable[Relocation]) -> Iterator[Probe]:
    pending = [btf.type(each.local) for each in relocated]
    seen: set[int] = set()
    while pending:
        found = pending.pop()
        name = plain(found.name)
        if found.id in seen or name not in _HEADERS:
            continue
        seen.add(found.id)
        if found.kind in ("enum", "enum64"):
            for value, _ in btf.values(found):
                yield Probe("enum", name, plain(value))
        elif found.kind == "struct":
            yield Probe("struct", name, "")
            for member in btf.members(found):
                yield Probe("struct", name, member.name)
                pending += _followed(btf, btf.resolve(member.type))


def _followed(btf: Btf, found: BtfType) -> Sequence[BtfType]:
    """The struct that a member is, or that it points to."""
    while found.kind in ("ptr", "array"):
        found = btf.resolve(found.target if found.kind == "ptr" else btf.element(found)[0])
    return [found] if found.kind in ("struct", "enum") and found.name else []


def _ask(probes: Sequence[Probe], compiler: Compiler) -> dict[Probe, int]:
    left = list(probes)
    for _ in range(_TRIES):
        head = [f"#if __has_include(<{each}>)\n#include <{each}>\n#endif" for each in _files(left)]
        lines = "\n".join(head).splitlines()
        first = len(lines) + 1
        lines += [
            f"unsigned long km_{index}(void *ctx) {{ return {probe.expression()}; }}"
            for index, probe in enumerate(left)
        ]
        names = [f"km_{index}" for index in range(len(left))]
        numbers, said = compiler.constants("\n".join(lines) + "\n", names)
        if numbers:
            return dict(zip(left, numbers, strict=True))
        wrong = {int(line) - first for line in _LINE.findall(said)}
        fewer = [probe for index, probe in enumerate(left) if index not in wrong]
        if len(fewer) == len(left):
            break
        left = fewer
    return {}


def _files(probes: Iterable[Probe]) -> list[str]:
    """The one that others rely on comes first."""
    return list(dict.fromkeys([_FIRST, *sorted({_HEADERS[probe.type] for probe in probes})]))
