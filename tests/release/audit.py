"""`python -m tests.release.audit BIN [--advisories DIR]`: what is known against the locked packages
(pip-audit) and against our own code (bandit); BIN is where these two are.

Exit code 1 where something was found, 2 where nobody could be asked: that is not "nothing known".
What bandit finds is excused where it stands: `# noqa: S603 # why` is read for bandit's B603 too, as
ruff's S rules are bandit's, by the same numbers.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.release.advisories import known
from tests.release.wheel import ROOT

LOCKS = ("run", "dev", "audit")
OURS = ("exporter", "pingmesh", "hatch_build.py")
_PIN = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
_EXCUSE = re.compile(r"# noqa: ([A-Z0-9, ]+?) # \S")


def pins(lock: Path) -> list[tuple[str, str]]:
    return _PIN.findall(lock.read_text())


def excused(finding: Mapping[str, Any], lines: Sequence[str]) -> bool:
    """Of a finding in bandit's JSON; `lines` are its file's."""
    rule = finding["test_id"].replace("B", "S", 1)
    said = [_EXCUSE.search(lines[number - 1]) for number in finding["line_range"]]
    return any(rule in re.split(r"[, ]+", each[1]) for each in said if each)


def own_code(bin_folder: Path) -> int:
    """Exit code. Which rules are not asked, and why, stands in pyproject.toml."""
    command: list[str | Path]
    command = [bin_folder / "bandit", "-q", "-c", "pyproject.toml", "-f", "json", "-r", *OURS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = json.loads(done.stdout)
    if said["errors"]:
        print(f"bandit could not read all: {said['errors']}")
        return 1
    rest, excuses = [], 0
    for finding in said["results"]:
        if excused(finding, (ROOT / finding["filename"]).read_text().splitlines()):
            excuses += 1
        else:
            rest.append(finding)
    for each in rest:
        where = f"{each['filename']}:{each['line_number']}"
        print(f"{where}: {each['test_id']} {each['issue_text']}")
    lines = said["metrics"]["_totals"]["loc"]
    print(f"bandit: {lines} lines, {len(rest)} findings, {excuses} excused where they stand")
    return int(bool(rest))


def asked(bin_folder: Path, lock: Path) -> list[str] | None:
    """Vulnerabilities by pip-audit's service; None where it knows nothing of some package."""
    command: list[str | Path]
    command = [bin_folder / "pip-audit", "-f", "json", "--progress-spinner", "off"]
    command += ["--disable-pip", "--require-hashes", "-r", lock]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if not done.stdout:
        return None
    packages = json.loads(done.stdout)["dependencies"]
    if any("skip_reason" in each for each in packages):
        return None
    return [
        f"{each['name']} {each['version']}: {v['id']}: fixed in {', '.join(v['fix_versions'])}"
        for each in packages
        for v in each["vulns"]
    ]


def locks(bin_folder: Path, advisories: Path | None) -> int:
    """Exit code."""
    worst = 0
    for name in LOCKS:
        lock = ROOT / "requirements" / f"{name}.lock"
        if advisories is not None:
            found: list[str] | None = [str(each) for each in known(advisories, pins(lock))]
        else:
            found = asked(bin_folder, lock)
        if found is None:
            print(
                f"{lock.name}: NOT AUDITED: the service that pip-audit asks does not answer for "
                "these packages here: run this where it does, or with ADVISORIES=DIR, a clone of "
                "PyPA's advisory-database"
            )
            worst = max(worst, 2)
            continue
        print("".join(f"{lock.name}: {line}\n" for line in found), end="")
        print(f"{lock.name}: {len(pins(lock))} packages, {len(found)} known vulnerabilities")
        worst = 1 if found else worst
    return worst


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("bin", type=Path)
    parser.add_argument("--advisories", type=Path)
    given = parser.parse_args()
    code = own_code(given.bin)
    return locks(given.bin, given.advisories) or code


if __name__ == "__main__":
    sys.exit(main())
