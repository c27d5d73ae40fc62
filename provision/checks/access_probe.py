"""Probes of `access`: hosts that may reach containers, and packets that must not. Pure.

A host of the inventory connects to containers of other hosts. The stranger's packets have a source
address that no host has. Another host sends them to the MAC address of the container's host, as any
machine on the LAN could, and the sniffer of that host tells what became of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from provision import methods
from provision.checks.pair_choice import ALL_PAIRS, PairChoice
from provision.checks.ports import Opening
from provision.checks.probe import Endpoint, Listener
from provision.checks.wire import Capture
from provision.facts.host import HostFacts
from provision.model.inventory import Container, Inventory, Network
from provision.resources.render import program_text
from provision.resources.script import quoted

_DOCUMENTATION = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
"""Ranges of addresses for documentation (RFC 5737), which no machine has."""


@dataclass(frozen=True, slots=True)
class AccessProbe:
    """A connection of the host `source` to a container, or packets that it sends as `stranger`."""

    source: str
    target: Container
    stranger: IPv4Address | None = None


def probes(
    inventory: Inventory,
    facts: Mapping[str, HostFacts],
    hosts: tuple[str, ...],
    choice: PairChoice = ALL_PAIRS,
) -> tuple[AccessProbe, ...]:
    """The chosen probes between `hosts`, of all networks with `access`."""
    return tuple(
        probe
        for target in inventory.members.values()
        if target.host in hosts and (network := _network(inventory, target)) is not None
        for probe in _of_target(inventory, network, facts, hosts, target, choice)
    )


def _network(inventory: Inventory, container: Container) -> Network | None:
    network = inventory.networks.get(container.network)
    return network if network is not None and network.access is not None else None


def _of_target(
    inventory: Inventory,
    network: Network,
    facts: Mapping[str, HostFacts],
    hosts: tuple[str, ...],
    target: Container,
    choice: PairChoice,
) -> Iterator[AccessProbe]:
    first = hosts.index(target.host) + 1
    peers = [host for host in (*hosts[first:], *hosts[:first]) if host != target.host]
    allowed = [host for host in peers if _is_allowed(inventory, network, facts, host, target.host)]
    if allowed:
        for host in choice.callers(allowed, allowed[0], f"access {target.name}"):
            yield AccessProbe(host, target)
    stranger = _stranger(network)
    senders = [host for host in peers if _is_next_hop(inventory, network, facts, host, target.host)]
    if senders and stranger is not None:
        yield AccessProbe(senders[0], target, stranger)


def _is_allowed(
    inventory: Inventory,
    network: Network,
    facts: Mapping[str, HostFacts],
    host: str,
    target: str,
) -> bool:
    """True if the host has a route to the target's containers, and they let it in."""
    access, address = network.access, inventory.hosts[host].address
    assert access is not None
    if host not in facts or target not in facts:
        return False
    if host not in network.subnets:
        # Only a host on the same link gets a route.
        return access.hosts and _on_link(inventory, facts[host], target)
    if access.hosts or methods.members_reach(inventory, network):
        return True
    if methods.of(network).strict_device(inventory, network):
        return False  # its packets leave with another address, which the peers do not take
    by_range = any(address in source for source in access.ranges)
    return by_range or _device(inventory, facts[target], host) in access.interfaces


def _is_next_hop(
    inventory: Inventory,
    network: Network,
    facts: Mapping[str, HostFacts],
    host: str,
    target: str,
) -> bool:
    """True if a packet from the host reaches the target by an interface that is not allowed."""
    assert network.access is not None
    if host not in facts or target not in facts or not _on_link(inventory, facts[host], target):
        return False
    return _device(inventory, facts[target], host) not in network.access.interfaces


def _on_link(inventory: Inventory, facts: HostFacts, peer: str) -> bool:
    route = facts.peer_routes.get(inventory.hosts[peer].address)
    return route is not None and route.via is None


def _device(inventory: Inventory, facts: HostFacts, peer: str) -> str:
    """The interface by which packets of a peer come in; empty without a route to it."""
    route = facts.peer_routes.get(inventory.hosts[peer].address)
    return route.dev if route else ""


def _stranger(network: Network) -> IPv4Address | None:
    """An address that `access` does not allow; None if it allows all of them."""
    assert network.access is not None
    for text in _DOCUMENTATION:
        candidates = IPv4Network(text)
        if not any(candidates.overlaps(source) for source in network.access.ranges):
            return candidates[77]
    return None


def openings(
    chosen: Iterable[AccessProbe],
    endpoints: Mapping[str, Endpoint],
    listeners: Mapping[str, Listener],
) -> Iterator[Opening]:
    """The connections of hosts to our listeners in containers."""
    for probe in chosen:
        name = probe.target.name
        address = endpoints[name].address if name in endpoints else None
        if probe.stranger is None and name in listeners and address is not None:
            yield Opening(
                "access", probe.source, probe.source, 0, name, "tcp", address,
                listeners[name].port, our_listener=True,
            )  # fmt: skip


def script(
    chosen: Iterable[AccessProbe],
    endpoints: Mapping[str, Endpoint],
    inventory: Inventory,
    facts: HostFacts,
) -> str:
    """A script that sends the stranger's packets of one host; empty without any."""
    arguments: list[str] = []
    for probe in chosen:
        end = endpoints.get(probe.target.name)
        if probe.source == facts.host and probe.stranger is not None and end and end.address:
            router = inventory.hosts[probe.target.host].address
            device = facts.peer_routes[router].dev
            arguments += [device, str(router), str(probe.stranger), str(end.address)]
    if not arguments:
        return ""
    return quoted(("perl", "-e", program_text("checks/stranger.pl"), *arguments)) + " &\n"


def sniffed(inventory: Inventory) -> tuple[str, ...]:
    """The arguments with which the sniffer counts the stranger's packets: SOURCE>RANGE."""
    networks = [network for network in inventory.networks.values() if network.access is not None]
    pairs = [(network, _stranger(network)) for network in networks]
    return tuple(f"from={source}>{network.cidr}" for network, source in pairs if source)


def skip_reason(capture: Capture | None, source: IPv4Address, target: IPv4Address) -> str:
    """The reason why the stranger's packets cannot be judged; empty if they can."""
    if capture is None or capture.error:
        return f"no frame counts: {capture.error if capture else 'the host did not answer'}"
    if capture.missed:
        return f"it is too busy: its sniffer missed {capture.missed} frames"
    if not any(not frame.outgoing for frame in capture.between(source, target)):
        return f"no packet of {source} came to the host: the network between drops it"
    return ""


def passed_on(capture: Capture, source: IPv4Address, target: IPv4Address) -> tuple[str, ...]:
    """The interfaces by which a host passed on the stranger's packets."""
    frames = capture.between(source, target)
    return tuple(dict.fromkeys(frame.dev for frame in frames if frame.outgoing))
