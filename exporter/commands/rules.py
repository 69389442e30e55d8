"""`kernmesh rules check`: a rules file in words, with what is wrong with it."""

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    check = verbs.add_parser(
        "check",
        help="read it, report all problems, and say what each rule does",
        allow_abbrev=False,
    )
    check.add_argument("file", metavar="FILE", help="rules.json, YAML, or `default`")


def run(arguments: argparse.Namespace) -> int:
    from exporter.hostfs import HostFs
    from exporter.interference.needs import path_of
    from exporter.interference.rules import read_rules
    from exporter.interference.rules_words import rule_lines
    from exporter.interference.this_node import this_node

    facts = this_node(HostFs())._replace(addresses=None)  # who reads a file wants to see its rules
    read = read_rules(path_of(arguments.file), facts)
    for warning in read.set.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for rule, words in zip(read.set.rules, read.words, strict=True):
        print("\n".join(rule_lines(rule, words)))
        print()
    print(f"ok: {len(read.set.rules)} rules, {len(read.set.warnings)} warnings")
    return 0
