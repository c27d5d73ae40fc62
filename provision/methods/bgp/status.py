"""The BGP speakers of one host as vtysh prints them: for `show`, and for `verify`. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from provision.facts.host import HostFacts
from provision.methods import Row
from provision.methods._shared import bgp_sessions
from provision.methods._shared.bgp_options import PORT
from provision.methods._shared.bgp_sessions import BgpSession
from provision.methods.bgp.options import PROTOCOL
from provision.methods.bgp.speaker import speaker_of
from provision.model.inventory import Inventory, Network
from provision.resources.render import render

COLUMNS = ("peer", "state", "for", "subnets received")
_TRIES = 200


@dataclass(frozen=True, slots=True)
class SpeakerStatus:
    """The speaker of a network on one host. `error`: why there is no answer; empty if there is.

    `next_hops` are the addresses to which the best routes lead, by subnet; the host's own subnet
    leads to `0.0.0.0`. `rejected`: number of packets of strangers, or with another password, that
    the kernel dropped meanwhile.
    """

    host: str
    network: str
    sessions: tuple[BgpSession, ...]
    next_hops: dict[str, str]
    error: str
    rejected: int = 0


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
            sessions=len(bgp_sessions.partners(network, host)),
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
    )


def _next_hops(routes: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, str]]:
    for subnet, paths in routes.items():
        for path in paths:
            if path.get("bestpath"):
                yield subnet, str(path["nexthops"][0]["ip"])


def sessions_error(
    inventory: Inventory, network: Network, facts: HostFacts, statuses: tuple[SpeakerStatus, ...]
) -> str:
    """The hosts with which the host has no session, and peers that are no host."""
    status = _of(network, statuses)
    return status.error or bgp_sessions.error(network, facts.host, status.sessions, status.rejected)


def subnets_error(
    inventory: Inventory, network: Network, facts: HostFacts, statuses: tuple[SpeakerStatus, ...]
) -> str:
    """The subnets that the host has not learned, and those announced by another than their host."""
    status = _of(network, statuses)
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
    known = set(map(str, network.subnets.values()))
    for prefix, hop in status.next_hops.items():
        if prefix not in known:
            errors.append(f"{names.get(hop, hop)} announces {prefix}, which no host has")
    return "; ".join(errors)


def _of(network: Network, statuses: tuple[SpeakerStatus, ...]) -> SpeakerStatus:
    return next(status for status in statuses if status.network == network.name)


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
