"""A Compose file, read by Compose's rules: `.env`, interpolation, services, networks, volumes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from provision.inventory.compose import nodes, supported
from provision.inventory.compose.service import ServiceReader
from provision.inventory.compose.shape import ComposeService
from provision.inventory.source_text import file_text
from provision.inventory.yaml_reader import Node, Pair
from provision.model.fields import env_files, secrets
from provision.model.fields.files import file_type
from provision.model.fields.interpolation import interpolate
from provision.model.findings import BadValueError, Finding, FindingError, Position
from provision.model.text import quoted

_NAME_VARIABLE = "COMPOSE_PROJECT_NAME"


@dataclass(slots=True)
class Project:
    """A project: its services, and Docker's name of each of its named volumes.

    `networks` are Docker's names of the networks that others made, by the name in the file, and
    None for the project's own. `notes` are lines about the file that every user has to know.
    """

    path: Path
    name: str
    services: dict[str, ComposeService]
    volumes: Mapping[str, str]
    networks: Mapping[str, str | None]
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    secrets: list[Path] = field(default_factory=list)

    def refuse(self, node: Node, message: str, hint: str = "", hosts: Iterable[str] = ()) -> None:
        self.refuse_at(self.position(node), message, hint, hosts)

    def refuse_at(
        self, position: Position, message: str, hint: str = "", hosts: Iterable[str] = ()
    ) -> None:
        self.findings.append(Finding((), message, hint, position, frozenset(hosts)))

    def position(self, node: Node) -> Position:
        return Position(self.path, node.line, node.column)


def read_project(path: Path, name: str | None) -> Project:
    """The project in a file. Raises FindingError, or BadValueError if there is no such file."""
    root = nodes.read(path, file_text(path))
    return _ProjectReader(path).project(root, name)


class _ProjectReader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.name: str | None = None
        self.unset: set[str] = set()
        self.env_findings: list[Finding] = []
        self.env_file = path.parent / ".env"
        self.env = self._dot_env()
        self.values = ServiceReader(path, self.lookup)

    def _dot_env(self) -> dict[str, str]:
        try:
            if file_type(self.env_file) is None:
                return {}
            return env_files.later_variables(file_text(self.env_file), secrets.exported, {})
        except FindingError as error:
            self.env_findings.append(error.finding)
        except env_files.LineError as error:
            position = Position(self.env_file, error.line, 1)
            self.env_findings.append(Finding((), error.message, error.hint, position))
        except BadValueError as error:
            position = Position(self.env_file)
            self.env_findings.append(Finding((), error.message, error.hint, position))
        return {}

    def lookup(self, name: str) -> str | None:
        """The value of a variable: the shell's counts before that of `.env`."""
        if name == _NAME_VARIABLE and self.name is not None:
            return self.name  # Compose sets the variable, as soon as the project has its name
        exported = secrets.exported(name)
        return self.env.get(name) if exported is None else exported

    def project(self, root: Node, name: str | None) -> Project:
        pairs = self.top(root)
        name = self.name = self.project_name(pairs, name)
        sections = {
            key: self.values.mapping(self.interpolated(pairs[key].value), key)
            if key in pairs
            else {}
            for key in ("services", "networks", "volumes")
        }
        if not sections["services"] and isinstance(root.value, dict):
            self.values.refuse(root, "the file has no services", "write services: {web: …}")
        services = {key: self.values.read(key, pair) for key, pair in sections["services"].items()}
        volumes = {key: self.volume(name, key, pair) for key, pair in sections["volumes"].items()}
        networks = {key: self.network(key, pair) for key, pair in sections["networks"].items()}
        return Project(
            self.path,
            name,
            services,
            volumes,
            networks,
            [*self.env_findings, *self.values.findings],
            self.values.notes,
            [*([self.env_file] if self.env else []), *self.values.secrets],
        )

    def project_name(self, pairs: Mapping[str, Pair], chosen: str | None) -> str:
        """The name that the inventory gives, else that of the file, else that of its folder."""
        own_name = self.interpolated(pairs["name"].value) if "name" in pairs else None
        text = self.values.text(own_name, "name") if own_name and chosen is None else chosen
        name = _project_name(text or self.path.absolute().parent.name)
        if chosen is None and self.lookup(_NAME_VARIABLE) not in (None, "", name):
            # Compose takes the name from there; containers keep the names that they have had here.
            position = Position(self.env_file if _NAME_VARIABLE in self.env else self.path)
            note = (
                f"{position}: {_NAME_VARIABLE} does not name the project, which is {quoted(name)}"
            )
            self.values.notes.append(f"{note}: write project: NAME in the inventory")
        return name

    def top(self, root: Node) -> dict[str, Pair]:
        """The keys of the file that are supported."""
        pairs = self.values.mapping(root, "the file")
        for key, pair in pairs.items():
            if key in supported.TOP_REASONS:
                reason, hint = supported.TOP_REASONS[key]
                self.values.refuse(pair.key, f"'{key}' is not supported: {reason}", hint)
            elif key not in supported.TOP_KEYS and not key.startswith("x-"):
                hint = f"known keys: {', '.join(supported.TOP_KEYS)}"
                self.values.refuse(pair.key, f"unknown key {quoted(key)} of a Compose file", hint)
        return {key: pairs[key] for key in supported.TOP_KEYS if key in pairs}

    def interpolated(self, node: Node) -> Node:
        if isinstance(node.value, list):
            return replace(node, value=[self.interpolated(item) for item in node.value])
        if isinstance(node.value, dict):
            pairs = {
                key: Pair(pair.key, self.interpolated(pair.value))
                for key, pair in node.value.items()
            }
            return replace(node, value=pairs)
        if not isinstance(node.value, str) or "$" not in node.value:
            return node
        try:
            text = interpolate(node.value, self.lookup, lambda name: self.note_unset(name, node))
        except BadValueError as error:
            self.values.refuse(node, error.message, error.hint)
            return replace(node, value="")
        return replace(node, value=text)

    def note_unset(self, name: str, node: Node) -> None:
        """Note a variable without value once; Compose warns of it, too."""
        if name not in self.unset:
            self.unset.add(name)
            self.values.note(node, f"the variable {quoted(name)} is not set, so it is empty")

    def volume(self, project: str, key: str, pair: Pair) -> str:
        """Docker's name of a named volume."""
        pairs = self.values.only(pair.value, key, ("name", "external", "labels"))
        if "labels" in pairs:
            hint = "remove it: Docker makes the volume with the container"
            self.values.refuse(pairs["labels"].key, "labels of a volume are not supported", hint)
        name, external = self.named(pairs)
        if external:
            text = f"the volume {quoted(name or key)} is external, but"
            text = f"{text} Docker makes it on a host that lacks it"
            self.values.note(pairs["external"].key, text)
        return name or (key if external else f"{project}_{key}")

    def network(self, key: str, pair: Pair) -> str | None:
        """Docker's name of an external network; None for one of the project's own."""
        pairs = self.values.only(pair.value, key, ("name", "external", "driver"))
        driver = pairs["driver"].value if "driver" in pairs else None
        if driver is not None and driver.value not in ("bridge", "overlay", "default"):
            hint = "remove it: the inventory's network says how hosts are joined"
            self.values.refuse(driver, f"the driver {quoted(driver.value)} is not used", hint)
        elif driver is not None and driver.value == "overlay":
            self.values.note(
                driver, "the driver 'overlay' has no effect: the inventory's network counts"
            )
        name, external = self.named(pairs)
        if name and not external:
            text = f"network {quoted(key)} is that of the inventory"
            self.values.note(pairs["name"].value, f"the name {quoted(name)} has no effect: {text}")
        return (name or key) if external else None

    def named(self, pairs: Mapping[str, Pair]) -> tuple[str | None, bool]:
        """The `name` of a volume or network, and the value of `external`."""
        name = self.values.text(pairs["name"].value, "name") if "name" in pairs else None
        if "external" not in pairs:
            return name, False
        external = pairs["external"].value
        if isinstance(external.value, dict):  # before version 3.5 of Compose files
            inner = self.values.only(external, "external", ("name",))
            return (
                self.values.text(inner["name"].value, "name") if "name" in inner else name
            ), True
        return name, self.values.flag(external, "external")


def _project_name(text: str) -> str:
    """A project's name in the characters that Compose allows."""
    return re.sub(r"[^a-z0-9_-]", "", text.lower()).lstrip("_-") or "default"
