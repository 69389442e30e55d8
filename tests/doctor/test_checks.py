"""Each subject on machines of files: how it is, what is said, what wants it."""

from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from exporter.doctor import CHECKS, Check, examine
from exporter.doctor.line import Line
from exporter.doctor.machine import Answers, ApiAnswer, Clock, Machine, StateFolder
from exporter.doctor.wants import HARDWARE, Wants
from exporter.ebpf.features import CAP_BPF, CAP_NET_RAW, CAP_PERFMON, CAP_SYS_ADMIN
from tests.doctor.machines import (
    ALL_CAPABILITIES,
    BTF,
    CONFIG,
    KERNEL,
    PROGRAMS,
    RELEASE,
    WELL,
    Files,
    machine,
    packed,
    status,
    wanting,
)

NOTHING = Wants()
NO_FILES: Files = MappingProxyType({})
LOST = PROGRAMS._replace(lost_without_btf=("biolatency",))
BY_BCC = PROGRAMS._replace(backend="bcc")
LOCKDOWN = "sys/kernel/security/lockdown"
EVENTS: Files = {"sys/bus/event_source/devices/software/type": "1"}
TRACEFS: Files = {"sys/kernel/tracing/events/timer/timer_start/id": "1"}
BCC: Files = {"usr/lib/python3/dist-packages/bcc/libbcc.py": ""}
HEADERS = "usr/src/linux-headers-%s/include/generated/utsrelease.h"
OWN_HEADERS: Files = {HEADERS % RELEASE: f'#define UTS_RELEASE "{RELEASE}"\n'}
OTHER_HEADERS: Files = {HEADERS % "5.10": '#define UTS_RELEASE "5.10"\n'}
RANGE = "proc/sys/net/ipv4/ping_group_range"
SOURCE = "sys/devices/system/clocksource/clocksource0/current_clocksource"
PRESSURE = "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n"
SECCOMP: Files = {"proc/sys/kernel/seccomp/actions_avail": "kill_process errno allow\n"}
ANSWERED = Answers(0, landlock=7)
HELD = {"landlock": True, "seccomp": True}
ELSEWHERE: Files = {"proc/self/mountinfo": "42 31 0:39 / /tmp rw - tmpfs tmpfs rw\n"}
ONE = "32 31 0:29 / /sys/fs/cgroup/{0} rw shared:9 - cgroup cgroup rw,{0}\n"
TWO = "41 31 0:38 / /sys/fs/cgroup{} rw - cgroup2 cgroup2 rw\n"
ALL_ONES = "".join(
    ONE.format(name).replace("0:29", f"0:{place}")
    for place, name in enumerate(("cpu", "cpuacct", "memory", "blkio"), 50)
)


def mountinfo(text: str) -> Files:
    return {"proc/1/mountinfo": text, "proc/self/mountinfo": text}


def v2(offered: str, handed_down: str | None = None) -> Files:
    files = {**mountinfo(TWO.format("")), "sys/fs/cgroup/cgroup.controllers": offered}
    if handed_down is not None:
        files["sys/fs/cgroup/cgroup.subtree_control"] = handed_down
    return files


class Case(NamedTuple):
    """`says` and `mend` are parts of what is said; "" where there is no mend."""

    subject: str
    state: str
    says: str
    files: Files = NO_FILES
    mend: str = ""
    wanted_by: str = ""
    wants: Wants = PROGRAMS
    answers: Answers = WELL


