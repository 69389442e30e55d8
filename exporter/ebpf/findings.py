"""How what is wrong with a program is put: a key path and a text."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

Finding = tuple[str, str]
"""Key path below what is being looked at ("labels[0].decoders", "" for itself), and problem."""


def missing(what: str, name: str, there: Iterable[str]) -> str:
    """The object has none of this name; with the nearest, or with what it has."""
    names = sorted(there)
    close = get_close_matches(name, names, n=1)
    if close:
        return f"the object has no {what} {name!r} (did you mean {close[0]!r}?)"
    listed = ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
    return f"the object has no {what} {name!r}, it has {listed or 'none'}"


def below(path: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    for inner, text in findings:
        yield f"{path}.{inner}" if inner else path, text
