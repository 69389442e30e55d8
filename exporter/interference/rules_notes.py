"""What is found wrong while rules are made of a file: errors and warnings, each with its line.

The rule: in a file of our own everything that cannot be meant is an error; in rules.json, which
was written for another program, what that one took is a warning here and costs the detect at most.
"""

from exporter.config.convert import find_line
from exporter.config.tree import MapNode, Node
from exporter.config.wording import KeyPath, show_path
from exporter.errors import Problem


class Notes:
    """`strict`: a file of our own."""

    def __init__(self, file: str, tree: Node | None, strict: bool) -> None:
        self.file, self.strict = file, strict
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self._tree: Node = tree or MapNode(1, [])

    def line(self, path: KeyPath) -> int:
        return find_line(self._tree, path)[0]

    def place(self, path: KeyPath) -> str:
        return f"{self.file}:{self.line(path)}"

    def error(self, path: KeyPath, text: str) -> None:
        self.errors.append(self._problem(path, text))

    def warn(self, path: KeyPath, text: str) -> None:
        self.warnings.append(self._problem(path, text))

    def tolerate(self, path: KeyPath, text: str, so: str = "") -> None:
        """An error where strict; else a warning, with what comes of it."""
        if self.strict:
            self.error(path, text)
        else:
            self.warn(path, f"{text}: {so}" if so else text)

    def _problem(self, path: KeyPath, text: str) -> Problem:
        return Problem(self.file, self.line(path), show_path(path), text)
