"""Files from templates: one jinja2 environment. Pure; templates make files, never commands."""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_PACKAGE = Path(__file__).parents[1]
FOLDERS = (_PACKAGE / "_templates", _PACKAGE.parent / "templates")
"""In an installed wheel, and in a checkout."""


def render(template: str, **values: object) -> str:
    """The text of `template` (a path below the template folder) with `values`."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    # Files for shells and systemd, not HTML: nothing may be escaped. Values are checked at load.
    environment = Environment(
        loader=FileSystemLoader(FOLDERS),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters["quote"] = shlex.quote
    return environment
