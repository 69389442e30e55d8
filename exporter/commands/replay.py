"""`kernmesh replay`: what a recording holds."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    from exporter.usage.record import lines, read

    recording = read(arguments.file)
    for line in lines(recording):
        print(line)
    recording.close()
    return 0
