"""The services of a project, placed on hosts: entries of `containers`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provision.inventory.compose import networks
from provision.inventory.compose.project import Project
from provision.inventory.compose.shape import ComposeService, Dependency, Target
from provision.inventory.rules.start_order import cycle
from provision.model.fields.dns_names import is_name
from provision.model.findings import KEY, Loc, Position
from provision.model.suggest import did_you_mean
from provision.model.text import count, quoted

_CONDITIONS = ("service_started", "service_healthy")


@dataclass(frozen=True, slots=True)
class Placed:
    """A container of a service: the entry of `containers`, and the positions of its keys."""

    name: str
    entry: dict[str, Any]
    positions: Mapping[Loc, Position]

    def position(self, loc: Loc) -> Position:
        """The position of a key, or of the nearest one above it."""
        for length in range(len(loc), -1, -1):
            if loc[:length] in self.positions:
                return self.positions[loc[:length]]
        return self.positions[()]


class Placement:
    """Places the services of one project; its findings and notes go to the project.

    `users` are the first service of each volume of a project, and its hosts; an earlier item of
    `compose` may be of the same project.
    """

    def __init__(
        self,
        project: Project,
        target: Target,
        names: Collection[str],
        users: dict[tuple[str, str], tuple[str, set[str]]] | None = None,
    ) -> None:
        self.project = project
        self.target = target
        self.names = set(names)
        self.users = {} if users is None else users
        self.copies: dict[str, list[tuple[str, str]]] = {}

    def containers(self) -> Iterator[Placed]:
        """Yield the containers of all services."""
        services = {
            name: service
            for name, service in self.project.services.items()
            if self._is_enabled(service)
        }
        for service in services.values():
            self.copies[service.name] = list(self._copies(service))
        circle = self._circle(services)
        networks.join(self.project, self.target, services.values())
        self._shared_volumes(services)
        for service in services.values():
            volumes = self._volumes(service)
            if service.name in circle:
                service.depends_on = []
            for name, host in self.copies[service.name]:
                yield self._container(service, name, host, volumes)

    def _is_enabled(self, service: ComposeService) -> bool:
        """Compose does not start services with profiles, unless they are asked for by name."""
        if not service.profiles or service.name in self.target.hosts:
            return True
        position = self.project.position(service.key)
        text = f"service {quoted(service.name)} has profiles, and 'hosts' does not name it"
        self.project.notes.append(f"{position}: {text}: it is left out")
        return False

    def _copies(self, service: ComposeService) -> Iterator[tuple[str, str]]:
        """Yield name and host of each container of a service."""
        hosts = self._hosts(service)
        if not hosts and service.is_misplaced:
            return  # the mistake in `x-provision` is reported already
        if not hosts:
            message = f"service {quoted(service.name)} is on no host"
            entry = f"hosts: {{{service.name}: h1}}"
            hint = f"write {entry} in the inventory, or x-provision: {{host: h1}} here"
            self.project.refuse(service.key, message, hint)
            return
        number = len(hosts) if service.replicas is None else service.replicas
        placed = [hosts[k % len(hosts)] for k in range(number)]
        own_name = service.container_name
        for position, noun, hint in self._single_values(service, placed) if number > 1 else ():
            message = f"{count(number, 'container')} cannot have {noun}"
            self.project.refuse_at(position, message, hint)
            return
        for k, host in enumerate(placed):
            name = f"{self.project.name}-{service.name}-{k + 1}"
            name = name if own_name is None else str(own_name.value)
            if name in self.names:
                message = f"there is another container {quoted(name)}"
                node = own_name or service.key
                self.project.refuse(node, message, "choose another container_name or project")
                return
            self.names.add(name)
            yield name, host

    def _single_values(
        self, service: ComposeService, hosts: list[str]
    ) -> Iterator[tuple[Position, str, str]]:
        """Yield position, noun and hint of what a single container of a service can have."""
        if service.container_name is not None:
            yield self.project.position(service.container_name), "one container_name", "remove it"
        if "aliases" in service.keys:
            hint = f"remove it: {quoted(service.name)} leads to all of them"
            yield service.positions[("aliases",)], "the same alias", hint
        for _, node in service.addresses.values():
            yield self.project.position(node), "the same address", "remove it"
        if len(set(hosts)) < len(hosts):  # elsewhere each may be on a layer 2 of its own
            if "mac" in service.keys:
                yield service.positions[("mac",)], "the same MAC address on a host", "remove it"
            for _, node in service.macs.values():
                yield self.project.position(node), "the same MAC address on a host", "remove it"

    def _hosts(self, service: ComposeService) -> list[str]:
        return self.target.hosts.get(service.name) or [host for host, _ in service.hosts]

    def _container(
        self, service: ComposeService, name: str, host: str, volumes: list[str]
    ) -> Placed:
        positions = {**service.positions, ("network",): self.target.positions[("network",)]}
        positions[("host",)] = self._host_position(service, host)
        if service.container_name is not None:
            positions[(KEY,)] = self.project.position(service.container_name)
        keys: dict[str, Any] = {"network": self.target.network}
        if service.network_mode is not None:
            keys["network"] = self._mode(service, host)
            positions[("network",)] = self.project.position(service.network_mode)
        elif service.joined:
            keys = networks.keys(service.joined, self.target.network, positions)
        entry = {"host": host, **keys, **service.keys}
        if volumes:
            entry["volumes"] = volumes
        if service.network_mode is None and is_name(service.name):
            entry["service"] = service.name
        entry["depends_on"] = list(self._predecessors(service, host))
        # `busybox` without a command sleeps in an inventory; in Compose it runs its own command.
        entry.setdefault("command", [])
        return Placed(name, entry, positions)

    def _host_position(self, service: ComposeService, host: str) -> Position:
        if service.name in self.target.hosts:
            return self.target.positions[("hosts", service.name)]
        return self.project.position(dict(service.hosts)[host])

    def _mode(self, service: ComposeService, host: str) -> str:
        """The network of a container whose service has `network_mode`."""
        node = service.network_mode
        assert node is not None
        mode, _, name = str(node.value).partition(":")
        if service.networks:
            message = "'network_mode' and 'networks' contradict each other"
            self.project.refuse(node, message, "remove one of them")
        if mode != "service":
            return str(node.value)
        copies = [copy for copy, its_host in self.copies.get(name, []) if its_host == host]
        if name not in self.project.services:
            hint = did_you_mean(name, self.project.services, "services")
            self.project.refuse(node, f"unknown service {quoted(name)}", hint)
        elif self.project.services[name].replicas == 0:
            message = f"service {quoted(name)} has no container: it has 0 replicas"
            self.project.refuse(node, message, "place at least 1 of them")
        elif not copies and self.copies.get(name) != []:  # empty: that service is refused already
            message = f"service {quoted(name)} has no container on {host}"
            hosts = {host, *(its_host for _, its_host in self.copies.get(name, []))}
            self.project.refuse(node, message, "place both services on one host", hosts)
        return f"container:{copies[0]}" if copies else "none"

    def _predecessors(self, service: ComposeService, host: str) -> Iterator[str]:
        """Yield the containers of the same host that start before one of a service."""
        for dependency in service.depends_on:
            if not self._is_known(dependency):
                continue
            copies = self.copies.get(dependency.service, [])
            names = [name for name, its_host in copies if its_host == host]
            yield from names
            limits = []
            if dependency.required and dependency.service not in self.copies:
                limits.append("is left out, because it has profiles")
            elif copies and not names:
                limits.append("is on another host, and its start is not waited for")
            elif dependency.condition == "service_healthy":
                limits.append("is started first, but its health is not waited for")
            for limit in limits:
                note = f"service {quoted(service.name)}: {quoted(dependency.service)} {limit}"
                note = f"{self.project.position(dependency.node)}: {note}"
                if note not in self.project.notes:
                    self.project.notes.append(note)

    def _is_known(self, dependency: Dependency) -> bool:
        if dependency.service not in self.project.services:
            hint = did_you_mean(dependency.service, self.project.services, "services")
            message = f"unknown service {quoted(dependency.service)}"
            self.project.refuse(dependency.node, message, hint)
            return False
        if dependency.condition not in _CONDITIONS:
            message = f"condition {quoted(dependency.condition)} is not supported"
            hint = "containers of an inventory run all the time: write service_started"
            self.project.refuse(dependency.node, message, hint)
            return False
        return True

    def _circle(self, services: Mapping[str, ComposeService]) -> list[str]:
        """The services that wait for each other, after a finding about them."""
        graph = {
            name: [each.service for each in service.depends_on if each.service in services]
            for name, service in services.items()
        }
        circle = cycle(graph)
        if circle:
            order = list(services)
            start = circle.index(min(circle, key=order.index))
            names = [*circle[start:], *circle[: start + 1]]
            if len(set(circle)) < len(circle):
                names = circle
            nodes = services[names[0]].depends_on
            node = next(each.node for each in nodes if each.service in names)
            message = f"services wait for each other: {' → '.join(names)}"
            self.project.refuse(node, message, "remove one of these depends_on")
        return circle

    def _volumes(self, service: ComposeService) -> list[str]:
        """The volumes of a service with Docker's names of the named ones."""
        texts = []
        for k, text in enumerate(service.keys.get("volumes", [])):
            source, colon, rest = text.partition(":")
            if source.startswith("/") or not colon:
                texts.append(text)
            elif source in self.project.volumes:
                texts.append(f"{self.project.volumes[source]}:{rest}")
            else:
                position = service.positions[("volumes", k)]
                hint = f"write it below the key volumes of the file: {source}: {{}}"
                message = f"service {quoted(service.name)} uses an unknown volume {quoted(source)}"
                self.project.refuse_at(position, message, hint)
        return texts

    def _shared_volumes(self, services: Mapping[str, ComposeService]) -> None:
        """A named volume is on one host, so services that share it are on the same."""
        for service in services.values():
            hosts = {host for _, host in self.copies[service.name]}
            for k, text in enumerate(service.keys.get("volumes", [])):
                source = text.partition(":")[0]
                if source.startswith("/") or not hosts:
                    continue
                volume = (self.project.name, self.project.volumes.get(source, source))
                first, theirs = self.users.setdefault(volume, (service.name, hosts))
                if theirs != hosts:
                    message = (
                        f"services {quoted(first)} and {quoted(service.name)} are on different"
                        f" hosts, and a host does not see the volume {quoted(source)} of another"
                    )
                    hint = "place them on one host, or use volumes of different names"
                    position = service.positions[("volumes", k)]
                    self.project.refuse_at(position, message, hint, hosts | theirs)
