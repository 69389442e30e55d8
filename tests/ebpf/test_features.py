"""Reasons are read off the machine's own files; what they do not say is not claimed."""

import errno
from pathlib import Path

import pytest

from exporter.ebpf.features import lockdown, no_kernel_btf, no_tracepoint, refusal
from exporter.testing import fake_host

LOCKDOWN = "sys/kernel/security/lockdown"


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("none [integrity] confidentiality\n", "integrity"),
        ("[none] integrity confidentiality\n", "none"),
        ("none integrity [confidentiality]\n", "confidentiality"),
        ("", None),
    ],
)
def test_lockdown_is_the_mode_in_brackets(tmp_path: Path, text: str, mode: str | None) -> None:
    assert lockdown(fake_host(tmp_path, {LOCKDOWN: text})) == mode


def test_lockdown_is_unknown_where_securityfs_is_not_mounted(tmp_path: Path) -> None:
    assert lockdown(fake_host(tmp_path, {})) is None


def test_a_locked_down_kernel_is_named_as_the_reason(tmp_path: Path) -> None:
    host = fake_host(tmp_path, {LOCKDOWN: "none integrity [confidentiality]\n"})
    reason = refusal("kprobe/do_exit", errno.EPERM, host)
    assert reason == "the kernel is locked down (confidentiality) and permits no kprobe programs"


def test_a_refusal_without_known_lockdown_claims_no_more_than_it_knows(tmp_path: Path) -> None:
    reason = refusal("fentry/do_exit", errno.EPERM, fake_host(tmp_path, {}))
    assert reason == "the kernel does not permit fentry programs here (EPERM)"


@pytest.mark.parametrize("place", ["tracing", "debug/tracing"])
def test_a_tracepoint_that_is_not_there_is_named(tmp_path: Path, place: str) -> None:
    host = fake_host(tmp_path, {f"sys/kernel/{place}/events/timer/timer_start/id": "1"})
    assert no_tracepoint("timer", "timer_start", host) is None
    missing = no_tracepoint("timer", "timer_stop", host)
    assert missing == "this kernel has no tracepoint timer:timer_stop"


def test_a_kernel_without_kprobes_is_told_apart_from_one_without_the_function(
    tmp_path: Path,
) -> None:
    without = fake_host(tmp_path / "without", {})
    having = fake_host(tmp_path / "having", {"sys/bus/event_source/devices/kprobe/type": "6"})
    assert refusal("kprobe/no_such", errno.ENOENT, without) == (
        "this kernel has no kprobes (CONFIG_KPROBES)"
    )
    assert refusal("kprobe/no_such", errno.ENOENT, having) is None


def test_btf_is_looked_for_where_the_kernel_shows_it(tmp_path: Path) -> None:
    host = fake_host(tmp_path, {"sys/kernel/btf/vmlinux": b"\x9f\xeb"})
    assert no_kernel_btf(host) is None
    reason = no_kernel_btf(fake_host(tmp_path / "none", {}))
    assert reason is not None
    assert "carries no BTF" in reason
