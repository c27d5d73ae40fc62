"""The networks of services: those of the project are one network of the inventory. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from provision.inventory.compose.project import Project
from provision.inventory.compose.shape import ComposeService, ServiceNetwork, Target
from provision.inventory.yaml_reader import Node
from provision.model.findings import Loc, Position
from provision.model.suggest import did_you_mean
from provision.model.text import count, quoted


def join(project: Project, target: Target, services: Iterable[ComposeService]) -> None:
    """Find the networks of the inventory that each service is on.

    The project's own networks are all that of the item of `compose`, so that a service on another
    one would not be apart from the rest, as its author wants. External ones have the names of the
    inventory.
    """
    first: tuple[str, str] | None = None
    for service in services:
        if _is_on_external_default(project, service):
            service.networks = [replace(service.key, value="default")]
        names = [str(node.value) for node in service.networks]
        known = [name for name in names if name in project.networks or name == "default"]
        for node in service.networks:
            if str(node.value) not in known:
                hint = did_you_mean(str(node.value), project.networks, "networks")
                project.refuse(node, f"unknown network {quoted(node.value)}", hint)
        if service.network_mode is None and (known or not names):
            _join(project, target, service, known)
            own = [name for name in known if project.networks.get(name) is None]
            if len(own) > 1:
                _refuse_second(project, target, service, own)
            elif own or not names:
                # Compose puts a service without `networks` on `default`.
                first = _same_network(project, target, service, own[0] if own else "default", first)


def _is_on_external_default(project: Project, service: ComposeService) -> bool:
    """True if a service names no network, and `default` is one that others made."""
    is_free = not service.networks and service.network_mode is None
    return is_free and project.networks.get("default") is not None


def _join(
    project: Project, target: Target, service: ComposeService, known: Collection[str]
) -> None:
    for node in service.networks:
        name = str(node.value)
        if name not in known:
            continue
        network = project.networks.get(name) or target.network
        if network not in (target.network, *target.others):
            hint = did_you_mean(network, tuple(target.others), "networks")
            project.refuse(node, f"the inventory has no network {quoted(network)}", hint)
            continue
        _count(project, service, network, node)
        _count_mac(project, service, network, name)


def _count(project: Project, service: ComposeService, network: str, node: Node) -> None:
    """Put a service on a network of the inventory, which it may name twice."""
    text, at = service.addresses.get(str(node.value), (None, node))
    address = None if text is None else (text, project.position(at))
    k = next((k for k, each in enumerate(service.joined) if each.name == network), None)
    if k is None:
        service.joined.append(ServiceNetwork(network, project.position(node), address))
    elif address is not None and service.joined[k].address is None:
        service.joined[k] = replace(service.joined[k], address=address)
    elif address is not None:
        message = f"service {quoted(service.name)} has a second address in network '{network}'"
        project.refuse(at, message, "write one of them")


def _count_mac(project: Project, service: ComposeService, network: str, name: str) -> None:
    """Let the MAC address of a network count, which Docker gives to the first one alone."""
    if name not in service.macs:
        return
    text, node = service.macs[name]
    if network != service.joined[0].name:
        message = f"service {quoted(service.name)} has a MAC address in {quoted(name)}, which is"
        hint = f"remove it, or write {name} first in 'networks'"
        project.refuse(node, f"{message} not the first of its networks", hint)
    elif service.keys.get("mac", text) != text:
        message = f"service {quoted(service.name)} has a second MAC address in network '{network}'"
        project.refuse(node, message, "write one of them")
    else:
        service.keys["mac"] = text
        service.positions[("mac",)] = project.position(node)


def _refuse_second(
    project: Project, target: Target, service: ComposeService, own: Sequence[str]
) -> None:
    message = f"service {quoted(service.name)} is on {count(len(own), 'network')} of the project"
    hint = (
        f"name one: each is '{target.network}'; or give {own[1]} a network of the inventory:"
        f" {own[1]}: {{name: NETWORK, external: true}}"
    )
    node = next(each for each in service.networks if str(each.value) == own[1])
    project.refuse(node, message, hint)


def _same_network(
    project: Project,
    target: Target,
    service: ComposeService,
    name: str,
    first: tuple[str, str] | None,
) -> tuple[str, str]:
    """The first service with a network of the project; others have to be on the same."""
    if first is not None and first[1] != name:
        message = (
            f"service {quoted(service.name)} is on {quoted(name)}, apart from"
            f" {quoted(first[0])} on {quoted(first[1])}"
        )
        hint = f"name one network: all services of the project are on '{target.network}'"
        node = next((each for each in service.networks if str(each.value) == name), service.key)
        project.refuse(node, message, hint)
    return first or (service.name, name)


def keys(
    joined: Sequence[ServiceNetwork], default: str, positions: dict[Loc, Position]
) -> dict[str, Any]:
    """The keys of a container for its networks; `positions` gets theirs.

    The inventory itself names the network `default`.
    """
    first, *further = joined
    entry: dict[str, Any] = {"network": first.name}
    if first.name != default:
        positions[("network",)] = first.position
    if first.address is not None:
        entry["address"], positions[("address",)] = first.address
    for k, each in enumerate(further):
        item = {"network": each.name}
        positions[("networks", k)] = each.position
        if each.address is not None:
            item["address"], positions[("networks", k, "address")] = each.address
        entry.setdefault("networks", []).append(item)
    return entry
