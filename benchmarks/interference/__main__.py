"""`python -m benchmarks interference`: record what is missing, replay, score; tables as Markdown.

    record     live, slow: each seed that has no recording yet (.cache/experiment/<name>)
    remedies   live, slow: which action helps against which antagonist
    evaluate   fast: the tables of what is recorded
    show       fast: each event of these seeds with its truth, and every method's alarms
    all        these three (the default)

Recording wants a quiet machine; what is recorded may be evaluated as often as rules change
(--rules FILE tries others on it).
"""

import argparse
import logging
import os
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.interference import remedies
from benchmarks.interference.goals import goals_table
from benchmarks.interference.methods import DEFAULT_RULES, Basis
from benchmarks.interference.recording import folder_of, record_seed
from benchmarks.interference.replaying import Recording, load
from benchmarks.interference.report import (
    BEGIN,
    END,
    Judged,
    caption,
    judge,
    kinds_table,
    methods_table,
    negatives_table,
    remedies_table,
    timeline,
)
from benchmarks.pages import put_between
from benchmarks.tables import Table, markdown
from exporter.interference.node_facts import NodeFacts

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "interference.md"
PAGE = os.sysconf("SC_PAGE_SIZE")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks interference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", nargs="?", default="all", choices=("all", "record", "remedies", "evaluate", "show")
    )
    parser.add_argument("--name", default="quiet", help="of this set of recordings")
    parser.add_argument("--seeds", type=numbers, default=numbers("6-10"), help="reported (6-10)")
    parser.add_argument("--tune", type=numbers, default=numbers("1-5"), help="tuned on (1-5)")
    parser.add_argument("--events", type=int, default=9, help="in each seed")
    parser.add_argument("--seconds", type=float, default=10.0, help="that each event lasts")
    parser.add_argument("--intensity", type=int, default=3, choices=(1, 2, 3), help="of remedies")
    parser.add_argument(
        "--rules", type=Path, default=DEFAULT_RULES, help="ours, in the place of the shipped ones"
    )
    parser.add_argument("--write", action="store_true", help=f"also into docs/{DOCUMENT.name}")
    return parser.parse_args(given)


def numbers(text: str) -> list[int]:
    """ "1-3,7" is 1, 2, 3, 7; "" is none. Raises ValueError."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was made is taken away
    logging.getLogger("exporter").setLevel(logging.ERROR)  # what rules say is in the table
    asked = arguments()
    facts = NodeFacts.of(os.cpu_count() or 1, float(os.sysconf("SC_PHYS_PAGES") * PAGE))
    basis = Basis(facts, asked.rules)
    if asked.what in ("all", "record"):
        for seed in (*asked.tune, *asked.seeds):
            print(f"seed {seed} …", file=sys.stderr)
            record_seed(asked.name, seed, asked.events, asked.seconds)
    if asked.what in ("all", "remedies"):
        print("remedies …", file=sys.stderr)
        remedies.run(asked.name, basis, asked.intensity, asked.seconds)
    if asked.what == "show":
        for each in _there(asked.name, [*asked.tune, *asked.seeds]):
            print("\n".join(timeline(each, basis)))
    if asked.what in ("all", "evaluate"):
        text = tables(asked, basis)
        print(text)
        if asked.write:
            DOCUMENT.write_text(put_between(_document(), BEGIN, END, text))


def tables(asked: argparse.Namespace, basis: Basis) -> str:
    to_tune, reported = _there(asked.name, asked.tune), _there(asked.name, asked.seeds)
    trials = remedies.read_trials(asked.name)
    parts: list[Table] = []
    found: dict[str, list[Judged]] = {}
    if reported:
        note = caption(reported, to_tune, _machine())
        found = judge(reported, to_tune, basis)
        titles = {
            "without": "Without any signal from the victim's application",
            "slo": "With the application's own latency (slo)",
        }
        parts += [methods_table(titles[key], found[key], note) for key in titles]
        parts.append(kinds_table(reported, found))
        parts.append(negatives_table(found))
    if trials is not None and trials.done:
        parts.append(remedies_table(trials))
    if not parts:
        raise SystemExit(f"interference: nothing is recorded under the name {asked.name!r}")
    parts.insert(0, goals_table(found, trials))
    return "\n".join(markdown(part, level=3) for part in parts)


def _document() -> str:
    return DOCUMENT.read_text() if DOCUMENT.exists() else "# Interference detection\n"


def _there(name: str, seeds: Sequence[int]) -> list[Recording]:
    folders = [folder_of(name, seed) for seed in seeds]
    return [load(each) for each in folders if (each / "events.json").exists()]


def _machine() -> str:
    return f"{os.cpu_count()} cores, Linux {platform.release()}"


if __name__ == "__main__":
    main()
