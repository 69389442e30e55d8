"""Known vulnerabilities from a folder, for where no service that knows them can be asked.

The folder is a clone of PyPA's advisory-database (vulns/<name>/*.yaml) or what OSV exports of PyPI
(*.json): both are OSV's format, https://ossf.github.io/osv-schema/. Pure but for reading it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

Record = Mapping[str, Any]


class Known(NamedTuple):
    """`fixed` are versions without it, as far as that is said."""

    name: str
    version: str
    advisory: str
    aliases: tuple[str, ...]
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        also = f" ({', '.join(self.aliases)})" if self.aliases else ""
        mend = f"fixed in {', '.join(self.fixed)}" if self.fixed else "no version without it"
        return f"{self.name} {self.version}: {self.advisory}{also}: {mend}"


def known(folder: Path, pins: Sequence[tuple[str, str]]) -> list[Known]:
    """What of `pins` (name, version) is known to be vulnerable. Raises ValueError for a folder that
    is no such database."""
    wanted = {canonicalize_name(name): version for name, version in pins}
    found: list[Known] = []
    read = 0
    for record in _records(folder, list(wanted)):
        read += 1
        if record.get("withdrawn"):
            continue
        for affected in record.get("affected", ()):
            name = _name(affected)
            if name in wanted and affects(affected, wanted[name]):
                about = record["id"], tuple(record.get("aliases", ())), _fixed(affected)
                found.append(Known(name, wanted[name], *about))
    if not read and not (folder / "vulns").is_dir():
        raise ValueError(f"{folder}: no advisories, want vulns/<name>/*.yaml or *.json in it")
    return sorted(set(found))


def affects(affected: Record, version: str) -> bool:
    """OSV's rule: listed, or introduced <= version < fixed (or <= last_affected)."""
    if version in affected.get("versions", ()):
        return True
    return any(
        _within(each.get("events", ()), Version(version))
        for each in affected.get("ranges", ())
        if each.get("type") in ("ECOSYSTEM", "SEMVER")
    )


def _within(events: Sequence[Mapping[str, str]], version: Version) -> bool:
    inside = False
    for at, kind in sorted((_at(text), kind) for event in events for kind, text in event.items()):
        if kind == "introduced" and at <= version:
            inside = True
        elif (kind == "fixed" and at <= version) or (kind == "last_affected" and at < version):
            inside = False
    return inside


def _at(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:  # not a version of PyPI's: before all others, so that nothing is missed
        return Version("0.dev0")


def _fixed(affected: Record) -> tuple[str, ...]:
    ranges = [each for each in affected.get("ranges", ()) if each.get("type") != "GIT"]
    return tuple(e["fixed"] for each in ranges for e in each.get("events", ()) if "fixed" in e)


def _name(affected: Record) -> NormalizedName:
    package = affected.get("package", {})
    return canonicalize_name(package.get("name", "") if package.get("ecosystem") == "PyPI" else "")


def _records(folder: Path, names: Sequence[str]) -> Iterator[Record]:
    if (folder / "vulns").is_dir():
        yield from (
            yaml.safe_load(file.read_text())
            for name in names
            for file in sorted((folder / "vulns" / name).glob("*.yaml"))
        )
    else:
        yield from (json.loads(file.read_text()) for file in sorted(folder.glob("*.json")))
