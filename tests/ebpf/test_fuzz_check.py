"""Whatever the bytes of a program's two files, check says problems and never falls over.

Through the function that `kernmesh check` calls, with files as a user has them: a real YAML and a
real object, both spoiled a little, much, or replaced altogether.
"""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.config import Ebpf
from exporter.ebpf.objectfile import shipped_folder
from exporter.ebpf.selection import check_all

PROGRAMS = ("timers", "biolatency", "tcp-retransmit", "softirq-latency")
PIECES = (
    *(b"[", b"]", b"{", b"}", b"- ", b": ", b"\n", b"  ", b"*kind", b"&kind ", b"!!int ", b"? "),
    *(b"| ", b"'", b'"', b"%", b"\0", b"\xff\xfe", b"\xc3", b"~", b"null", b"true", b"0x7f", b"-1"),
    *(b"1e999", b".nan", b"18446744073709551616", b"name", b"size", b"labels", b"field: a.b\n"),
    *(b"decoders", b"bucket_max: 64\n", b"bucket_type: fixed\n", b"max_series: 1\n", b"map: maps"),
    *(b"evict_after: 1h\n", b"perf_event_array: true\n", b"value: sum\n", b"cpu", b"bucket", b"#"),
    *(b"kaddrs: [jiffies]\n", b"tracing: {spans: [{ringbuf: x}]}\n", b"attach: [{function: x}]\n"),
    *(b"cgroup_id_map: {name: x, regexps: ['(']}\n", b"constants: {a: 1}\n", b"[" * 200),
)


@st.composite
def spoiled(draw: st.DrawFn, data: bytes, pieces: st.SearchStrategy[bytes]) -> bytes:
    """Some places of it replaced by pieces, of the same length or not, and perhaps cut off."""
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        gone = draw(st.integers(0, 8))
        data = data[:start] + draw(pieces) + data[start + gone :]
    if draw(st.booleans()):
        data = data[: draw(st.integers(0, len(data)))]
    return data


def yamls(data: bytes) -> st.SearchStrategy[bytes]:
    return spoiled(data, st.sampled_from(PIECES) | st.binary(max_size=4)) | st.binary(max_size=60)


def objects(data: bytes) -> st.SearchStrategy[bytes]:
    """Mostly of the same length: else nothing of it is where its headers say."""
    same = st.builds(
        lambda at, value: data[:at] + value + data[at + len(value) :],
        st.integers(0, len(data) - 8),
        st.sampled_from((b"\0", b"\xff", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80", bytes(8)))
        | st.binary(min_size=1, max_size=8),
    )
    return same | spoiled(data, st.binary(min_size=1, max_size=8)) | st.just(data)


@pytest.fixture(scope="module")
def shipped() -> Path:
    folder = shipped_folder()
    subprocess.run(["make", "-s", "-C", folder], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", PROGRAMS)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_any_yaml_beside_any_object_gives_problems_or_none(
    shipped: Path, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    yaml, obj = (shipped / f"{name}.{end}" for end in ("yaml", "bpf.o"))
    (tmp_path / "x.yaml").write_bytes(data.draw(yamls(yaml.read_bytes())))
    (tmp_path / "x.bpf.o").write_bytes(data.draw(objects(obj.read_bytes())))
    problems = check_all(Ebpf(programs=("x",), dirs=(str(tmp_path),)))
    for problem in problems:
        said = str(problem)
        assert said.startswith(f"{tmp_path}/x.")
        assert said.isprintable()
        assert problem.line >= 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_unspoiled_there_are_none(shipped: Path, tmp_path: Path, name: str) -> None:
    for end in ("yaml", "bpf.o"):
        (tmp_path / f"x.{end}").write_bytes((shipped / f"{name}.{end}").read_bytes())
    assert check_all(Ebpf(programs=("x",), dirs=(str(tmp_path),))) == []
