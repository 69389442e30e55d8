"""What one function has shown of the machine holds for the others of its kind, and no further."""

import errno
from pathlib import Path

import pytest

from exporter.ebpf.refusals import Refusals
from exporter.testing import fake_host

KPROBES = "sys/bus/event_source/devices/kprobe/type"
TRACEFS = "sys/kernel/tracing/events/timer/timer_start/id"


@pytest.mark.parametrize(
    ("section", "number", "others"),
    [
        ("fentry/do_exit", errno.EPERM, ["fentry/shrink_node", "fentry.s/shrink_node"]),
        ("kprobe/do_exit", errno.ENOENT, ["kprobe/shrink_node"]),
        ("tracepoint/timer/timer_start", errno.ENOENT, ["tracepoint/irq/softirq_raise"]),
    ],
)
def test_what_the_machine_lacks_is_tried_once(
    tmp_path: Path, section: str, number: int, others: list[str]
) -> None:
    known = Refusals()
    known.learn(section, number, fake_host(tmp_path, {}))
    assert [known.reason(other) is not None for other in others] == [True] * len(others)
    assert known.reason("tp_btf/timer_start") is None


@pytest.mark.parametrize(
    ("section", "number"),
    [
        ("kprobe/no_such", errno.ENOENT),
        ("tracepoint/timer/no_such", errno.ENOENT),
        ("fentry/no_such", errno.EINVAL),
        ("tp_btf/timer_start", errno.EPERM),
        ("raw_tp/no_such", errno.ENOENT),
    ],
)
def test_what_is_wrong_with_one_function_is_no_reason_against_others(
    tmp_path: Path, section: str, number: int
) -> None:
    known = Refusals()
    known.learn(section, number, fake_host(tmp_path, {KPROBES: "6", TRACEFS: "1"}))
    assert known.reason(section) is None
