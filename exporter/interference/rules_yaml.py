"""Our own rules files: the structure of rules.json in YAML, and what that lacks.

The rule: strict. Whatever cannot be meant is an error, all of them at once.
"""

from pathlib import Path

from exporter.config.convert import convert
from exporter.config.source import read_source
from exporter.config.tree import Limits, parse_yaml
from exporter.errors import ConfigError
from exporter.interference.rules import Parsed
from exporter.interference.rules_file import RulesFile

LIMITS = Limits(bytes=4 << 20)


def parse_rules_yaml(path: Path) -> Parsed:
    """Raises ConfigError with all that is wrong with its form."""
    file = str(path)
    tree = parse_yaml(read_source(path, LIMITS.bytes), file, LIMITS)
    result = convert(tree, RulesFile, file)
    if result.problems:
        raise ConfigError(result.problems)
    return Parsed(file, tree, result.value, strict=True)
