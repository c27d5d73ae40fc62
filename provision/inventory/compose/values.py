"""The forms of values in a Compose file; one of another form is a finding. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from provision.inventory.yaml_reader import Node, Pair
from provision.model.fields.interpolation import Lookup
from provision.model.findings import Finding, Position
from provision.model.text import is_number, quoted

# Examples for hints, by key.
_MAPPINGS = {
    "services": "web: {image: busybox}",
    "networks": "default: {name: blue, external: true}",
    "volumes": "data: {}",
    "depends_on": "db: {condition: service_started}",
    "deploy": "replicas: 2",
    "extra_hosts": "db.example: 10.0.0.5",
    "healthcheck": 'test: [CMD, "true"], interval: 30s',
    "labels": "com.example.role: web",
    "logging": "driver: json-file",
    "sysctls": "net.core.somaxconn: 1024",
    "ulimits": "nofile: 65535",
    "x-provision": "host: h1",
}
_LISTS = {
    "cap_add": "NET_ADMIN",
    "cap_drop": "ALL",
    "devices": "/dev/ttyUSB0",
    "env_file": "web.env",
    "host": "h1, h2",
    "ports": '"8080:80"',
    "profiles": "debug",
    "test": '"CMD", "true"',
    "tmpfs": "/run",
    "volumes": '"data:/data"',
}


class ValueReader:
    """Values of one file; `findings` are those that have another form than Compose takes.

    `notes` are lines about values that have no effect here, and `unset` are the variables without
    value in each text that has one.
    """

    def __init__(self, path: Path, lookup: Lookup) -> None:
        self.path = path
        self.lookup = lookup
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.unset: dict[Position, tuple[str, ...]] = {}
        self.refused: set[Position] = set()
        self.secrets: list[Path] = []

    def position(self, node: Node) -> Position:
        return Position(self.path, node.line, node.column)

    def refuse(self, node: Node, message: str, hint: str = "") -> None:
        """Add a finding, unless the value has one: what follows from it would only repeat it."""
        position = self.position(node)
        if position not in self.refused:
            self.refused.add(position)
            self.findings.append(Finding((), message, hint, position))

    def refuse_key(self, key: Node, message: str, hint: str = "") -> None:
        """The same about a key, whatever the texts lack of the mapping that begins with it."""
        self.unset.pop(self.position(key), None)
        self.refuse(key, message, hint)

    def note(self, node: Node, text: str) -> None:
        """Note once what every user of the file has to know."""
        line = f"{self.position(node)}: {text}"
        if line not in self.notes:
            self.notes.append(line)

    def text(self, node: Node, key: str) -> str | None:
        """A scalar as text, as Compose has it; None: it is not one."""
        if isinstance(node.value, list | dict) or node.value is None:
            self.refuse(node, f"'{key}' must be text", f"write {key}: …")
            return None
        if isinstance(node.value, bool):
            return "true" if node.value else "false"
        return str(node.value)

    def flag(self, node: Node, key: str) -> bool:
        if node.value not in (True, False, "true", "false"):
            self.refuse(node, f"'{key}' must be true or false", f"write {key}: true")
        return node.value in (True, "true")

    def option(self, pairs: Mapping[str, Pair], key: str, *, default: bool) -> bool:
        """The flag at a key that may be missing."""
        return self.flag(pairs[key].value, key) if key in pairs else default

    def number(self, node: Node, key: str) -> int | None:
        text = str(node.value)
        if not is_number(text, 9):
            self.refuse(node, f"'{key}' must be a whole number", f"write {key}: 3")
            return None
        return int(text)

    def mapping(self, node: Node, key: str, example: str = "NAME: VALUE") -> dict[str, Pair]:
        """The entries of a mapping; a hint about another value shows `example` in it."""
        if node.value is None:
            return {}
        if not isinstance(node.value, dict):
            example = _MAPPINGS.get(key, example)
            self.refuse(node, f"'{key}' must be a mapping", f"write {key}: {{{example}}}")
            return {}
        return node.value

    def items(self, node: Node, key: str, *, single: bool = False) -> list[Node]:
        """The items of a list; of a single text where Compose takes that, too."""
        if node.value is None:
            return []
        if isinstance(node.value, list):
            return node.value
        if not single or isinstance(node.value, dict):
            self.refuse(node, f"'{key}' must be a list", f"write {key}: [{_LISTS.get(key, '…')}]")
            return []
        return [node]

    def texts(self, node: Node, key: str, *, single: bool = False) -> Iterator[tuple[str, Node]]:
        for item in self.items(node, key, single=single):
            text = self.text(item, key)
            if text is not None:
                yield text, item

    def pairs(
        self, node: Node, key: str, separators: str = "="
    ) -> Iterator[tuple[str, str | None, Node]]:
        """Yield names, values and nodes of a mapping, or of a list of NAME=VALUE."""
        if isinstance(node.value, list):
            for text, item in self.texts(node, key):
                at = min((k for s in separators if (k := text.find(s)) >= 0), default=len(text))
                yield text[:at], text[at + 1 :] if at < len(text) else None, item
            return
        for name, pair in self.mapping(node, key).items():
            if pair.value.value is None:
                yield name, None, pair.key
            elif (value := self.text(pair.value, name)) is not None:
                yield name, value, pair.value

    def only(self, node: Node, key: str, known: tuple[str, ...]) -> dict[str, Pair]:
        """The entries of a mapping; each one that is not `known` is a finding."""
        pairs = self.mapping(node, key, f"{known[0]}: …" if known else "")
        for name, pair in pairs.items():
            if name not in known and not name.startswith("x-"):
                hint = f"provision reads {', '.join(known)}" if known else "remove it"
                self.refuse_key(pair.key, f"{quoted(name)} in '{key}' is not supported", hint)
        return {name: pairs[name] for name in known if name in pairs}
