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
# Without -f, Compose looks for these, and merges an override with the file that it finds.
_DEFAULT_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_OVERRIDES = tuple(name.replace(".", ".override.") for name in _DEFAULT_FILES)


@dataclass(slots=True)
class Project:
    """A project: its services, and Docker's name of each of its named volumes.

    `networks` are Docker's names of the networks that others made, by the name in the file, and
    None for the project's own. `notes` are lines about the file that every user has to know.
    `unset` are the variables without value in the text at a position, none if .env is wrong.
    """

    path: Path
    name: str
    services: dict[str, ComposeService]
    volumes: Mapping[str, str]
    networks: Mapping[str, str | None]
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    secrets: list[Path] = field(default_factory=list)
    unset: Mapping[Position, tuple[str, ...]] = field(default_factory=dict)

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
    root = nodes.read(path, file_text(path, of_compose=True))
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
            text = file_text(self.env_file, of_compose=True)
            return env_files.later_variables(text, secrets.exported, {})
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
        if not isinstance(root.value, dict):
            position = self.values.position(root)
            text = "the file is empty" if root.value is None else "a Compose file is a mapping"
            raise FindingError.at(position, text, "begin with services:")
        pairs = self.top(root)
        self.note_other_files()
        name = self.name = self.project_name(pairs, name)
        sections = {
            key: self.values.mapping(self.interpolated(pairs[key].value), key)
            if key in pairs
            else {}
            for key in ("services", "networks", "volumes")
        }
        if not sections["services"]:
            # `services` of another type has a finding already, at its own position.
            node = pairs["services"].value if "services" in pairs else root
            self.values.refuse(node, "the file has no services", "write services: {web: …}")
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
            self.values.unset,
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

    def note_other_files(self) -> None:
        """Note the files that Compose would merge, if it were not given this one alone."""
        beside = [self.path.with_name(name) for name in _OVERRIDES]
        if self.path.name in _DEFAULT_FILES:
            for path in filter(Path.is_file, beside):
                text = f"{quoted(path.name)} beside it is not read: write its keys into this file"
                self.values.notes.append(f"{self.path}: {text}")
        if self.env.get("COMPOSE_FILE") not in (None, "", self.path.name, f"./{self.path.name}"):
            text = f"COMPOSE_FILE does not count: {self.path.name} alone is read"
            self.values.notes.append(f"{self.env_file}: {text}")

    def top(self, root: Node) -> dict[str, Pair]:
        """The keys of the file that are supported."""
        pairs = self.values.mapping(root, "the file")  # `project` refuses another value
        for key, pair in pairs.items():
            if key in supported.TOP_REASONS:
                reason, hint = supported.TOP_REASONS[key]
                self.values.refuse_key(pair.key, f"'{key}' is not supported: {reason}", hint)
            elif key not in supported.TOP_KEYS and not key.startswith("x-"):
                hint = f"known keys: {', '.join(supported.TOP_KEYS)}"
                self.values.refuse_key(
                    pair.key, f"unknown key {quoted(key)} of a Compose file", hint
                )
        return {key: pairs[key] for key in supported.TOP_KEYS if key in pairs}

    def interpolated(self, node: Node) -> Node:
        if isinstance(node.value, list):
            result = replace(node, value=[self.interpolated(item) for item in node.value])
            self.spread_unset(node, node.value)
            return result
        if isinstance(node.value, dict):
            pairs = {
                key: Pair(pair.key, self.interpolated(pair.value))
                for key, pair in node.value.items()
            }
            self.spread_unset(node, [pair.value for pair in node.value.values()])
            return replace(node, value=pairs)
        if not isinstance(node.value, str) or "$" not in node.value:
            return node
        names: list[str] = []
        try:
            text = interpolate(node.value, self.lookup, names.append)
        except BadValueError as error:
            self.values.refuse(node, error.message, error.hint)
            return replace(node, value="")
        for name in names:
            self.note_unset(name, node)
        if names:
            # A .env with a mistake has no variables: what follows from that is not reported.
            unset = () if self.env_findings else tuple(dict.fromkeys(names))
            self.values.unset[self.values.position(node)] = unset
        return replace(node, value=text)

    def spread_unset(self, node: Node, values: list[Node]) -> None:
        """A finding may be about texts together, such as those of a port in the long form."""
        if not self.values.unset:
            return
        positions = [self.values.position(value) for value in values if type(value.value) is str]
        unset = [self.values.unset[each] for each in positions if each in self.values.unset]
        if unset:
            names = dict.fromkeys(name for each in unset for name in each)
            self.values.unset[self.values.position(node)] = tuple(names)

    def note_unset(self, name: str, node: Node) -> None:
        """Note a variable without value once; Compose warns of it, too."""
        if name not in self.unset:
            self.unset.add(name)
            self.values.note(node, f"the variable {quoted(name)} is not set, so it is empty")

    def volume(self, project: str, key: str, pair: Pair) -> str:
        """Docker's name of a named volume."""
        pairs = self.values.only(pair.value, key, ("name", "external", "labels", "driver"))
        node, driver = self.driver(pairs)
        if driver not in (None, "local"):
            hint = "remove it: volumes are those of Docker's driver local"
            self.values.refuse(node, f"the driver {quoted(driver)} is not supported", hint)
        if "labels" in pairs:
            hint = "remove it: Docker makes the volume with the container"
            self.values.refuse_key(
                pairs["labels"].key, "labels of a volume are not supported", hint
            )
        name, external = self.named(pairs)
        if external:
            text = f"the volume {quoted(name or key)} is external, but"
            text = f"{text} Docker makes it on a host that lacks it"
            self.values.note(pairs["external"].key, text)
        return name or (key if external else f"{project}_{key}")

    def driver(self, pairs: Mapping[str, Pair]) -> tuple[Node, str | None]:
        """The `driver` of a volume or network; None without one, or where it is no text."""
        if "driver" not in pairs or pairs["driver"].value.value is None:
            return Node(0, 0, None), None
        return pairs["driver"].value, self.values.text(pairs["driver"].value, "driver")

    def network(self, key: str, pair: Pair) -> str | None:
        """Docker's name of an external network; None for one of the project's own."""
        pairs = self.values.only(pair.value, key, ("name", "external", "driver"))
        node, driver = self.driver(pairs)
        if driver == "overlay":
            text = "the driver 'overlay' has no effect: the inventory's network counts"
            self.values.note(node, text)
        elif driver not in (None, "bridge", "default"):
            hint = "remove it: the inventory's network says how hosts are joined"
            self.values.refuse(node, f"the driver {quoted(driver)} is not used", hint)
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
