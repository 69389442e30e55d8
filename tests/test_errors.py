"""Whatever a message quotes, it stays one line, and says what it quotes."""

import pytest

from exporter.errors import ConfigError, KernmeshError, Problem, one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: é µ ok", "a: é µ ok"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\u2028\ud800\x00", "\\u2028\\ud800\\x00"),
    ],
)
def test_what_others_chose_cannot_end_a_line_or_move_a_cursor(text: str, line: str) -> None:
    assert one_line(text) == line
    assert str(KernmeshError(text)) == line
    assert KernmeshError(text).lines == (line,)
    problem = Problem(f"f{text}", 3, "k", text)
    assert str(ConfigError([problem, problem])).split("\n") == [str(problem)] * 2
    assert str(problem) == f"f{line}:3: k: {line}"
