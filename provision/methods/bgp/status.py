"""The BGP speakers of one host as vtysh prints them: for `show`, and for `verify`. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from provision.facts.host import HostFacts
from provision.methods import Row
from provision.methods._shared import bgp_sessions
from provision.methods._shared.bgp_options import PORT
from provision.methods._shared.bgp_sessions import ESTABLISHED, BgpSession
from provision.methods._shared.status_tables import of_network
from provision.methods.bgp.options import PROTOCOL, Router, options, routers_of
from provision.methods.bgp.speaker import speaker_of
from provision.model.inventory import Inventory, Network
from provision.model.text import listed
from provision.resources.render import render

COLUMNS = ("peer", "state", "for", "subnets received")
_TRIES = 200


@dataclass(frozen=True, slots=True)
class SpeakerStatus:
    """The speaker of a network on one host. `error`: why there is no answer; empty if there is.

    `next_hops` are the addresses to which the best routes lead, by subnet; the host's own subnet
    leads to `0.0.0.0`. `rivals` are those of its other paths. `rejected`: number of packets of
    strangers, or with another password, that the kernel dropped meanwhile.
    """

    host: str
    network: str
    sessions: tuple[BgpSession, ...]
    next_hops: dict[str, str]
    error: str
    rejected: int = 0
    rivals: dict[str, tuple[str, ...]] = field(default_factory=dict)


def script(inventory: Inventory, host: str, networks: Iterable[Network], *, wait: bool) -> str:
    """A script that prints the sessions and the routes of each speaker.

    With `wait`, it waits up to 20 s for a route to each host, of bgpd and of the kernel, and for
    all sessions.
    """
    return "".join(
        render(
            "bgp/status.sh.j2",
            unit=speaker_of(inventory, network, host).unit,
            folder=speaker_of(inventory, network, host).run_folder,
            cidr=network.cidr,
            peers=len(network.hosts) - 1,
            sessions=len(bgp_sessions.partners(network, host))
            + len(routers_of(inventory, network, host)),
            port=PORT,
            network=network.name,
            protocol=PROTOCOL,
            tries=_TRIES if wait else 0,
        )
        for network in networks
    )


def parse(
    inventory: Inventory, host: str, networks: Iterable[Network], text: str
) -> tuple[SpeakerStatus, ...]:
    """The status of each network, from the output of `script` on one host."""
    return tuple(_status(inventory, host, network, text.splitlines()) for network in networks)


def _status(inventory: Inventory, host: str, network: Network, lines: list[str]) -> SpeakerStatus:
    key = f"bgp {network.name} "
    answers = [line.removeprefix(key) for line in lines if f"{line} ".startswith(key)]
    try:
        summary, table = map(json.loads, answers)
    except ValueError:
        error = next(filter(None, answers), "no answer")
        return SpeakerStatus(host, network.name, (), {}, error)
    return SpeakerStatus(
        host,
        network.name,
        bgp_sessions.parse(inventory, network, summary),
        dict(_next_hops(table.get("routes", {}))),
        "",
        bgp_sessions.rejected_packets(network, lines),
        {subnet: tuple(_rivals(paths)) for subnet, paths in table.get("routes", {}).items()},
    )


def _next_hops(routes: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, str]]:
    for subnet, paths in routes.items():
        for path in paths:
            if path.get("bestpath"):
                yield str(IPv4Network(subnet)), str(path["nexthops"][0]["ip"])


def _rivals(paths: list[dict[str, Any]]) -> Iterator[str]:
    """The next hops of paths that are not the best, but of those that a dead peer has left."""
    for path in paths:
        if not path.get("bestpath") and not path.get("stale"):
            yield str(path["nexthops"][0]["ip"])


def sessions_error(
    inventory: Inventory, network: Network, facts: HostFacts, statuses: tuple[SpeakerStatus, ...]
) -> str:
    """The hosts and routers with which the host has no session, and peers that are neither."""
    status = of_network(statuses, network)
    if status.error:
        return status.error
    routers = routers_of(inventory, network, facts.host)
    called = tuple(str(router.address) for router in routers)
    up = {session.address for session in status.sessions if session.state == ESTABLISHED}
    silent = tuple(address for address in called if address not in up)
    cause = f"none with {_routers(silent)}: {_router_cause(network, facts.host)}" if silent else ""
    error = bgp_sessions.error(network, facts.host, status.sessions, status.rejected, called)
    return "; ".join(filter(None, (error, cause)))


def _routers(addresses: tuple[str, ...]) -> str:
    return f"{'router' if len(addresses) == 1 else 'routers'} {listed(addresses)}"


def _router_cause(network: Network, host: str) -> str:
    text = f"configure {host} there as a neighbor of AS {options(network).asn}"
    secret = network.secrets.keys() & {"password", "router_password"}
    return f"{text}, with the same password" if secret else text


def subnets_error(
    inventory: Inventory, network: Network, facts: HostFacts, statuses: tuple[SpeakerStatus, ...]
) -> str:
    """The subnets that the host has not learned, and those announced by another than their host."""
    status = of_network(statuses, network)
    if status.error:
        return status.error
    addresses = {name: str(inventory.hosts[name].address) for name in network.hosts}
    addresses[facts.host] = "0.0.0.0"  # FRR's next hop of what it announces itself
    names = {address: name for name, address in addresses.items()}
    errors = []
    for name, subnet in network.subnets.items():
        hop = status.next_hops.get(str(subnet))
        if hop is None:
            errors.append(f"{subnet} of {name} is not announced")
        elif hop != addresses[name]:
            errors.append(f"{subnet} of {name} is announced by {names.get(hop, hop)}")
        rivals = {rival for rival in status.rivals.get(str(subnet), ()) if rival != addresses[name]}
        for rival in sorted(rivals - {hop}):
            errors.append(f"{subnet} of {name} is announced by {names.get(rival, rival)}, too")
    errors += _strange_prefixes(network, status, names, routers_of(inventory, network, facts.host))
    return "; ".join(errors)


def _strange_prefixes(
    network: Network, status: SpeakerStatus, names: dict[str, str], routers: tuple[Router, ...]
) -> Iterator[str]:
    """The prefixes that neither a host has nor a router may announce."""
    known = set(map(str, network.subnets.values()))
    accepted = {str(router.address): router.accept or () for router in routers}
    for prefix, hop in status.next_hops.items():
        ranges = accepted.get(hop, ())
        if prefix not in known and not any(IPv4Network(prefix).subnet_of(r) for r in ranges):
            yield f"{names.get(hop, hop)} announces {prefix}, which no host has"


def rows(status: SpeakerStatus) -> Iterator[Row]:
    """The rows of the table of `show`, without the host and the network."""
    yield from map(bgp_sessions.row, status.sessions)


def json_fields(status: SpeakerStatus) -> dict[str, Any]:
    """The fields of a status in the JSON of `show --json`."""
    return {
        "sessions": [
            bgp_sessions.json_fields(session, "subnets_received") for session in status.sessions
        ],
        "next_hops": status.next_hops,
    }
