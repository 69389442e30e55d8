"""A process that is killed at one of its writes, without a process: for all that follows it."""

from exporter.actuator.cgroups import Folder
from exporter.actuator.restore import Write


class Killed(BaseException):
    """The process is gone: nothing after it runs."""


def dying_write(writes: int, after_write: bool) -> Write:
    """Writes so many times and is killed at the next: before that one, or right after it."""
    left = writes

    def write(folder: Folder, file: str, text: str) -> None:
        nonlocal left
        if after_write:
            folder.write(file, text)
        if left == 0:
            raise Killed
        left -= 1
        if not after_write:
            folder.write(file, text)

    return write
