"""Files of the template folder: jinja2 templates, and the shell and perl programs of hosts.

Pure. A program under `templates/` is complete shell or perl text; values reach it as arguments or
as shell variables, never by editing the text.
"""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

_PACKAGE = Path(__file__).parents[1]
FOLDERS = (_PACKAGE / "_templates", _PACKAGE.parent / "templates")
"""The template folder in an installed wheel, and in a checkout."""


def program_text(*paths: str) -> str:
    """The text that a host gets of the shell or perl programs at `paths`, one after the other.

    Paths are below the template folder. The head of a file is left out: its comment lines before
    the first empty line, which tell readers and the tests about arguments, prelude and variables.
    """
    return "".join(map(_program_text, paths))


@cache
def _program_text(path: str) -> str:
    text = (_folder() / path).read_text()
    head, _, _ = text.partition("\n\n")
    headed = all(line.startswith("#") for line in head.split("\n"))
    return text[len(head) + 1 :] if headed else text


@cache
def _folder() -> Path:
    return next(folder for folder in FOLDERS if folder.is_dir())


def render(template: str, **values: object) -> str:
    """The text of `template` (a path below the template folder) with `values`."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    # Imported here: most commands need only programs, and jinja2 takes 20 ms to load.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

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
