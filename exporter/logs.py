"""Log lines on the standard library's logging: one event is one line, as logfmt or as JSON.

Whatever a call gives as `extra={"program": "timers"}` follows the message as key=value.
Nothing is set up at import; the command line calls `setup` once. Knows no part of kernmesh.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator
from typing import Literal, TextIO

Level = Literal["debug", "info", "warn", "error"]
Format = Literal["logfmt", "json"]

LEVELS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
# What every record carries; all else in its __dict__ came as `extra`. logging itself refuses
# extras with these names ("name", "args", "process" …): say program=, file=, pid= instead.
OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


def setup(level: Level = "info", form: Format = "logfmt", stream: TextIO | None = None) -> None:
    """Sends all logging of this process to `stream` (None: stderr). A second call replaces the
    first. uvicorn's own lines tell of clients' bad requests, httpx's of each request that is made:
    they are kept to level debug."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonLines() if form == "json" else Logfmt())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    quiet = logging.NOTSET if level == "debug" else logging.ERROR
    for theirs in ("uvicorn", "httpx", "httpcore"):
        logging.getLogger(theirs).setLevel(quiet)


class Logfmt(logging.Formatter):
    """ts=… level=… msg=… key=value, quoted where needed; line ends within are written \\n."""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{_key(key)}={_value(value)}" for key, value in fields(record))


class JsonLines(logging.Formatter):
    """The same fields as one JSON object; numbers, booleans and null stay what they are."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(dict(fields(record)), ensure_ascii=False, default=str)


def fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    """ts (RFC 3339, UTC, milliseconds), level, msg, then the extras in the order given, then
    `err` and, where this logger is at debug, `trace`, if an exception came along."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    yield "ts", f"{stamp}.{int(record.msecs):03d}Z"
    yield "level", _level(record.levelno)
    yield "msg", record.getMessage().rstrip("\n")
    yield from ((key, value) for key, value in vars(record).items() if key not in OWN)
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        yield "err", f"{type(error).__name__}: {error}"
        if logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
            yield "trace", logging.Formatter().formatException(record.exc_info)


def _level(number: int) -> Level:
    if number < logging.INFO:
        return "debug"
    if number < logging.WARNING:
        return "info"
    return "warn" if number < logging.ERROR else "error"


def _key(key: str) -> str:
    return "".join(c if c.isprintable() and c not in ' "=' else "_" for c in key) or "_"


def _value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    if text and text.isprintable() and not any(c in text for c in ' "=\\'):
        return text
    return json.dumps(text, ensure_ascii=not text.replace("\n", "").isprintable())
