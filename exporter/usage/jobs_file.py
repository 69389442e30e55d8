"""Which online jobs there are: usage.jobs, and `online.jobs` of a caelus.json.

Of the file only that key is read, and whether it has `online.pid_to_cgroup`; whatever else stands
in it is another program's. A job of agent.yaml takes the place of one of the same name in the file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from exporter.config.agent import Job
from exporter.config.scalars import Regexp
from exporter.config.source import read_source
from exporter.errors import ConfigError, Problem

_MOST_BYTES = 4 << 20


class _FileJob(msgspec.Struct):
    name: str
    command: str


class _Online(msgspec.Struct):
    jobs: list[_FileJob] | None = None
    pid_to_cgroup: dict[str, Any] | None = None


class _Caelus(msgspec.Struct):
    online: _Online | None = None


class JobPattern(NamedTuple):
    """`command` is a compiled RE2, to be searched for in a command line. `movable`: where jobs
    are to have cgroups of their own (usage.jobs_in_cgroups), this one is."""

    name: str
    command: Any
    movable: bool = True


def job_patterns(jobs: Sequence[Job], file: str | None) -> list[JobPattern]:
    """In the order of agent.yaml, then of the file. Raises ConfigError with all that is wrong."""
    texts, movable = ({}, False) if file is None else _from_file(file)
    named = {job.name: str(job.command) for job in jobs}
    every = {**named, **{name: text for name, text in texts.items() if name not in named}}
    if not every:
        return []
    import re2  # 2 MB that most agents never need

    return [
        JobPattern(name, re2.compile(text), name in named or movable)
        for name, text in every.items()
    ]


def _from_file(file: str) -> tuple[dict[str, str], bool]:
    """Expressions by name, and whether the file asks for cgroups."""
    try:
        caelus = msgspec.json.decode(read_source(Path(file), _MOST_BYTES), type=_Caelus)
    except (ValueError, RecursionError) as error:
        raise ConfigError([Problem(file, 0, "", f"{error}, want a caelus.json")]) from None
    jobs = (caelus.online.jobs if caelus.online else None) or []
    problems: list[Problem] = []
    found: dict[str, str] = {}
    for index, job in enumerate(jobs):
        where = f"online.jobs[{index}]"
        if not job.name:
            problems.append(Problem(file, 0, f"{where}.name", "is empty, want the job's name"))
        elif job.name in found:
            problems.append(Problem(file, 0, f"{where}.name", f"is there twice, got {job.name!r}"))
        elif not job.command:
            text = "is empty, which every process would match, want a regular expression"
            problems.append(Problem(file, 0, f"{where}.command", text))
        else:
            try:
                found[job.name] = Regexp(job.command)
            except ValueError as error:
                text = f"{error}, got {job.command!r}, want {Regexp.want}"
                problems.append(Problem(file, 0, f"{where}.command", text))
    if problems:
        raise ConfigError(problems)
    moves = caelus.online is not None and caelus.online.pid_to_cgroup is not None
    return found, moves
