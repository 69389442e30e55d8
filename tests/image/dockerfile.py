"""A Dockerfile read into steps: the part of its language that ours uses, and nothing silently else.

Pure. Whoever carries the steps out is chroot.py.
"""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import NamedTuple

KNOWN = ("ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "RUN", "USER", "WORKDIR")


class Step(NamedTuple):
    """`words` is the rest of its line, variables not yet put in."""

    verb: str
    words: str


class Stage(NamedTuple):
    name: str
    base: str
    steps: tuple[Step, ...]


def steps(text: str) -> list[Step]:
    """Raises ValueError for what is not known here."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found = []
    for line in re.sub(r"\\\n", " ", lines).splitlines():
        if not line.strip():
            continue
        verb, _, words = line.strip().partition(" ")
        if verb not in KNOWN:
            raise ValueError(f"{verb}: not an instruction that is known here")
        found.append(Step(verb, words.strip()))
    return found


def stages(text: str) -> dict[str, Stage]:
    """By name, in the order that they stand in."""
    given: dict[str, str] = {}
    made: dict[str, Stage] = {}
    name = ""
    for step in steps(text):
        if step.verb == "FROM":
            base, _, name = put_in(step.words, given).partition(" AS ")
            made[name] = Stage(name, base, ())
        elif not made:  # before the first stage there are only arguments
            key, _, value = step.words.partition("=")
            given[key] = value
        else:
            made[name] = made[name]._replace(steps=(*made[name].steps, step))
    return made


def put_in(words: str, variables: Mapping[str, str]) -> str:
    """${NAME} and $NAME, "" where it is not known."""
    return re.sub(r"\$\{?(\w+)\}?", lambda m: variables.get(m[1], ""), words)


def pairs(words: str) -> dict[str, str]:
    """Of ENV and ARG."""
    return {key: value for key, _, value in (each.partition("=") for each in shlex.split(words))}


def argv(words: str) -> list[str]:
    """Of ENTRYPOINT and CMD. Raises ValueError for the form that needs a shell."""
    found: list[str] = json.loads(words)
    return found


def ignored(path: str, patterns: Sequence[str]) -> bool:
    """By .dockerignore's rules: the last pattern that matches it, or a folder above it, says."""
    out = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        parts = path.split("/")
        heads = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        plain = wanted.removeprefix("**/")
        names = parts if plain != wanted else heads
        if any(fnmatch(each, plain) for each in names):
            out = not pattern.startswith("!")
    return out
