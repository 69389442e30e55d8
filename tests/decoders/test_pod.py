"""The decoder pod: one field of what a cgroup's path says (paths: tests/host/test_kubepods.py)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.decoders import DecodeContext, Provisional, chain, order_problem
from exporter.decoders.pod import Pod, PodField
from exporter.ebpf.labelspec import DecoderSpec, LabelSpec
from exporter.testing import FakeClock, fake_host

UID = "0c9f1b2e-6f3a-4d1e-9d7c-1f2e3d4c5b6a"
ID = "3f" * 32
PATH = f"/sys/fs/cgroup/cpu/kubepods/offline/besteffort/pod{UID}/{ID}"


@pytest.mark.parametrize(
    ("field", "path", "want"),
    [
        ("uid", PATH, UID),
        ("container", PATH, ID),
        ("qos", PATH, "besteffort"),
        ("class", PATH, "offline"),
        ("class", "/sys/fs/cgroup/system.slice", "system"),
        ("class", "unknown_cgroup_id:77", "unknown"),
        ("uid", "unknown_cgroup_id:77", ""),
    ],
)
def test_a_field_of_what_the_path_says(field: PodField, path: str, want: str) -> None:
    assert Pod(field).rewrite(path) == want


@given(st.text())
def test_no_path_breaks_it(path: str) -> None:
    kinds = {"guaranteed", "burstable", "besteffort", "offline", "system", "unknown"}
    assert Pod("class").rewrite(path) in kinds


def test_it_follows_a_decoder_that_gives_a_path() -> None:
    assert order_problem(["uint", "cgroup", "pod"]) is None
    assert order_problem(["cgroup", "pod"]) is None
    assert order_problem(["cgroup", "regexp", "pod"]) is None
    assert str(order_problem(["pod"])).startswith("pod cannot be first")


def test_the_class_of_a_cgroup_that_is_not_known_yet_is_asked_for_again(tmp_path: Path) -> None:
    mountinfo = "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    fs = fake_host(tmp_path, {"proc/1/mountinfo": mountinfo})
    clock = FakeClock()
    decoders = (DecoderSpec("uint"), DecoderSpec("cgroup"), DecoderSpec("pod", field="class"))
    decode = chain(LabelSpec("class", 8, 0, decoders), DecodeContext.of(fs, clock))
    pod = fs.cgroup / f"kubepods/burstable/pod{UID}"
    pod.mkdir(parents=True)
    known = pod.stat().st_ino.to_bytes(8, "little")
    assert decode(known) == "burstable"
    late = decode((1 << 40).to_bytes(8, "little"))
    assert (late, type(late)) == ("unknown", Provisional)
