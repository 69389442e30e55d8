"""What targets stand on: a folder of their own, files of this checkout and of this machine.

The rule: made once, when a target first runs, and gone with the process.
"""

import re
import shutil
import tempfile
from atexit import register
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tests.fuzz.target import ROOT

_FENCED = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_MOST = 1 << 14


@cache
def folder() -> Path:
    """In memory where there is such a place: it is written to a thousand times a second."""
    shared = Path("/dev/shm")
    made = tempfile.mkdtemp(prefix="kernmesh-fuzz-", dir=shared if shared.is_dir() else None)
    register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


def put(name: str, data: bytes) -> Path:
    """A file there with this content. Root's alone, as the product wants some of its files."""
    path = folder() / name
    try:
        path.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    return path


def of_checkout(*patterns: str) -> list[bytes]:
    """Contents of this checkout's files, small ones, each once."""
    paths = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    return small(path.read_bytes() for path in paths)


def of_docs(language: str, *pages: str) -> list[bytes]:
    """What the pages show in fenced blocks of that language."""
    texts = [(ROOT / "docs" / f"{page}.md").read_text() for page in pages]
    return small(
        found[2].encode()
        for text in texts
        for found in _FENCED.finditer(text)
        if found[1] == language
    )


def of_machine(*paths: str) -> list[bytes]:
    """What this machine's files say now, of long ones the beginning; those that are not there say
    nothing."""
    found = []
    for path in paths:
        try:
            found.append(Path(path).read_bytes()[:_MOST])
        except OSError:
            continue
    return small(found)


def small(contents: Iterable[bytes]) -> list[bytes]:
    return [each for each in dict.fromkeys(contents) if len(each) <= _MOST]
