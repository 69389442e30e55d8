"""When a file is another than it was: what is asked before it is read again.

Symbolic links are followed, as Kubernetes' projected volumes need: there a renewal exchanges the
link and not the file.
"""

from os import stat_result
from pathlib import Path

Stamp = tuple[int, int, int]


def stamp_of(status: stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino


def stamp(path: Path) -> Stamp | None:
    """None where it cannot be seen."""
    try:
        return stamp_of(path.stat())
    except OSError:
        return None
