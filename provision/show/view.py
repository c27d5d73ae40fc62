"""Hosts as they are wired, by one execution each. Changes nothing, and judges nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from provision.engine.fleet import LOOK_S, Session, each
from provision.facts import topology_probe
from provision.facts.gather import SIZE_LIMIT
from provision.facts.topology import ContainerInfo, DnatRule, HostTopology, NamespaceLink
from provision.methods.flannel import view as overlay
from provision.methods.flannel.view import Overlay
from provision.model.errors import ExitStatus, FactsError, HostError
from provision.model.inventory import Inventory, Network
from provision.resources.script import PRELUDE


@dataclass(frozen=True, slots=True)
class View:
    """What was asked for, and what each host that answered is like."""

    inventory: Inventory
    hosts: tuple[str, ...]
    found: Mapping[str, HostTopology]
    errors: tuple[HostError, ...]
    overlays: tuple[Overlay, ...] = ()
    """Each flannel network, as each of its hosts that answered sees it."""

    @property
    def exit_status(self) -> ExitStatus:
        """4 when a host could not be asked."""
        return ExitStatus.HOST if self.errors else ExitStatus.OK


def view(session: Session, hosts: tuple[str, ...]) -> View:
    """Look at hosts; one that does not answer is an error beside the others."""

    def look(host: str) -> tuple[HostTopology, tuple[Overlay, ...]]:
        script = PRELUDE + topology_probe.script() + "\n" + overlay.script(session.inventory, host)
        output = session.transport.run(host, script, timeout_s=min(LOOK_S, session.timeout_s))
        if output.status or len(output.stdout) > SIZE_LIMIT:
            tail = output.stderr.strip()[-500:] or f"exit status {output.status}"
            tail = tail if output.status else f"it printed more than {SIZE_LIMIT} bytes"
            raise FactsError(host, f"how it is wired cannot be seen: {tail}")
        overlays = overlay.seen(session.inventory, host, output.stdout)
        return topology_probe.parse(host, output.stdout), overlays

    looks, errors = each(session, hosts, look)
    found = {host: wired for host, (wired, _) in looks.items()}
    overlays = tuple(one for _, each_of in looks.values() for one in each_of)
    return View(session.inventory, hosts, found, tuple(errors.values()), overlays)


def leader(found: HostTopology, lodger: ContainerInfo) -> ContainerInfo | None:
    """The container whose network namespace this one lives in, by inodes and not by names.

    Itself, when nobody else brought it; None in the host's namespace and without a process.
    """
    if not lodger.net or lodger.net == found.root.inode:
        return None
    others = (one for one in found.namespace_owners() if one.net == lodger.net)
    return next(others, next(one for one in found.containers.values() if one.net == lodger.net))


def whose(found: HostTopology, lodger: ContainerInfo) -> str:
    """Whose network namespace it lives in: `host`, `own`, another container's name, or nobody's."""
    if not lodger.net:
        return ""
    first = leader(found, lodger)
    if first is None:
        return "host"
    return "own" if first == lodger else first.name


def rule(found: HostTopology, lodger: ContainerInfo, place: str, inside: str) -> DnatRule | None:
    """The DNAT rule of Docker's that leads a published port to where the container is now."""
    at, _, port = place.rpartition(":")
    target, _, protocol = inside.partition("/")
    space = found.namespaces.get(lodger.net)
    for one in found.dnat_rules if space else ():
        asked = (at, port, target, protocol)
        has = (str(one.ip or "0.0.0.0"), str(one.port), str(one.target), one.protocol)
        if has == asked and one.to in space.addresses:  # type: ignore[union-attr]
            return one
    return None


def stray(found: HostTopology) -> Iterator[DnatRule]:
    """DNAT rules that lead to no published port of a container that runs."""
    known = [
        rule(found, lodger, place, inside)
        for lodger in found.containers.values()
        for place, inside in lodger.published
    ]
    yield from (one for one in found.dnat_rules if one not in known)


def bridge(found: HostTopology, network: Network) -> NamespaceLink | None:
    """The bridge that holds an address of the host's part of a network, or is named for it."""
    subnet = network.subnets.get(found.host)
    for link in found.root.links:
        if subnet and link.kind in BRIDGES and any(own.ip in subnet for own in link.addresses):
            return link
    return found.root.link(found.bridges.get(network.name, ""))


def bridges(found: HostTopology) -> tuple[NamespaceLink, ...]:
    """The host's bridges."""
    return tuple(link for link in found.root.links if link.kind in BRIDGES)


def docker_network(found: HostTopology, bridge: NamespaceLink) -> str:
    """The name of Docker's network on a bridge."""
    return next((name for name, link in found.bridges.items() if link == bridge.name), "")


BRIDGES = ("bridge", "openvswitch")
"""Kinds of links that have ports."""
