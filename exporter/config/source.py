"""A file's bytes, guarded: what is too big, no regular file or not UTF-8 is refused unread.

Knows nothing of YAML. Every refusal is a ConfigError with one Problem.
"""

import os
import stat
from pathlib import Path

from exporter.errors import ConfigError, Problem

_MIB = 1 << 20


def read_source(path: Path, max_bytes: int) -> bytes:
    """The file's content, at most `max_bytes`. Follows symbolic links, as ConfigMaps need.

    Size and kind are asked of the open file before anything is read: a FIFO does not block, a
    device is not drained. Raises ConfigError."""
    file = str(path)
    try:
        with open(path, "rb", opener=_without_waiting) as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _refused(file, "is no regular file (a pipe, socket or device)")
            if status.st_size > max_bytes:
                raise _too_big(file, status.st_size, max_bytes)
            data = stream.read(max_bytes + 1)
    except OSError as error:
        raise _refused(file, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _refused(file, f"cannot be read: {error}") from error
    if len(data) > max_bytes:
        raise _too_big(file, len(data), max_bytes)
    return data


def check_text(data: bytes, file: str, max_bytes: int) -> None:
    """Raises ConfigError unless `data` is UTF-8 and in bounds."""
    if len(data) > max_bytes:
        raise _too_big(file, len(data), max_bytes)
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        text = f"not UTF-8, got byte 0x{data[error.start]:02x} in column {column}"
        raise ConfigError([Problem(file, line, "", text)]) from error


def _without_waiting(path: str, flags: int) -> int:
    """Opening a FIFO that nobody writes to would wait for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _too_big(file: str, size: int, max_bytes: int) -> ConfigError:
    return _refused(file, f"too big, got {_mib(size)}, want at most {_mib(max_bytes)}")


def _mib(size: int) -> str:
    return f"{size / _MIB:.4g} MiB" if size >= _MIB else f"{size} bytes"


def _refused(file: str, text: str) -> ConfigError:
    return ConfigError([Problem(file, 0, "", text)])
