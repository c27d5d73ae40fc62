"""The sources of an Ansible inventory: files and folders, read by provision or by Ansible."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from provision.inventory.ansible import config, ini, listing, program, yaml
from provision.inventory.ansible.model import Tree
from provision.model.fields import files
from provision.model.findings import BadValueError, Finding, FindingError, Position

MAX_BYTES = 4 << 20
# The names that Ansible passes over in a folder (INVENTORY_IGNORE_EXTS).
_IGNORED = re.compile(
    r"^\.|^(host_vars|group_vars|vars_plugins)$"
    r"|(~|\.(pyc|pyo|swp|bak|rpm|md|txt|rst|orig|cfg|retry))$"
)
# The first line of YAML, a group: `all:`, or with a mapping in braces after it.
_YAML = re.compile(r"""(---|%YAML|\{|["']?[^\s:"'=\[\]]+["']?:(\s*(#.*)?$|\s+[{&!\[]))""")
_PLUGIN = re.compile(r"^plugin:\s", re.M)


@dataclass(frozen=True, slots=True)
class Sources:
    """The files and folders of an inventory.

    `folder`: that of our own file, beside which an ansible.cfg may be. `reader`: `ours`, `ansible`,
    or `auto`, which asks Ansible where our own reading does not suffice.
    """

    paths: tuple[Path, ...]
    folder: Path
    reader: str = "auto"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that may have group_vars and host_vars."""
        return tuple(dict.fromkeys(path if is_folder(path) else path.parent for path in self.paths))

    @property
    def config(self) -> Path | None:
        """The ansible.cfg beside the inventory, in the folder above it, or beside our own file."""
        above = (folder.parent for folder in self.folders)
        return config.find((*self.folders, self.folder, *above))

    @property
    def asks_ansible(self) -> bool:
        """True if Ansible may be asked, and is installed."""
        return self.reader != "ours" and program.installed() is not None


def tree_of(sources: Sources) -> Tree:
    if sources.reader == "ansible":
        if program.installed() is None:
            position = Position(sources.paths[0])
            message = "`reader: ansible` needs ansible-inventory, which is not installed"
            raise FindingError.at(position, message, _export(sources.paths[0]))
        return program.listed(sources.paths, sources.config)
    tree = Tree()
    for path in sources.paths:
        try:
            tree.add(_tree(path, sources))
        except OnlyAnsibleError as error:
            if sources.asks_ansible:
                return program.listed(sources.paths, sources.config)
            raise FindingError(error.finding) from error
    tree.resolved = len(sources.paths) == 1 and tree.resolved
    return tree


def _export(path: Path) -> str:
    command = f"ansible-inventory -i {path.name} --list --yaml --export >hosts.yml"
    return f"run `{command}` where Ansible is installed, and name hosts.yml in hosts_from"


class OnlyAnsibleError(FindingError):
    """A file that only Ansible can read: a script, a plug-in, TOML."""


def _require_readable(path: Path, text: str) -> None:
    """Raises OnlyAnsibleError for a script, the options of a plug-in, and TOML."""
    kind = ""
    if text.startswith("#!") and os.access(path, os.X_OK):
        kind = "a script"
    elif _PLUGIN.search(text) and _is_yaml(path, text):
        kind = "the options of an inventory plug-in"
    elif path.suffix == ".toml":
        kind = "TOML"
    elif text.startswith("$ANSIBLE_VAULT;"):
        kind = "encrypted by ansible-vault"
    if kind:
        message = f"this is {kind}, which only Ansible reads"
        raise OnlyAnsibleError(Finding((), message, _export(path), Position(path, 1, 1)))


def _tree(path: Path, sources: Sources) -> Tree:
    if not is_folder(path):
        text = text_of(path)
        if listing.is_listing(text):
            return listing.read(path, text)
        _require_readable(path, text)
        return yaml.read(path, text) if _is_yaml(path, text) else ini.read(path, text)
    tree = Tree()
    for entry in entries_of(path):
        if not _IGNORED.search(entry.name):
            tree.add(_tree(entry, sources))
    return tree


def _is_yaml(path: Path, text: str) -> bool:
    """True for YAML and JSON: by the first line that says something, else by the name."""
    lines = (line for line in text.splitlines() if line.strip() and line.strip()[0] not in "#;")
    first = next(lines, "")
    if _YAML.match(first):
        return True
    return path.suffix in (".yml", ".yaml", ".json") and not first.startswith("[")


def is_folder(path: Path) -> bool:
    """True if a path leads to a folder. Raises FindingError where this user may not look."""
    return config.type_of(path) == stat.S_IFDIR


def is_there(path: Path) -> bool:
    """True if a path leads to anything. Raises FindingError where this user may not look."""
    return config.type_of(path) is not None


def entries_of(folder: Path) -> list[Path]:
    """The paths in a folder, sorted. Raises FindingError."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise FindingError.at(Position(folder), error.strerror or "cannot be read") from error


def text_of(path: Path) -> str:
    try:
        return files.read_regular(path, MAX_BYTES).decode()
    except BadValueError as error:
        raise FindingError.at(Position(path), error.message, error.hint) from error
    except UnicodeDecodeError as error:
        raise FindingError.at(Position(path), "this is not UTF-8", "save it as UTF-8") from error
