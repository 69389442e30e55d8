"""regexp: keeps the rows whose text matches one of the expressions, and leaves out the others.

RE2, as upstream's files are written for it and because no expression may run away. The first
expression that matches decides: with exactly one group it gives that group's text, without
groups what it matched, which need not be the whole text. One with several groups never matches
upstream, so `problem` refuses it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from exporter.errors import DecodeError, SkipRow


def problem(expressions: Sequence[str]) -> str | None:
    """What is wrong with these expressions, in one line; None if nothing is."""
    if not expressions:
        return "regexp: got no `regexps`, want at least one expression"
    for expression in expressions:
        try:
            groups = _compile(expression).groups
        except DecodeError as error:
            return str(error)
        if groups > 1:
            return (
                f"regexp: {expression!r} has {groups} groups, want none or one: "
                "write (?:…) for those that only group"
            )
    return None


def syntax_problem(expressions: Sequence[str]) -> str | None:
    """The first that is no RE2 expression, in one line; None if all are."""
    for expression in expressions:
        try:
            _compile(expression)
        except DecodeError as error:
            return str(error)
    return None


def matcher(expressions: Sequence[str]) -> Callable[[str], bool]:
    """Whether any of them matches somewhere in a text. Raises DecodeError for a bad one."""
    compiled = [_compile(expression) for expression in expressions]

    def matches(text: str) -> bool:
        shown = text.encode("utf-8", "replace").decode()
        return any(each.search(shown) is not None for each in compiled)

    return matches


class Regexp:
    def __init__(self, expressions: Sequence[str]) -> None:
        self._compiled = [_compile(expression) for expression in expressions]

    def rewrite(self, text: str) -> str:
        # lone surrogates (bytes that are no UTF-8) cannot be handed to RE2
        shown = text.encode("utf-8", "replace").decode()
        for compiled in self._compiled:
            match = compiled.search(shown)
            if match is not None:
                # a group that took no part in the match is empty text, as in Go
                return match.group(1 if compiled.groups else 0) or ""
        raise SkipRow


def _compile(expression: str) -> Any:
    import re2  # some MB of RSS, which only those who use it should pay

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except (re2.error, UnicodeError) as error:
        reason = error.args[0] if error.args else error
        if isinstance(reason, bytes):
            reason = reason.decode("utf-8", "replace")
        raise DecodeError(f"regexp: {expression!r} is no RE2 expression: {reason}") from None
