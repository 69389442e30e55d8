"""What a soak makes of scrapes, logs and values; and that what it configures is valid."""

from pathlib import Path

import pytest

from benchmarks.soak.afterwards import changed, files_left, told
from benchmarks.soak.agents import CONFIG, sums
from benchmarks.soak.faults import BAD_RULES, CALM, inventory, rules
from benchmarks.soak.figures import Span
from benchmarks.soak.page import BEGIN, END, within
from benchmarks.soak.report import Answered
from benchmarks.soak.scraping import Scrape
from exporter.config import load_agent
from exporter.errors import ConfigError
from exporter.interference.node_facts import NodeFacts
from exporter.interference.rules import read_rules
from pingmesh.inventory import read_inventory

SERVED = [Span(10.0, 20.0), Span(25.0, float("inf"))]


@pytest.mark.parametrize(
    ("begin", "end", "why", "counts"),
    [
        (11.0, 11.2, "", (1, 0, 0, 0)),
        (11.0, 12.0, "timeout", (0, 1, 0, 0)),
        (19.9, 20.1, "ConnectionResetError", (0, 0, 1, 0)),
        (19.9, 20.1, "", (1, 0, 0, 0)),
        (22.0, 22.1, "ConnectionRefusedError", (0, 0, 0, 1)),
        (24.9, 25.2, "", (0, 0, 0, 1)),
        (99.0, 109.0, "timeout", (0, 1, 0, 0)),
    ],
)
def test_a_scrape_counts_where_it_began_while_ready_and_no_kill_cut_it(
    begin: float, end: float, why: str, counts: tuple[int, int, int, int]
) -> None:
    found = Answered([Scrape("steady", begin, end, 1, why)], SERVED)
    assert (len(found.well), len(found.failed), found.cut, found.outside) == counts


def test_lines_that_are_alike_but_for_numbers_are_one() -> None:
    log = (
        'ts=1 level=warn msg="tick 1 took 2.5 s"\nts=2 level=warn msg="tick 2 took 0.5 s"\n'
        "ts=3 level=info msg=reloaded\nkernmesh 0.1 on vm\n"
        "Traceback (most recent call last):\nValueError: 3\n"
    )
    assert [(each.level, each.shape, each.times) for each in told([log])] == [
        ("warn", "tick # took # s", 2),
        ("traceback", "Traceback (most recent call last):", 1),
        ("exception", "ValueError: #", 1),
    ]


def test_what_has_changed_is_said_with_both_values() -> None:
    assert changed({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "9"}) == [
        "b: '9', was '2'",
        "c: None, was '3'",
    ]


def test_files_that_are_begun_and_not_done_are_found(tmp_path: Path) -> None:
    state, temporary = tmp_path / "state", tmp_path / "steady.tmp"
    for folder, name in ((state, "slow.usage"), (state, "idle.new"), (temporary, "x")):
        folder.mkdir(exist_ok=True)
        (folder / name).touch()
    assert files_left([state, temporary]) == [str(state / "idle.new"), str(temporary / "x")]


def test_samples_are_summed_by_name_and_result() -> None:
    lines = ["# HELP a b", "a 1", 'b{x="1"} 2', 'b{x="2"} 3', 'c{action="x",result="done"} 4']
    assert sums(lines) == {"a": 1.0, "b": 5.0, "c done": 4.0}


@pytest.mark.parametrize("page", ["# R\n", f"# R\n\n{BEGIN}\nold\n{END}\n\nbehind\n"])
def test_a_page_has_the_newest_between_the_markers_and_all_else_as_it_was(page: str) -> None:
    once = within(page, "new")
    assert "old" not in once
    assert once.startswith("# R\n")
    assert ("behind" in once) is ("behind" in page)
    assert f"{BEGIN}\n\nnew\n\n{END}" in once
    assert within(once, "new") == once


@pytest.mark.parametrize("turn", range(4))
def test_rules_are_valid_but_the_one_that_is_not(turn: int, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(rules(turn))
    if rules(turn) == BAD_RULES:
        with pytest.raises(ConfigError):
            read_rules(file, NodeFacts.of(2.0, 4 * 2.0**30))
    else:
        read_rules(file, NodeFacts.of(2.0, 4 * 2.0**30))
    file.write_text(CALM)
    read_rules(file, NodeFacts.of(2.0, 4 * 2.0**30))


@pytest.mark.parametrize("turn", range(3))
def test_inventories_are_valid_and_have_the_agents(turn: int, tmp_path: Path) -> None:
    file = tmp_path / "inventory.yaml"
    file.write_text(inventory(turn, ["steady", "killed"]))
    names = {member.name for member in read_inventory(file)}
    assert {"soak-steady", "soak-killed"} < names


def test_the_agents_are_configured_validly(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    words = ("state", "offline", "controller", "responder", "rules", "name", "kubeconfig")
    values = dict.fromkeys(words, "x") | {"controller": "http://127.0.0.1:1", "responder": "true"}
    file.write_text(CONFIG.format(**values))
    assert load_agent(file).pressure.enabled
