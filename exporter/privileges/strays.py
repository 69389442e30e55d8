"""Files that Landlock opened by their inode and that others have taken the place of since.

The C library's settings stand in /etc beside everybody's secrets, so each is opened for itself. A
new /etc/resolv.conf that took the old one's place cannot be read any more; stat(2) still tells.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Inode(NamedTuple):
    device: int
    number: int


class Strays:
    """Made when Landlock is. Only single files go astray: what is in a folder is found."""

    def __init__(self, places: Iterable[Path]) -> None:
        there = [(path, inode) for path in places if (inode := _inode(path)) is not None]
        self._folders = tuple(path.resolve() for path, _ in there if path.is_dir())
        self._then = {path: inode for path, inode in there if not path.is_dir()}

    def found(self) -> tuple[Path, ...]:
        """Those that are there and are other files now."""
        now = ((path, then, _inode(path)) for path, then in self._then.items())
        return tuple(
            path
            for path, then, inode in now
            if inode not in (None, then) and not self._in_a_folder(path)
        )

    def _in_a_folder(self, path: Path) -> bool:
        """As /etc/resolv.conf is, where it is a link to one."""
        real = path.resolve()
        return any(real.is_relative_to(folder) for folder in self._folders)


def _inode(path: Path) -> Inode | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return Inode(about.st_dev, about.st_ino)
