"""Which programs the configuration means: names to files, each problem kept to its own program.

Shipped programs are in one folder, users' own in theirs; a user's program of the same name goes
before a shipped one. Selecting reads YAML only.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from exporter.config import Ebpf
from exporter.ebpf.backends import examine
from exporter.ebpf.features import btf_file_problem
from exporter.ebpf.kernel import Options, ProgramReport
from exporter.ebpf.objectfile import shipped_folder
from exporter.ebpf.refusals import Refusals
from exporter.ebpf.spec import Program, read_program
from exporter.errors import ConfigError, Problem
from exporter.hostfs import HostFs


class Selection(NamedTuple):
    """`order` has every name that was asked for; each is in `programs` or in `off` (its reason,
    one line). `problems` are what is wrong with the files of those that are off, and before them
    `unread`: what the configuration names besides, folders and the BTF file, and cannot be read."""

    order: tuple[str, ...]
    programs: tuple[Program, ...]
    off: Mapping[str, str]
    problems: tuple[Problem, ...]
    unread: tuple[Problem, ...] = ()


def select(config: Ebpf) -> Selection:
    """Raises nothing: what cannot be had is `off` or `unread`."""
    files: dict[str, Path] = {}
    unread: list[Problem] = []
    if config.btf is not None and (wrong := btf_file_problem(config.btf)):
        unread.append(Problem(config.btf, 0, "", wrong.removeprefix(f"ebpf.btf: {config.btf}: ")))
    for folder in (shipped_folder(), *map(Path, config.dirs)):  # the user's goes before it
        try:
            files.update(_found(folder))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            text = f"no programs can be had from this folder (ebpf.dirs): {why}"
            unread.append(Problem(str(folder), 0, "", text))
    names = tuple(files) if config.programs == "all" else tuple(dict.fromkeys(config.programs))
    programs: list[Program] = []
    off: dict[str, str] = {}
    problems: list[Problem] = []
    for name in names:
        if name not in files:
            off[name] = _unknown(name, files, config.dirs)
            problems.append(Problem("ebpf.programs", 0, name, off[name]))
            continue
        try:
            programs.append(read_program(files[name]))
        except ConfigError as error:
            off[name] = _first(error.problems)
            problems += error.problems
    return Selection(names, tuple(programs), off, (*unread, *problems), tuple(unread))


def check_all(config: Ebpf) -> list[Problem]:
    """Everything that is wrong with the selected programs' files, found without privilege."""
    from exporter.ebpf.check import check_programs  # not in every agent's memory

    selection = select(config)
    return [*selection.problems, *check_programs(selection.programs)]


class Survey(NamedTuple):
    """`unread` as in Selection."""

    rows: tuple[ProgramReport, ...]
    unread: tuple[Problem, ...]


def survey(config: Ebpf, host: HostFs) -> Survey:
    """One row per program that there is, shipped or in `ebpf.dirs`, whether it is configured or
    not: each is tried on this kernel and taken out again."""
    selection = select(msgspec.structs.replace(config, programs="all"))
    options = Options(custom_btf=config.btf, host=host, backend=config.backend, refusals=Refusals())
    rows = {program.name: examine(program, options) for program in selection.programs}
    for name, reason in selection.off.items():
        rows[name] = ProgramReport(name, (), None, reason)
    return Survey(tuple(rows[name] for name in selection.order), selection.unread)


def _found(folder: Path) -> Iterator[tuple[str, Path]]:
    """Raises OSError, and ValueError for what no folder can be called."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".yaml":
            yield path.stem, path


def _unknown(name: str, known: Mapping[str, Path], dirs: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known) or 'none'}"
    where = f"ebpf.dirs ({', '.join(dirs)})" if dirs else "ebpf.dirs (none is set)"
    return f"no {name}.yaml among the shipped programs and {where} ({hint})"


def _first(problems: Sequence[Problem]) -> str:
    more = f" (and {len(problems) - 1} more: kernmesh check)" if len(problems) > 1 else ""
    return f"{problems[0]}{more}"


def names_user_space(config: Ebpf) -> str:
    """Why files of any process must be read: a user's program whose labels are functions of user
    space (usym; no shipped one's are). "" where none is."""
    for folder in map(Path, config.dirs):
        for file in sorted(folder.glob("*.yaml")):
            wanted = config.programs == "all" or file.stem in config.programs
            try:
                if wanted and b"usym" in file.read_bytes():
                    return f"{file} has labels of usym, which reads files of any process"
            except OSError:
                continue
    return ""
