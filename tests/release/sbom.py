"""What a release is made of: CycloneDX 1.5 and a list of licences, out of the lock.

Versions and hashes are the lock's; licences are what the installed packages say of themselves.
"""

import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, NamedTuple

from hatch_build import ROOT, describe

LOCK = ROOT / "requirements" / "run.lock"
_PIN = re.compile(r"^([a-z0-9._-]+)==([^ \\]+)((?:.*\n)(?:[ #].*\n)*)", re.MULTILINE)
# Of Debian, in the image and on hosts: by name, as their versions are the system's.
SYSTEM = {"libbpf1": "LGPL-2.1-only OR BSD-2-Clause", "python3": "PSF-2.0"}


class Package(NamedTuple):
    """`licence` "" where it says none; `needed_by` as the lock has it."""

    name: str
    version: str
    hashes: tuple[str, ...]
    licence: str
    needed_by: str


def locked(text: str) -> Iterator[Package]:
    for name, version, rest in _PIN.findall(text):
        hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", rest))
        via = " ".join(line.strip(" #") for line in rest.splitlines() if line.startswith("    #"))
        yield Package(name, version, hashes, licence_of(name), via.removeprefix("via").strip())


def licence_of(name: str) -> str:
    """SPDX where the package says that, else its classifiers' words."""
    try:
        said = metadata(name)
    except PackageNotFoundError:
        return ""
    if spdx := said.get_all("License-Expression"):
        return str(spdx[0])
    classified = [
        line.rpartition(" :: ")[2]
        for line in said.get_all("Classifier") or []
        if line.startswith("License :: ")
    ]
    words = "\n".join(said.get_all("License") or []).strip().splitlines()
    return ", ".join(classified) or (words[0] if words else "")


def cyclonedx(packages: list[Package], version: str) -> dict[str, Any]:
    """The same bytes for the same lock: no serial number, no time."""
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{p.name}@{p.version}",
            "name": p.name,
            "version": p.version,
            "purl": f"pkg:pypi/{p.name}@{p.version}",
            "hashes": [{"alg": "SHA-256", "content": h} for h in p.hashes],
            "licenses": [{"license": {"name": p.licence}}] if p.licence else [],
        }
        for p in packages
    ]
    components += [
        {
            "type": "library",
            "bom-ref": f"pkg:deb/debian/{name}",
            "name": name,
            "purl": f"pkg:deb/debian/{name}",
            "licenses": [{"expression": licence}],
        }
        for name, licence in SYSTEM.items()
    ]
    whole = {"type": "application", "bom-ref": "kernmesh", "name": "kernmesh", "version": version}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": whole},
        "components": components,
    }


def write(folder: Path) -> list[str]:
    """Both files; the lines of the list of licences."""
    packages = list(locked(LOCK.read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    bom = cyclonedx(packages, describe().version)
    (folder / "kernmesh.cdx.json").write_text(json.dumps(bom, indent=2) + "\n")
    lines = [f"{p.name} {p.version}: {p.licence or 'says none'}" for p in packages]
    (folder / "licences.txt").write_text("\n".join(lines) + "\n")
    return lines


if __name__ == "__main__":
    print("\n".join(write(Path(sys.argv[1]))))
