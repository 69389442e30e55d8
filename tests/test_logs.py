"""One event is one line, in logfmt or JSON, whatever is in it."""

import io
import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from exporter.logs import Format, JsonLines, Level, Logfmt, setup


def record(
    msg: str, *args: object, level: int = logging.INFO, **extra: object
) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "t", "msg": msg, "args": args, "levelno": level, **extra})
    made.created, made.msecs = 1_700_000_000.0, 7.0
    return made


TS = "ts=2023-11-14T22:13:20.007Z"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (record("started"), "level=info msg=started"),
        (record("two words"), 'level=info msg="two words"'),
        (record("%d of %s", 1, "x"), 'level=info msg="1 of x"'),
        (record("m", program="timers", count=3), "level=info msg=m program=timers count=3"),
        (record("m", a=None, b=True, c=1.5), "level=info msg=m a=null b=true c=1.5"),
        (record("m", a=""), 'level=info msg=m a=""'),
        (record("m", a='say "x"'), r'level=info msg=m a="say \"x\""'),
        (record("a=b"), 'level=info msg="a=b"'),
        (record("one\ntwo\n"), r'level=info msg="one\ntwo"'),
        (record("\x1b[31mred"), r'level=info msg="\u001b[31mred"'),
        (record("größer"), "level=info msg=größer"),
        (record("m", level=logging.INFO, **{"odd key=": "v"}), "level=info msg=m odd_key_=v"),
        (record("m", level=logging.DEBUG), "level=debug msg=m"),
        (record("m", level=logging.WARNING), "level=warn msg=m"),
        (record("m", level=logging.CRITICAL), "level=error msg=m"),
    ],
)
def test_logfmt(given: logging.LogRecord, line: str) -> None:
    assert Logfmt().format(given) == f"{TS} {line}"


def test_json_keeps_types_and_is_one_line() -> None:
    line = JsonLines().format(record("one\ntwo", count=3, ratio=0.5, none=None, path=io))
    assert "\n" not in line
    assert json.loads(line) == {
        "ts": "2023-11-14T22:13:20.007Z",
        "level": "info",
        "msg": "one\ntwo",
        "count": 3,
        "ratio": 0.5,
        "none": None,
        "path": str(io),
    }


@pytest.fixture
def as_it_was() -> Iterator[None]:
    """Logging is the process's own; whoever tests setup puts it back."""
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn")
    before = (root.handlers[:], root.level, uvicorn.level)
    yield
    root.handlers[:], root.level, uvicorn.level = before


@pytest.mark.usefixtures("as_it_was")
class TestSetup:
    @pytest.mark.parametrize(
        ("level", "lines"), [("debug", 4), ("info", 3), ("warn", 2), ("error", 1)]
    )
    def test_the_level_decides_what_is_said(self, level: Level, lines: int) -> None:
        stream = io.StringIO()
        setup(level, "logfmt", stream)
        log = logging.getLogger("kernmesh.test")
        for say in (log.debug, log.info, log.warning, log.error):
            say("x")
        assert len(stream.getvalue().splitlines()) == lines

    @pytest.mark.parametrize("form", ["logfmt", "json"])
    def test_an_exception_is_one_line(self, form: Format) -> None:
        stream = io.StringIO()
        setup("info", form, stream)
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("kernmesh.test").exception("failed")
        [line] = stream.getvalue().splitlines()
        assert "ValueError: two\\nlines" in line
        assert "Traceback" not in line

    def test_at_debug_its_trace_comes_along_still_in_one_line(self) -> None:
        stream = io.StringIO()
        setup("debug", "json", stream)
        try:
            raise ValueError("x")
        except ValueError:
            logging.getLogger("kernmesh.test").exception("failed")
        [line] = stream.getvalue().splitlines()
        assert re.search(r"Traceback.*test_logs\.py", json.loads(line)["trace"], re.DOTALL)

    def test_clients_bad_requests_are_not_our_log_but_at_debug(self) -> None:
        for level, lines in (("info", 0), ("debug", 1)):
            stream = io.StringIO()
            setup("info" if level == "info" else "debug", "logfmt", stream)
            logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
            assert len(stream.getvalue().splitlines()) == lines

    def test_a_second_setup_replaces_the_first_and_stderr_is_the_default(self) -> None:
        first = io.StringIO()
        setup("info", "logfmt", first)
        setup()
        [handler] = logging.getLogger().handlers
        assert isinstance(handler, logging.StreamHandler)
        assert handler.stream is sys.stderr
        logging.getLogger("kernmesh.test").info("x")
        assert first.getvalue() == ""
