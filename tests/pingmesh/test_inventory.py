"""Who is there: a file of nodes; what was said last stays while its source is away."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from exporter.errors import ConfigError, KernmeshError
from exporter.testing import FakeClock
from pingmesh.inventory import FileSource, Network, Roll, read_inventory
from pingmesh.topology import Member

A = Member("a", "z1", "r1", ("10.0.0.1", "fd00::1"))
B = Member("b", "", "", ("10.0.0.2",), "h")
TEXT = """\
nodes:
  a: {zone: z1, rack: r1, ips: [10.0.0.1, "fd00::1"]}
  b: {ips: [10.0.0.2], host: h}
"""


class Told:
    """A Source that says what the test puts in."""

    def __init__(self, name: str, *members: Member) -> None:
        self.name = name
        self.network: Network = "nodes"
        self.stale = ""
        self.left_out: Mapping[str, int] = {}
        self.members: Sequence[Member] | None = members
        self.error: KernmeshError | None = None

    def read(self) -> Sequence[Member] | None:
        if self.error is not None:
            raise self.error
        return self.members


def test_a_file_of_nodes_gives_members() -> None:
    assert read_inventory(TEXT.encode()) == [A, B]


def test_numbers_and_switches_are_names_as_they_are_written() -> None:
    found = read_inventory(b"nodes: {7: {zone: 1, rack: on, ips: ['::1']}}")
    assert found == [Member("7", "1", "on", ("::1",))]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "-:1: nodes: is missing"),
        ("nodes: {a: {}}", "-:1: nodes.a.ips: is missing"),
        ("nodes: {a: {ips: []}}", "-:1: nodes.a.ips: "),
        ("nodes: {a: {ips: [host-a]}}", '-:1: nodes.a.ips[0]: no IP address, got "host-a", want'),
        ("nodes: {a: {ips: ['::1', '::1']}}", 'nodes.a.ips[1]: is there twice, got "::1"'),
        (
            "nodes:\n  a: {ips: ['::1']}\n  b: {ips: ['::1']}",
            '-:3: nodes.b.ips[0]: is an address of a already, got "::1"',
        ),
        ("nodes: {a: {ips: ['::1'], racks: r}}", "did you mean rack?"),
        ("nodes: {a b: {ips: ['::1']}}", "want a node's name"),
        ("nodes: {../x: {ips: ['::1']}}", "want a node's name"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_inventory(text.encode())
    assert problem in str(raised.value)


def test_no_nodes_is_said_on_purpose() -> None:
    assert read_inventory(b"nodes: {}") == []


def test_a_file_is_read_again_only_when_it_is_another(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(TEXT)
    source = FileSource(path)
    assert source.read() == [A, B]
    assert source.read() is None
    (tmp_path / "new").write_text("nodes: {b: {ips: [10.0.0.2], host: h}}")
    (tmp_path / "new").rename(path)
    assert source.read() == [B]


def test_a_file_that_is_gone_or_broken_leaves_its_members_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(TEXT)
    clock = FakeClock()
    roll = Roll([FileSource(path)], clock)
    assert roll.look()
    path.unlink()
    clock.advance(60)
    assert not roll.look()
    assert roll.members() == [A, B]
    assert roll.problems == {"file": f"{path}: No such file or directory, want an inventory"}
    assert roll.ages() == {"file": 60}
    path.write_text("nodes:\n")
    assert not roll.look()
    assert f"{path}:1: nodes: " in roll.problems["file"]
    path.write_text(TEXT + "  c: {ips: ['::3']}\n")
    assert roll.look()
    assert roll.problems == {}
    assert [each.name for each in roll.members()] == ["a", "b", "c"]


def test_of_two_sources_the_first_s_word_on_a_name_counts() -> None:
    other = A._replace(rack="elsewhere")
    roll = Roll([Told("one", A), Told("two", other, B)], FakeClock())
    roll.look()
    assert roll.members() == [A, B]
    assert roll.doubles == {"nodes": ("a",)}
    assert roll.left_out() == {("all", "name in two sources"): 1}


def test_a_source_that_is_away_does_not_keep_another_from_being_read() -> None:
    one, two = Told("one", A), Told("two", B)
    roll = Roll([one, two], FakeClock())
    one.error = KernmeshError("no answer")
    assert roll.look()
    assert roll.members() == [B]
    one.error = None
    assert roll.look()
    assert roll.members() == [A, B]
    assert not roll.look()
