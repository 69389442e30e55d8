"""The table of docs/reliability.md: how long each target ran, how far it came, and what was found.

The rule: what .cache/fuzz has not is said to have not run; nothing is rounded up.
"""

from collections import Counter

from benchmarks.pages import put_between
from benchmarks.tables import Table, markdown
from tests.fuzz import running
from tests.fuzz.found import FOUND
from tests.fuzz.running import Result
from tests.fuzz.target import ROOT, Target
from tests.fuzz.targets import NAMES, load

PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- fuzz: begin -->", "<!-- fuzz: end -->"
_HEAD = ("target", "what is parsed", "seconds", "inputs", "edges", "features", "found")


def section() -> str:
    """What stands between the marks. Replays what crashed once, so it says what is mended now."""
    results = {name: running.read(name) for name in NAMES}
    counts = Counter(found.target for found in FOUND)
    rows = tuple(_row(load(name), results[name], counts[name]) for name in NAMES)
    table = markdown(Table("What ran", _HEAD, rows), 3)
    left = running.replay_all()
    state = (
        "What crashed once was run again when this was written: "
        + (f"{len(left)} inputs still do, see below." if left else "nothing of it does any more.")
    )  # fmt: skip
    found = "\n".join(
        f"- `{each.target}`: {each.what} (`{each.test.rpartition('::')[2]}`)" for each in FOUND
    )
    still = "".join(f"\n- `{line}`" for line in left)
    return (
        f"{table}\n{state}{still}\n\n### What was found, and mended\n\n"
        "By the fuzzer, or by reading what stands beside what it had found. In brackets the test "
        f"that holds it since.\n\n{found}\n"
    )


def _row(target: Target, result: Result, found: int) -> tuple[str, ...]:
    numbers = (
        "not run" if number is None else f"{number:,}"
        for number in (result.seconds, result.executions, result.edges, result.features)
    )
    return (f"`{target.name}`", target.what, *numbers, str(found))


def write() -> None:
    PAGE.write_text(put_between(PAGE.read_text(), BEGIN, END, section()))
