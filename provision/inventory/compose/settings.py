"""The keys of a service that are settings of Docker in several parts. Pure."""

from __future__ import annotations

from typing import Any

from provision.inventory.compose.shape import ComposeService
from provision.inventory.compose.values import ValueReader
from provision.inventory.yaml_reader import Node
from provision.model.text import quoted


class SettingsReader(ValueReader):
    """Reads settings of `service` into its keys."""

    service: ComposeService

    def put(self, node: Node, value: Any, *path: str) -> None:
        """Set a key of the container, or an entry of the mapping at a key."""
        mapping = self.service.keys
        for key in path[:-1]:
            mapping = mapping.setdefault(key, {})
        mapping[path[-1]] = value
        self.service.positions[path] = self.position(node)

    def put_list(self, node: Node, key: str, entries: list[tuple[Any, Node]]) -> None:
        self.put(node, [value for value, _ in entries], key)
        for k, (_, item) in enumerate(entries):
            self.service.positions[(key, k)] = self.position(item)

    def _mapping(self, key: str, node: Node) -> None:
        for name, value, item in self.pairs(node, key):
            self.put(item, value or "", key, name)

    def _sysctls(self, key: str, node: Node) -> None:
        for name, value, item in self.pairs(node, key):
            if value is None:
                self.refuse(item, f"sysctl {quoted(name)} has no value", f"write {name}=1")
            self.put(item, value or "", key, name)

    def _healthcheck(self, key: str, node: Node) -> None:
        lengths = ("interval", "timeout", "start_period", "start_interval")
        pairs = self.only(node, key, ("test", *lengths, "retries", "disable"))
        for name in lengths:
            if name in pairs and (text := self.text(pairs[name].value, name)) is not None:
                self.put(pairs[name].value, text, key, name)
        if "retries" in pairs:
            retries = self.number(pairs["retries"].value, "retries")
            self.put(pairs["retries"].value, retries, key, "retries")
        if "disable" in pairs and self.flag(pairs["disable"].value, "disable"):
            self.put(pairs["disable"].value, ["NONE"], key, "test")
        elif "test" in pairs:
            test = pairs["test"].value
            is_text = isinstance(test.value, str)
            arguments = ["CMD-SHELL", str(test.value)] if is_text else []
            arguments += [] if is_text else [text for text, _ in self.texts(test, "test")]
            self.put(test, arguments, key, "test")

    def _logging(self, key: str, node: Node) -> None:
        pairs = self.only(node, key, ("driver", "options"))
        self.put(node, {}, key)
        if "driver" in pairs and (driver := self.text(pairs["driver"].value, "driver")):
            self.put(pairs["driver"].value, driver, key, "driver")
        if "options" in pairs:
            for name, value, item in self.pairs(pairs["options"].value, "options"):
                self.put(item, value or "", key, "options", name)

    def _ulimits(self, key: str, node: Node) -> None:
        for name, pair in self.mapping(node, key).items():
            if isinstance(pair.value.value, dict):
                limits = self.only(pair.value, name, ("soft", "hard"))
                texts = {side: self.text(limits[side].value, side) for side in limits}
                self.put(pair.value, texts, key, name)
            elif (text := self.text(pair.value, name)) is not None:
                self.put(pair.value, text, key, name)

    def _extra_hosts(self, key: str, node: Node) -> None:
        for name, value, item in self.pairs(node, key, "=:"):
            if name in self.service.keys.get(key, {}):
                hint = "write one of them"
                self.refuse(item, f"{quoted(name)} has two addresses in '{key}'", hint)
            self.put(item, value or "", key, name)
