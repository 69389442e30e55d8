"""Caelus' rules.json, unmodified: read as Go reads it, by a JSON parser that keeps lines.

The rule: what Caelus passed over (keys that it does not know, null for an empty list) costs a
warning at most. What the rules mean is rules_build's.
"""

from pathlib import Path

from exporter.config.convert import convert
from exporter.config.source import read_source
from exporter.config.tree import Limits
from exporter.errors import ConfigError
from exporter.interference.json_nodes import parse_json
from exporter.interference.rules import Parsed
from exporter.interference.rules_file import RulesFile

LIMITS = Limits(bytes=4 << 20)
_UNKNOWN = "unknown key"


def parse_rules_json(path: Path) -> Parsed:
    """Raises ConfigError with all that is wrong."""
    file = str(path)
    tree = parse_json(read_source(path, LIMITS.bytes), file, LIMITS)
    result = convert(tree, RulesFile, file, nulls="default")
    unknown = [problem for problem in result.problems if problem.text.startswith(_UNKNOWN)]
    if len(unknown) < len(result.problems):
        raise ConfigError([problem for problem in result.problems if problem not in unknown])
    warnings = tuple(
        problem._replace(text=f"{problem.text.split(', want')[0]}, passed over")
        for problem in unknown
    )
    value = result.value
    if unknown:
        value = convert(tree, RulesFile, file, unknown="ignore", nulls="default").value
    return Parsed(file, tree, value, strict=False, warnings=warnings)
