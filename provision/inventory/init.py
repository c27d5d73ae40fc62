"""The inventory that `init` writes: commented, and checked as any other before it is there."""

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
    """What a user said; `hosts` as NAME=ADDRESS."""

    name: str
    hosts: tuple[str, ...]
    method: str
    cidr: str
    user: str | None


def write(path: Path, answers: Answers) -> None:
    """Write the inventory. Raises UsageError for an answer that makes none."""
    hosts = [_host(text) for text in answers.hosts]
    values = {"name": answers.name, "method": answers.method, "cidr": answers.cidr}
    text = render("init/inventory.yml.j2", hosts=hosts, user=answers.user, **values)
    with TemporaryDirectory() as folder:
        draft = Path(folder, path.name)
        draft.write_text(text)
        try:
            load(draft)
        except InventoryError as error:
            first = error.findings[0]
            raise UsageError(first.message, first.hint) from error
    path.write_text(text)


def _host(text: str) -> tuple[str, str]:
    name, sign, address = text.partition("=")
    if not sign or not name or not address:
        raise UsageError(f"{quoted(text)} names no host", "write it like h1=10.0.0.11")
    return name, address
