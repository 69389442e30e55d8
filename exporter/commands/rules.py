"""`kernmesh rules check`: a rules file in words, with what is wrong with it."""

import argparse
import os
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    check = verbs.add_parser(
        "check",
        help="read it, report all problems, and say what each rule does",
        allow_abbrev=False,
    )
    check.add_argument("file", type=Path, metavar="FILE", help="rules.json, or YAML")


def run(arguments: argparse.Namespace) -> int:
    from exporter.interference.node_facts import NodeFacts
    from exporter.interference.rules import read_rules
    from exporter.interference.rules_words import rule_lines

    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    facts = NodeFacts.of(float(os.cpu_count() or 1), float(pages * page))
    read = read_rules(arguments.file, facts)
    for warning in read.set.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for rule, words in zip(read.set.rules, read.words, strict=True):
        print("\n".join(rule_lines(rule, words)))
        print()
    print(f"ok: {len(read.set.rules)} rules, {len(read.set.warnings)} warnings")
    return 0
