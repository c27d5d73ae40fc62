"""Causes that are certain before a probe is sent: hosts and containers that do not run. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from provision.checks.explain.ends import End
from provision.checks.explain.model import Cause
from provision.facts.topology import HostTopology
from provision.model.errors import HostError
from provision.model.inventory import Inventory


def before(
    inventory: Inventory, source: End, target: End, topologies: Mapping[str, HostTopology],
    errors: Mapping[str, HostError],
) -> Cause | None:  # fmt: skip
    """The cause that is certain before anything is sent; None if the probe can be sent."""
    for end in (source, target):
        if end.host in errors and (end is source or end.container):
            error = errors[end.host]
            return Cause(
                end.host, "host_unreachable", end.host,
                f"{end.host} cannot be asked: {error.message}", "a person",
                error.hint or f"ssh {end.host}", certain=False,
            )  # fmt: skip
    for end in (source, target):
        known = end.container is not None and end.host in topologies
        if known and (reason := _not_running(inventory, end, topologies[end.host])):
            return reason
    return None


def _not_running(inventory: Inventory, end: End, topology: HostTopology) -> Cause | None:
    name, apply = end.name, f"provision apply {inventory.argument}"
    if topology.docker_error:
        return Cause(
            end.host, "docker_down", "docker.service",
            f"Docker of {end.host} does not answer, so {name} does not run: "
            f"{topology.docker_error}", "a person", "systemctl start docker",
        )  # fmt: skip
    assert end.container is not None
    info = topology.container(end.container)
    if end.container.guest is not None:
        if info is None:
            return Cause(
                end.host, "container_stopped", f"guest {name}",
                f"{end.host} has no single container that is the guest {name}", "a person",
                "docker ps --all",
            )  # fmt: skip
        name = info.name
    if info is None:
        return Cause(
            end.host, "drift", f"container {name}", f"{end.host} has no container {name}",
            "provision", apply,
        )  # fmt: skip
    if not info.net:
        return Cause(
            end.host, "container_stopped", f"container {name} ({info.status})",
            f"the container {name} on {end.host} does not run: its state is {info.status}",
            "a person", f"docker start {name}",
        )  # fmt: skip
    space = topology.namespaces[info.net]
    separate = info.net != topology.root.inode
    links_ = [link for link in space.links if link.name != "lo"]
    if separate and not space.addresses - {
        a for link in space.links if link.name == "lo" for a in (h.ip for h in link.addresses)
    }:
        if info.mode == "none" and not links_:
            return Cause(
                end.host, "address_missing", f"container {name}",
                f"{name} has the network mode none: it has no interface but lo", "provision",
                f"give {name} a network or interfaces in {inventory.argument}",
            )  # fmt: skip
        return Cause(
            end.host, "address_missing", f"address of {name}",
            f"no interface of the container {name} on {end.host} has an IPv4 address", "a person",
            f"docker restart {name}",
        )  # fmt: skip
    return None


def without_address(inventory: Inventory, target: End) -> Cause:
    """The cause if the target has no address that the source can send to."""
    return Cause(
        target.host, "address_missing", target.name,
        f"{target.name} has no IPv4 address that a packet could be sent to", "a person",
        f"provision apply {inventory.argument}", certain=False,
    )  # fmt: skip
