"""Templates of all pages: one environment, one layout (page.html.j2: light and dark, for a phone).

A page's own template is beside its module and says `{% extends "page.html.j2" %}`. jinja2 (3 MB)
is imported when the first page is asked for, not before: most agents are only ever scraped.
"""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: Path, **values: object) -> str:
    """The whole page; every value is escaped, and one that is missing is an error."""
    return _environment(template.parent).get_template(template.name).render(**values)


@functools.cache
def _environment(folder: Path) -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
