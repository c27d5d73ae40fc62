"""Write a commented inventory for `init`, and check it like any other beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from provision.inventory.load import load
from provision.model.errors import InventoryError, UsageError
from provision.model.text import quoted
from provision.resources.render import render


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of the user; each of `hosts` is NAME=ADDRESS."""

    name: str
    hosts: tuple[str, ...]
    method: str
    cidr: str
    user: str | None


def inventory_text(name: str, answers: Answers) -> str:
    """The text of the inventory file `name`. Raises UsageError if an answer is not valid in it."""
    hosts = [_host(text) for text in answers.hosts]
    values = {"name": answers.name, "method": answers.method, "cidr": answers.cidr}
    text = render("init/inventory.yml.j2", hosts=hosts, user=answers.user, **values)
    with TemporaryDirectory() as folder:
        draft = Path(folder, name)
        draft.write_text(text)
        try:
            load(draft)
        except InventoryError as error:
            first = error.findings[0]
            raise UsageError(first.message, first.hint) from error
    return text


def _host(text: str) -> tuple[str, str]:
    name, equals, address = text.partition("=")
    if not equals or not name or not address:
        raise UsageError(f"{quoted(text)} is not NAME=ADDRESS", "write it like h1=10.0.0.11")
    return name, address
