"""One target under atheris: libFuzzer's coverage-guided search, in this process, until its time is
over. Run by __main__, which restarts it where an input ends the process.

The rule: a crash is written down once per place and the search goes on; only what kills the
interpreter, hangs, or eats memory ends it.
"""

import hashlib
import logging
import sys
import traceback
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.target import LONGEST_SECONDS, Target, place

RSS_MIB = 1500


def main(name: str, seconds: int, folder: Path) -> None:
    """Does not return: libFuzzer ends the process."""
    import atheris

    logging.disable()  # a thousand lines a second that nobody reads

    # For good, since the product imports some of its modules only when it needs them.
    atheris.instrument_imports(include=["exporter", "pingmesh"]).__enter__()
    from tests.fuzz.targets import load

    target = load(name)
    seen = {path.stem for path in (folder / "crashes").glob("*.txt")}

    def once(data: bytes) -> None:
        try:
            target.run(data)
        except (Exception, SystemExit) as error:
            keep(folder / "crashes", data, error, seen)

    def mutate(data: bytes, most: int, seed: int) -> Any:
        chance = Random(seed)
        if chance.randrange(3) == 0:
            return atheris.Mutate(data, most)
        return target.spoil(data, chance)[:most]

    options = {
        "max_total_time": seconds,
        "max_len": most_bytes(target),
        "timeout": LONGEST_SECONDS,
        "rss_limit_mb": RSS_MIB,
        "artifact_prefix": f"{folder}/crashes/",
        "print_final_stats": 1,
        "verbosity": 1,
    }
    flags = [f"-{key}={value}" for key, value in options.items()]
    atheris.Setup(
        [sys.argv[0], *flags, str(folder / "corpus"), str(folder / "seeds")],
        once,
        custom_mutator=mutate,
        internal_libfuzzer=True,
    )
    atheris.Fuzz()


def most_bytes(target: Target) -> int:
    return max(target.most_bytes, *(len(seed) for seed in target.seeds()))


def keep(folder: Path, data: bytes, error: BaseException, seen: set[str]) -> None:
    """The first input of each place, and what it did there."""
    where = place(error)
    name = hashlib.sha256(where.encode()).hexdigest()[:12]
    if name in seen:
        return
    seen.add(name)
    text = "".join(traceback.format_exception(error))
    (folder / f"{name}.bin").write_bytes(data)
    (folder / f"{name}.txt").write_text(f"{where}\n{data[:400]!r}\n{text}")
    print(f"CRASH {name}: {where}: {error!s:.200}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
