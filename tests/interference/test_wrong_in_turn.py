"""A rules file in which each value is wrong in turn: told in lines that name the file, or taken."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from exporter.errors import ConfigError
from exporter.interference.rules import read_rules
from tests.interference.facts import FACTS

GOOD = json.loads((Path(__file__).parent / "valid" / "caelus.json").read_text())
WRONG: tuple[Any, ...] = (None, -7, "x", {}, [], True, 1e300, "\u0000é\n", [["x"]])


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def with_wrong(path: tuple[Any, ...], wrong: Any) -> Any:
    value = deepcopy(GOOD)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = wrong
    return value


def test_each_value_wrong_in_turn_is_told_in_lines_or_taken(tmp_path: Path) -> None:
    taken = told = 0
    for index, path in enumerate(places(GOOD)):
        # by turns as rules.json and as YAML, which JSON is too, and with two of the values each
        file = tmp_path / ("rules.json" if index % 2 else "rules.yaml")
        for wrong in (WRONG[index % len(WRONG)], WRONG[(index // 2 + 3) % len(WRONG)]):
            file.write_text(json.dumps(with_wrong(path, wrong), indent=1))
            try:
                rules = read_rules(file, FACTS)
            except ConfigError as error:
                told += 1
                for line in str(error).split("\n"):
                    assert line.startswith(str(file))
                    assert line.isprintable()
            else:
                taken += 1
                assert all("\n" not in warning for warning in rules.set.warnings)
    assert told > 200
    assert taken > 20
