"""Files: size and kind before anything is parsed; and nothing but ConfigError comes of them."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from exporter.config import AgentConfig, Limits, line_of, load_agent, load_yaml
from exporter.ebpf.spec import ProgramSpec
from exporter.errors import ConfigError

WORDS = [
    "metrics",
    "counters",
    "histograms",
    "name",
    "labels",
    "size",
    "bucket_max",
    "server",
    "listen",
]
WORDS += [
    "ebpf",
    "programs",
    "usage",
    "interval",
    "pressure",
    "levels",
    "cpu",
    "hooks",
    "any_of",
    "<<",
]
LINES = st.lists(
    st.tuples(
        st.sampled_from(["", "  ", "    ", "- ", "  - ", "      "]),
        st.sampled_from(WORDS) | st.text("ab0", max_size=2),
        st.sampled_from([": ", ":", " ", ": [", ": {", ": &a ", ": *a", "]", "}", ": !x "]),
        st.sampled_from(["", "~", "0", "-1", "10s", "on", "'x'", "[]", "{}", "1e400", ":80"]),
    ).map("".join),
    max_size=8,
).map(lambda lines: "\n".join(lines).encode())


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_agent(path, {})
    return str(caught.value)


def test_a_gigabyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    with path.open("wb") as stream:
        stream.truncate(1 << 30)
    assert refused(path) == f"{path}: too big, got 1024 MiB, want at most 16 MiB"


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    assert refused(path) == f"{path}: cannot be read: No such file or directory"


def test_a_folder_is_one_line(tmp_path: Path) -> None:
    assert refused(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


def test_a_pipe_that_nobody_writes_to_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    os.mkfifo(path)
    assert refused(path) == f"{path}: is no regular file (a pipe, socket or device)"


def test_a_device_is_not_drained() -> None:
    assert refused(Path("/dev/zero")) == (
        "/dev/zero: is no regular file (a pipe, socket or device)"
    )


def test_a_name_that_no_file_can_have_is_one_line() -> None:
    assert "cannot be read: embedded null" in refused(Path("a\0b"))


def test_a_link_is_followed_as_config_maps_need(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("ebpf: {max_series: 5}\n")
    link = tmp_path / "agent.yaml"
    link.symlink_to("data")
    assert load_agent(link, {}).ebpf.max_series == 5


def test_a_file_without_a_size_is_read_up_to_the_limit() -> None:
    with pytest.raises(
        ConfigError, match="/proc/self/maps: too big, got 11 bytes, want at most 10"
    ):
        load_yaml(Path("/proc/self/maps"), AgentConfig, limits=Limits(bytes=10))


def test_bytes_are_named_by_the_caller() -> None:
    with pytest.raises(ConfigError, match=r"^http://controller/pinglist/a:1: x: unknown key"):
        load_yaml(b"x: 1", AgentConfig, file="http://controller/pinglist/a")


def test_ten_thousand_short_entries_are_within_the_default_limits() -> None:
    class Targets(Struct, frozen=True):
        ips: tuple[str, ...]

    data = b"ips:\n" + b"".join(b"- 10.0.%d.%d\n" % divmod(n, 256) for n in range(10_000))
    assert load_yaml(data, Targets).ips[9_999] == "10.0.39.15"


@pytest.mark.parametrize(
    ("path", "line"),
    [("a.b[1].c", 5), ("a.b[0]", 3), ("a.b[7].c", 2), ("a", 1), ("", 1), ("z", 1), ('a["x/y"]', 6)],
)
def test_the_line_of_a_key_path_is_its_own_or_the_nearest_above(
    tmp_path: Path, path: str, line: int
) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("a:\n  b:\n    - x\n    - d: 1\n      c: 2\n  x/y: 3\n")
    assert line_of(file, path) == line


def test_the_line_in_a_file_that_cannot_be_read_is_0(tmp_path: Path) -> None:
    assert line_of(tmp_path / "f.yaml", "a") == 0


@settings(deadline=None, max_examples=500)
@given(LINES | st.binary(max_size=60))
def test_any_bytes_give_a_configuration_or_problems(data: bytes) -> None:
    for type_ in (AgentConfig, ProgramSpec):
        for nulls in ("error", "default"):
            try:
                value = load_yaml(data, type_, file="f", nulls=nulls)
            except ConfigError as error:
                assert error.problems
                assert all("\n" not in str(problem) for problem in error.problems)
            else:
                assert isinstance(value, type_)
