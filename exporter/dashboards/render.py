"""Templates to dashboards.

A template writes JSON values one after the other, without commas between: the dashboard, then its
panels (dashboards/templates/panels.j2 has what writes them). What a template misses is an error.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from exporter.dashboards.layout import Values, assemble
from exporter.dashboards.programs import Drawn

_PACKAGE = Path(__file__).resolve().parent.parent
_FOLDERS = (_PACKAGE / "_dashboards", _PACKAGE.parent / "dashboards")
_SUFFIX = ".json.j2"
PROGRAM = "program"
"""The template of a single program's dashboard; all others are dashboards by themselves."""


def dashboards_folder() -> Path:
    """Where templates and dashboards are: in the package, or in the checkout."""
    return next((each for each in _FOLDERS if each.is_dir()), _FOLDERS[-1])


def names() -> list[str]:
    """The dashboards that there are; each is `<name>.json`."""
    found = (dashboards_folder() / "templates").glob(f"*{_SUFFIX}")
    return sorted({path.name.removesuffix(_SUFFIX) for path in found} - {PROGRAM})


def render(name: str, prefix: str, programs: Sequence[Drawn]) -> str:
    """The dashboard as JSON text, ready to import. `prefix` is ebpf.prefix of the agents."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(  # noqa: S701 # JSON, by tojson: nothing here is HTML
        loader=FileSystemLoader(dashboards_folder() / "templates"), undefined=StrictUndefined
    )
    text = environment.get_template(name + _SUFFIX).render(prefix=prefix, programs=programs)
    return json.dumps(assemble(_values(text)), indent=2, ensure_ascii=False) + "\n"


def _values(text: str) -> Iterator[Values]:
    decoder, at = json.JSONDecoder(), 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        value: dict[str, Any]
        value, at = decoder.raw_decode(text, at)
        yield value
