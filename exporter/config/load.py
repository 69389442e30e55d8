"""The one way in: a file or bytes to a struct, or a ConfigError with everything that is wrong.

pingmesh reads its files through this too.
"""

from pathlib import Path
from typing import Literal, TypeVar

from exporter.config.convert import convert, find_line
from exporter.config.source import read_source
from exporter.config.tree import DEFAULT_LIMITS, Limits, parse_yaml
from exporter.config.wording import read_path
from exporter.errors import ConfigError

T = TypeVar("T")


def load_yaml(
    source: Path | bytes,
    type_: type[T],
    *,
    file: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    unknown: Literal["error", "ignore"] = "error",
    nulls: Literal["error", "default"] = "error",
) -> T:
    """Reads a path, or bytes that came from elsewhere, as `type_`: a frozen struct.

    `file` is the name in messages; without it the path as given. For files of other programs'
    users, `unknown="ignore"` passes over keys that the struct does not have, and
    `nulls="default"` takes a key without a value for an absent one.
    Structs with a `faults()` method state their own rules across fields (see Fault).
    Raises ConfigError with all problems, in file order."""
    if isinstance(source, Path):
        data = read_source(source, limits.bytes)
        file = str(source) if file is None else file
    else:
        data = source
        file = "-" if file is None else file
    tree = parse_yaml(data, file, limits)
    result = convert(tree, type_, file, unknown, nulls)
    if result.problems:
        raise ConfigError(result.problems)
    value: T = result.value
    return value


def line_of(file: Path, path: str) -> int:
    """The line of a key path ("ebpf.dirs[1]") in a YAML file, or of the nearest key above it that
    is there; 0 where the file cannot be read. For those who find problems later, in values."""
    try:
        tree = parse_yaml(read_source(file, DEFAULT_LIMITS.bytes), str(file))
    except ConfigError:
        return 0
    return find_line(tree, read_path(path))[0] if tree else 0
