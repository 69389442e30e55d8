"""Invalid files that end with the exact messages that they get: lines
`# expect: file:line: path: problem`, all of them, in order."""

from pathlib import Path

_MARK = "# expect: "


def expected(path: Path) -> list[str]:
    lines = path.read_text(errors="replace").splitlines()
    return [line.removeprefix(_MARK) for line in lines if line.startswith(_MARK)]
