"""A service of a Compose file, read as the keys of a container of the inventory. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

from provision.inventory.compose import environment, mounts, relations, supported
from provision.inventory.compose.settings import SettingsReader
from provision.inventory.compose.shape import ComposeService
from provision.inventory.yaml_reader import Node, Pair
from provision.model.fields.quantities import size
from provision.model.findings import BadValueError
from provision.model.suggest import nearest
from provision.model.text import quoted

# Compose's own rule, in its JSON schema.
_NAME = re.compile("[a-zA-Z0-9._-]+")


class ServiceReader(SettingsReader):
    """Reads the services of one file."""

    def read(self, name: str, pair: Pair) -> ComposeService:
        self.service = ComposeService(name, pair.key, positions={(): self.position(pair.key)})
        if not _NAME.fullmatch(name):
            hint = "write letters, digits, '.', '_' and '-'"
            self.refuse(pair.key, f"service name {quoted(name)} cannot be used", hint)
        if not isinstance(pair.value.value, dict):
            hint = f"write {name or 'web'}: {{image: busybox}}"
            self.refuse(pair.value, f"service {quoted(name)} must be a mapping", hint)
            return self.service
        self.service.keys["restart"] = "no"  # Compose's default
        for key, entry in pair.value.value.items():
            self._key(key, entry)
        for variable, (text, node) in environment.read(self, pair.value.value).items():
            self.put(node, text, "env", variable)
        image = pair.value.value.get("image", pair)
        if "build" not in pair.value.value and (image is pair or image.value.value is None):
            message = f"service {quoted(name)} has no image"
            self.refuse_key(image.key, message, "write image: busybox")
        return self.service

    def _key(self, key: str, pair: Pair) -> None:
        if key in supported.REASONS:
            message = f"'{key}' is not supported: {supported.REASONS[key][0]}"
            self.refuse_key(pair.key, message, supported.REASONS[key][1])
        elif key in HANDLERS:
            if pair.value.value is not None:
                HANDLERS[key](self, key, pair.value)
        elif key in environment.KEYS:
            pass  # `read` merges them when it has both
        elif key == "x-provision":
            self._provision(pair.value)
        elif not key.startswith("x-") and key not in supported.WITHOUT_EFFECT:
            match = nearest(key, (*HANDLERS, *environment.KEYS))
            hint = f"did you mean {quoted(match)}?" if match else "remove it"
            self.refuse_key(pair.key, f"unknown key {quoted(key)} of a service", hint)

    def _provision(self, node: Node) -> None:
        number = len(self.findings)
        pairs = self.only(node, "x-provision", ("host",))
        if "host" in pairs:
            hosts = self.texts(pairs["host"].value, "host", single=True)
            self.service.hosts = list(hosts)
        self.service.is_misplaced = len(self.findings) > number

    def _text(self, key: str, node: Node) -> None:
        if (text := self.text(node, key)) is not None:
            self.put(node, text, key)

    def _flag(self, key: str, node: Node) -> None:
        self.put(node, self.flag(node, key), key)

    def _texts(self, key: str, node: Node) -> None:
        self.put_list(node, key, list(self.texts(node, key)))

    def _arguments(self, key: str, node: Node) -> None:
        if isinstance(node.value, list):
            self._texts(key, node)
            return
        text = self.text(node, key)
        try:
            self.put(node, shlex.split(text or ""), key)
        except ValueError:
            self.refuse(node, f"'{key}' has a quote that does not end", "close it")

    def _tmpfs(self, key: str, node: Node) -> None:
        for text, item in self.texts(node, key, single=True):
            path, _, options = text.partition(":")
            mounts.check_memory(self, item, options)
            self._put_memory(item, path, options)

    def _put_memory(self, node: Node, path: str, options: str) -> None:
        if self.service.keys.get("tmpfs", {}).get(path, options) != options:
            message = f"{quoted(path)} has two file systems in memory, whose options differ"
            self.refuse(node, message, "write one of them")
        self.put(node, options, "tmpfs", path)

    def _devices(self, key: str, node: Node) -> None:
        entries: list[tuple[Any, Node]] = []
        for item in self.items(node, key):
            if isinstance(item.value, dict):
                pairs = self.only(item, key, ("source", "target", "permissions"))
                if "source" not in pairs:
                    self.refuse(item, f"'source' is missing in '{key}'", "write source: /dev/…")
                    continue
                texts = [self.text(pair.value, name) or "" for name, pair in pairs.items()]
                entries.append((":".join(texts), item))
            elif (text := self.text(item, key)) is not None:
                entries.append((text, item))
        self.put_list(node, key, entries)

    def _ports(self, key: str, node: Node) -> None:
        self.put_list(node, key, mounts.ports(self, node))

    def _volumes(self, key: str, node: Node) -> None:
        entries, memory = mounts.volumes(self, node)
        self.put_list(node, key, entries)
        for target, options, item in memory:
            self._put_memory(item, target, options)

    def _mac_address(self, key: str, node: Node) -> None:
        if (text := self.text(node, key)) is not None:
            self.put(node, text, "mac")

    def _container_name(self, key: str, node: Node) -> None:
        if self.text(node, key) is not None:
            self.service.container_name = node

    def _network_mode(self, key: str, node: Node) -> None:
        if self.text(node, key) is not None:
            self.service.network_mode = node

    def _networks(self, _key: str, node: Node) -> None:
        if aliases := relations.networks(self, self.service, node):
            self.put_list(node, "aliases", aliases)

    def _depends_on(self, _key: str, node: Node) -> None:
        self.service.depends_on += relations.depends_on(self, self.service, node)

    def _deploy(self, key: str, node: Node) -> None:
        pairs = self.only(node, key, ("mode", "replicas", "resources"))
        if "mode" in pairs and self.text(pairs["mode"].value, "mode") != "replicated":
            hint = "remove it, and list the hosts of the service"
            self.refuse(pairs["mode"].value, "only the mode 'replicated' is supported", hint)
        if "replicas" in pairs:
            self._replicas("replicas", pairs["replicas"].value)
        if "resources" in pairs:
            resources = self.only(pairs["resources"].value, "resources", ("limits",))
            limits = resources["limits"].value if "limits" in resources else Node(0, 0, None)
            for name, pair in self.only(limits, "limits", ("cpus", "memory")).items():
                self._limit({"memory": "mem_limit"}.get(name, name), pair.value)

    def _limit(self, key: str, node: Node) -> None:
        """A limit, which a service may have twice: at its own key, and in `deploy`."""
        text = self.text(node, key)
        if text is None:
            return
        if _amount(key, self.service.keys.get(key, text)) != _amount(key, text):
            self._refuse_other(key, node, "deploy.resources.limits")
        self.put(node, text, key)

    def _replicas(self, key: str, node: Node) -> None:
        number = self.number(node, key)
        if number is not None and number > supported.MOST_REPLICAS:
            self.refuse(node, f"'{key}' is larger than {supported.MOST_REPLICAS}")
        elif self.service.replicas not in (None, number):
            self._refuse_other("scale", node, "deploy.replicas")
        else:
            self.service.replicas = number

    def _refuse_other(self, key: str, node: Node, second_key: str) -> None:
        """Refuse a value that the service has twice; Compose refuses it, too."""
        self.refuse(node, f"'{key}' and '{second_key}' have different values", "write one of them")

    def _profiles(self, key: str, node: Node) -> None:
        self.service.profiles = bool(list(self.texts(node, key)))

    def _pull_policy(self, key: str, node: Node) -> None:
        text = self.text(node, key)
        if text not in ("missing", "if_not_present"):
            hint = "remove it: a host pulls an image that it lacks"
            self.refuse(node, f"'{key}' cannot be {quoted(text)}", hint)


def _amount(key: str, text: str) -> object:
    """The number of a limit; the text itself, if it is none, which has a finding later."""
    try:
        return size(text) if key == "mem_limit" else float(text)
    except (BadValueError, ValueError):
        return text


Handler = Callable[[ServiceReader, str, Node], None]


def _handlers() -> dict[str, Handler]:
    reader = ServiceReader
    forms: dict[Handler, tuple[str, ...]] = {
        reader._text: (
            *("image", "user", "working_dir", "hostname", "shm_size"),
            *("stop_signal", "stop_grace_period", "restart"),
        ),
        reader._flag: ("init", "privileged", "read_only", "tty", "stdin_open"),
        reader._texts: ("cap_add", "cap_drop", "group_add", "security_opt"),
        reader._arguments: ("command", "entrypoint"),
        reader._mapping: ("labels",),
        reader._replicas: ("scale",),
        reader._limit: ("mem_limit", "cpus"),
    }
    special = (
        *("sysctls", "healthcheck", "logging", "ulimits", "extra_hosts", "tmpfs"),
        *("devices", "container_name", "network_mode", "networks", "depends_on", "deploy"),
        *("profiles", "pull_policy", "ports", "volumes", "mac_address"),
    )
    return {
        **{key: handler for handler, keys in forms.items() for key in keys},
        **{key: getattr(reader, f"_{key}") for key in special},
    }


HANDLERS = _handlers()
"""How each key of a service is read."""