CASES = (
    # kernel config
    Case("kernel config", "ok", "all 10 options", packed(CONFIG)),
    Case("kernel config", "ok", "all 10", {f"boot/config-{RELEASE}": CONFIG}),
    Case("kernel config", "ok", "all 10", {f"lib/modules/{RELEASE}/config": CONFIG}),
    Case("kernel config", "unknown", "neither", mend="modprobe configs"),
    Case("kernel config", "unknown", "neither", {"boot/config-other": CONFIG}, "modprobe"),
    Case("kernel config", "unknown", "neither", {"proc/config.gz": b"\x1f\x8bno"}, "modprobe"),
    Case(
        "kernel config",
        "ok",
        "all 10",
        {"proc/config.gz": b"torn", f"boot/config-{RELEASE}": CONFIG},
    ),
    Case(
        "kernel config",
        "degraded",
        "without CONFIG_KPROBE_EVENTS: no kprobes",
        packed(CONFIG.replace("CONFIG_KPROBE_EVENTS=y", "# CONFIG_KPROBE_EVENTS is not set")),
        "kernmesh programs",
    ),
    Case(
        "kernel config",
        "missing",
        "CONFIG_KPROBE_EVENTS",
        packed(CONFIG.replace("KPROBE_EVENTS", "OTHER")),
        "a kernel that is built with them",
        "ebpf.programs: mine",
        wanting("mine", "kprobe"),
    ),
    Case(
        "kernel config",
        "missing",
        "no fentry and fexit",
        packed(CONFIG.replace("KPROBE_EVENTS", "A").replace("_WITH_DIRECT_CALLS", "")),
        "a kernel",
        "ebpf.programs: mine",
        wanting("mine", "fentry", "kprobe"),
    ),
    Case(
        "kernel config",
        "missing",
        "CONFIG_BPF_SYSCALL",
        packed(CONFIG.replace("BPF_SYSCALL", "A")),
        "a kernel",
        "ebpf.programs",
    ),
    Case(
        "kernel config",
        "missing",
        "CONFIG_BPF_SYSCALL",
        packed(CONFIG.replace("BPF_SYSCALL", "A")),
        "a kernel",
        wants=NOTHING,
    ),
    # BTF
    Case("BTF", "ok", "its own", BTF),
    Case("BTF", "missing", "carries none", mend="CONFIG_DEBUG_INFO_BTF", wants=NOTHING),
    Case("BTF", "degraded", "every program has a way", mend="CONFIG_DEBUG_INFO_BTF"),
    Case("BTF", "missing", "none", {}, "CONFIG", "ebpf.programs: biolatency", LOST),
    Case("BTF", "degraded", "bcc compiles", {**BCC, **OWN_HEADERS}, "CONFIG_DEBUG", "", LOST),
    Case(
        *("BTF", "missing", "carries none", {**BCC, **OTHER_HEADERS}, "CONFIG_DEBUG"),
        "ebpf.programs: biolatency",
        LOST,
    ),
    Case(
        *("BTF", "missing", "carries none", {**BCC, **OWN_HEADERS}, "CONFIG_DEBUG"),
        "ebpf.programs: biolatency",
        LOST._replace(backend="core"),
    ),
    Case(
        *("BTF", "missing", "/nowhere/at.btf: cannot be read", {}, "ebpf.btf", "ebpf.btf"),
        LOST._replace(btf="/nowhere/at.btf"),
    ),
    Case("BTF", "unknown", "root", {}, "as root", "", PROGRAMS._replace(lost_without_btf=None)),
    # privileges
    Case("privileges", "ok", "Landlock (ABI 7) and seccomp", SECCOMP, answers=ANSWERED),
    Case("privileges", "ok", "all in force", SECCOMP, answers=ANSWERED._replace(agent=HELD)),
    Case(
        *("privileges", "degraded", "running agent: landlock", SECCOMP, "page says why"),
        answers=ANSWERED._replace(agent={**HELD, "landlock": False}),
    ),
    Case(
        *("privileges", "degraded", "seccomp filters", SECCOMP, "landlock in lsm="),
        answers=ANSWERED._replace(landlock=0),
    ),
    Case("privileges", "degraded", "ABI 7", mend="CONFIG_SECCOMP_FILTER", answers=ANSWERED),
    Case("privileges", "unknown", "not told", SECCOMP),
    Case("privileges", "ok", "are kept", SECCOMP, wants=NOTHING._replace(drop=False)),
    # lockdown
    Case("lockdown", "ok", "none", {LOCKDOWN: "[none] integrity confidentiality\n"}),
    Case("lockdown", "degraded", "fentry", {LOCKDOWN: "none [integrity] x\n"}, "boot without"),
    Case(
        *("lockdown", "missing", "confidentiality", {LOCKDOWN: "none x [confidentiality]\n"}),
        *("boot without lockdown=", "ebpf.programs"),
    ),
    Case("lockdown", "ok", "has none", packed(CONFIG)),
    Case(
        *("lockdown", "unknown", "cannot be read"),
        packed(CONFIG + "CONFIG_SECURITY_LOCKDOWN_LSM=y\n"),
        "mount -t securityfs",
    ),
    Case("lockdown", "unknown", "cannot be read", mend="mount -t securityfs"),
    # capabilities
    Case("capabilities", "ok", "uid 0: CAP_BPF CAP_PERFMON", status(ALL_CAPABILITIES)),
    Case("capabilities", "ok", "CAP_SYS_ADMIN", status(1 << CAP_SYS_ADMIN)),
    Case("capabilities", "ok", "CAP_BPF", status(1 << CAP_BPF | 1 << CAP_PERFMON)),
    Case("capabilities", "ok", "seccomp filter", status(ALL_CAPABILITIES, seccomp=2)),
    Case("capabilities", "missing", "none of them", status(), "as root", "ebpf.programs"),
    Case(
        *("capabilities", "missing", "CAP_BPF", status(1 << CAP_BPF), "CAP_PERFMON"),
        "ebpf.programs",
    ),
    Case("capabilities", "missing", "none of them", status(), "as root", wants=NOTHING),
    Case(
        *("capabilities", "missing", "CAP_BPF", status(1 << CAP_BPF | 1 << CAP_PERFMON)),
        *("CAP_NET_ADMIN", "ebpf.programs: mine", wanting("mine", "xdp")),
    ),
    Case("capabilities", "unknown", "cannot be read"),
    Case("capabilities", "unknown", "cannot be read", {"proc/self/status": "Name:\tx\n"}),
    # libbpf and bpf()
    Case("libbpf", "ok", "1.1"),
    Case(
        *("libbpf", "missing", "no such file", {}, "apt-get install libbpf1", "ebpf.programs"),
        answers=WELL._replace(libbpf=None, no_libbpf="no such file"),
    ),
    Case("bpf()", "ok", "takes a program"),
    Case("bpf()", "unknown", "without libbpf", answers=WELL._replace(libbpf=None)),
    Case(
        *("bpf()", "missing", "not permitted", {}, "capabilities above", "ebpf.programs"),
        answers=WELL._replace(no_bpf="not permitted: start it as root"),
    ),
    # the kernel's filesystems
    Case("tracefs", "ok", "kernel/tracing", TRACEFS),
    Case("tracefs", "degraded", "has a way without", ELSEWHERE, "mount -t tracefs"),
    Case("tracefs", "missing", "not mounted", ELSEWHERE, "mount -t tracefs", wants=NOTHING),
    Case(
        *("tracefs", "missing", "not mounted", ELSEWHERE, "mount -t tracefs"),
        *("ebpf.programs: mine", wanting("mine", "tracepoint")),
    ),
    Case(
        *("tracefs", "unknown", "root"),
        mountinfo("50 31 0:12 / /sys/kernel/tracing rw - tracefs nodev rw\n"),
        "as root",
    ),
    Case("tracefs", "unknown", "root", mend="as root"),
    Case("bpffs", "ok", "/sys/fs/bpf", mountinfo("5 3 0:12 / /sys/fs/bpf rw - bpf bpf rw\n")),
    Case("bpffs", "missing", "pins nothing", ELSEWHERE, "mount -t bpf"),
    Case("bpffs", "unknown", "mountinfo"),
    # headers
    Case("headers for bcc", "ok", "not needed, as the kernel carries BTF", BTF),
    Case("headers for bcc", "ok", f"headers of {RELEASE}", {**BCC, **OWN_HEADERS}),
    Case("headers for bcc", "ok", "not needed by what is configured"),
    Case("headers for bcc", "ok", "core", {}, "", "", LOST._replace(backend="core")),
    Case(
        *("headers for bcc", "missing", "bcc is not installed", {}),
        *("apt-get install python3-bpfcc", "ebpf.programs: biolatency", LOST),
    ),
    Case(
        *("headers for bcc", "missing", "no kernel headers", {**BTF, **BCC}),
        *(f"linux-headers-{RELEASE}", "ebpf.backend: bcc", BY_BCC),
    ),
    Case(
        *("headers for bcc", "degraded", "those of 5.10", {**BTF, **BCC, **OTHER_HEADERS}),
        *(f"linux-headers-{RELEASE}", "", BY_BCC),
    ),
    Case(
        *("headers for bcc", "unknown", "only root", {}, "apt-get"),
        wants=PROGRAMS._replace(lost_without_btf=None),
    ),
    Case("headers for bcc", "unknown", "release", {"proc/sys/kernel/osrelease": ""}),
    # cgroups
    Case("cgroups", "ok", "v2: v2 at /sys/fs/cgroup (cpu io memory)", v2(*2 * ("cpu io memory",))),
    Case("cgroups", "ok", "v1: v1 (blkio cpu cpuacct memory)", mountinfo(ALL_ONES)),
    Case(
        *("cgroups", "ok", "hybrid: v2 at /sys/fs/cgroup/unified (no controllers), v1 (blkio"),
        mountinfo(ALL_ONES + TWO.format("/unified")),
    ),
    Case(
        *("cgroups", "degraded", "not handed down: io"),
        v2("cpu io memory", "cpu memory"),
        "echo '+io' > /sys/fs/cgroup/cgroup.subtree_control",
    ),
    Case("cgroups", "unknown", "subtree_control", v2("cpu io memory")),
    Case("cgroups", "degraded", "not counted: memory", v2("cpu io"), "cgroup_disable="),
    Case(
        *("cgroups", "degraded", "not counted: memory, io", mountinfo(ONE.format("cpu"))),
        "mount the memory, io controller",
    ),
    Case("cgroups", "missing", "no hierarchy", ELSEWHERE, "mount -t cgroup2", "usage"),
    Case("cgroups", "unknown", "mountinfo"),
    # counters
    Case("PMU", "ok", "count", {"sys/bus/event_source/devices/cpu/type": "4"}),
    Case("PMU", "ok", "count", {"sys/bus/event_source/devices/armv8_cortex_a72/type": "8"}),
    Case("PMU", "missing", "no hardware counters", EVENTS, "a PMU"),
    Case(
        *("PMU", "missing", "no hardware counters", EVENTS, "a PMU", "ebpf.programs: llcstat"),
        wanting("llcstat", HARDWARE),
    ),
    Case("PMU", "unknown", "sysfs"),
    Case("PSI", "ok", "of cpu io", {f"proc/pressure/{name}": PRESSURE for name in ("cpu", "io")}),
    Case("PSI", "missing", "off", mend="psi=1"),
    Case(
        "PSI", "missing", "off", {}, "psi=1", "interference.rules", Wants(psi="interference.rules")
    ),
    Case("PSI", "unknown", "cannot be read", {"proc/pressure/cpu": "some nonsense\n"}, "as root"),
    # ICMP
    Case("ping_group_range", "ok", "0 to 100", {RANGE: "0\t100\n", **status(gid=5)}),
    Case("ping_group_range", "ok", "0 to 0", {RANGE: "0 0", **status(gid=5, groups="4 0")}),
    Case(
        *("ping_group_range", "degraded", "closed; raw sockets"),
        {RANGE: "1\t0\n", **status(1 << CAP_NET_RAW, gid=5)},
        'ping_group_range="5 5"',
    ),
    Case(
        *("ping_group_range", "missing", "6 to 9 has none", {RANGE: "6 9", **status(gid=5)}),
        *("grant CAP_NET_RAW", "pingmesh.controller", Wants(ping="pingmesh.controller")),
    ),
    Case("ping_group_range", "missing", "closed", {RANGE: "1 0", **status()}, "CAP_NET_RAW"),
    Case("ping_group_range", "unknown", "cannot be read", status()),
    Case("ping_group_range", "unknown", "cannot be read", {RANGE: "0 1"}),
    Case("ping_group_range", "unknown", "ValueError", {RANGE: "a b", **status()}),
    # clock
    Case("clock", "ok", "at most 2 ms off; source tsc", {SOURCE: "tsc\n"}),
    Case("clock", "degraded", "slow", {SOURCE: "acpi_pm\n"}, "tsc"),
    Case(
        *("clock", "degraded", "not synchronised", {}, "chronyd"),
        answers=WELL._replace(clock=Clock(False, 16.0)),
    ),
    Case("clock", "unknown", "adjtimex", answers=WELL._replace(clock=None)),
    # state
    Case("state dir", "ok", "as configured", wants=Wants(state_dir=None)),
    Case("state dir", "ok", "/var/s, 1024 MiB free", wants=Wants(state_dir="/var/s")),
    Case(
        *("state dir", "ok", "/var/s will be made", {}, "", "", Wants(state_dir="/var/s")),
        WELL._replace(state=StateFolder(False, True, 1 << 30)),
    ),
    Case(
        *("state dir", "missing", "uid 1000", {}, "-o 1000 /var/s", "usage.state_dir"),
        Wants(state_dir="/var/s"),
        WELL._replace(uid=1000, state=StateFolder(True, False, 1 << 30)),
    ),
    Case(
        *("state dir", "degraded", "1 MiB free", {}, "make room", "", Wants(state_dir="/var/s")),
        WELL._replace(state=StateFolder(True, True, 1 << 20)),
    ),
    Case(
        *("state dir", "unknown", "free", {}, "", "", Wants(state_dir="/var/s")),
        WELL._replace(state=StateFolder(True, True, None)),
    ),
    Case(
        *("state dir", "unknown", "looked at", {}, "as root", "", Wants(state_dir="/var/s")),
        WELL._replace(state=None),
    ),
    # the Kubernetes API
    Case(
        *("Kubernetes API", "ok", "granted: pressure: get nodes"),
        answers=WELL._replace(api=[ApiAnswer("pressure: get nodes", "")]),
    ),
    Case(
        *("Kubernetes API", "missing", "HTTP 403", {}, "RBAC", "pressure: patch nodes"),
        answers=WELL._replace(
            api=[ApiAnswer("pressure: get", ""), ApiAnswer("pressure: patch nodes", "HTTP 403")]
        ),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.subject}: {case.says}")
def test_a_line_says_how_it_is_what_wants_it_and_the_mend(tmp_path: Path, case: Case) -> None:
    looked = machine(tmp_path, case.files, case.wants, case.answers)
    (line,) = (line for line in examine(looked) if line.subject == case.subject)
    assert (line.state, line.wanted_by) == (case.state, case.wanted_by)
    assert case.says in line.found
    assert case.mend in line.mend
    assert bool(line.mend) == bool(case.mend)


def test_every_line_of_the_table_is_tried_and_can_be_ok() -> None:
    tried = {(case.subject, case.state) for case in CASES}
    subjects = {check.subject for check in CHECKS}
    assert {subject for subject, _ in tried} == subjects
    assert {subject for subject, state in tried if state == "ok"} == subjects


def test_a_machine_that_tells_nothing_is_said_to_be_ok_nowhere(tmp_path: Path) -> None:
    """No file, no answer; what is left out of the configuration is no finding."""
    blind = Machine(
        machine(tmp_path, {}).host._replace(root=tmp_path / "none", sys=tmp_path / "none"),
        PROGRAMS._replace(lost_without_btf=None, state_dir="/var/s"),
        Answers(uid=1000, no_libbpf="cannot be loaded"),
    )
    (blind.host.proc / "sys/kernel/osrelease").unlink()
    lines = examine(blind)
    assert [line.subject for line in lines if line.state in ("ok", "degraded")] == []


def test_no_line_is_about_the_api_where_nothing_asks_it(tmp_path: Path) -> None:
    assert "Kubernetes API" not in {line.subject for line in examine(machine(tmp_path, {}))}


def test_a_check_that_breaks_says_unknown_and_hides_no_other(tmp_path: Path) -> None:
    def broken(_: Machine) -> Line:
        raise ZeroDivisionError("of all things")

    checks = (Check("odd", broken), *CHECKS)
    lines = examine(machine(tmp_path, KERNEL), checks)
    assert lines[0] == Line("odd", "unknown", "cannot be told: ZeroDivisionError: of all things")
    assert lines[1:] == examine(machine(tmp_path, KERNEL))
