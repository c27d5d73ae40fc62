"""EVPN on one host as vtysh and the kernel print it: for `show`, and for `verify`. Pure."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from operator import itemgetter
from typing import Any

from provision.facts.host import HostFacts
from provision.methods import Row
from provision.methods._shared import bgp_sessions
from provision.methods._shared.bgp_options import PORT
from provision.methods._shared.bgp_sessions import BgpSession
from provision.methods._shared.status_tables import of_network
from provision.methods.vxlan.device import device_name
from provision.methods.vxlan.evpn import speaker_of
from provision.methods.vxlan.options import vni
from provision.model.inventory import Inventory, Network
from provision.model.names import gateway
from provision.model.text import count, listed
from provision.resources.lib.vxlan_forwards import ANY
from provision.resources.render import render

SESSION_COLUMNS = ("peer", "state", "for", "routes received")
NEIGHBOUR_COLUMNS = ("address", "MAC", "at")
_WAIT_S = 20


@dataclass(frozen=True, slots=True)
class EvpnStatus:
    """EVPN in a network on one host. `error`: why there is no answer; empty if there is.

    `vteps` are the hosts to which broadcasts go, and `macs` the VTEPs of MACs, as FRR knows them:
    addresses of hosts; that of a MAC or neighbour of the host itself is empty. `neighbours`: MAC
    and VTEP by IPv4 address. `entries`: MAC and VTEP of each entry that the kernel has.
    `rejected`: packets that the kernel dropped meanwhile because of their password.
    """

    host: str
    network: str
    sessions: tuple[BgpSession, ...] = ()
    vteps: tuple[str, ...] = ()
    macs: Mapping[str, str] | None = None
    neighbours: Mapping[str, tuple[str, str]] | None = None
    entries: tuple[tuple[str, str], ...] = ()
    error: str = ""
    rejected: int = 0


def script(inventory: Inventory, host: str, networks: Iterable[Network], *, wait: bool) -> str:
    """A script that prints the status of each network.

    With `wait`, it waits up to 20 s for all sessions, and for the neighbours on all hosts.
    """
    return "".join(_script(inventory, host, network, wait=wait) for network in networks)


def _script(inventory: Inventory, host: str, network: Network, *, wait: bool) -> str:
    speaker = speaker_of(inventory, network, host)
    counts = {name: len(each) for name, each in _expected(inventory, network).items()}
    return render(
        "evpn/status.sh.j2",
        unit=speaker.unit,
        folder=speaker.run_folder,
        network=network.name,
        device=device_name(inventory, network),
        vni=vni(inventory, network),
        port=PORT,
        sessions=len(bgp_sessions.partners(network, host)),
        local=counts[host],
        remote=sum(counts.values()) - counts[host],
        wait_s=_WAIT_S if wait else 0,
    )


def _expected(inventory: Inventory, network: Network) -> dict[str, list[str]]:
    """The names of what each host announces: its gateway, and the containers of the inventory."""
    names = {host: ["its gateway"] for host in network.hosts}
    for member in inventory.members.values():
        if member.network == network.name and member.host in names:
            names[member.host].append(member.name)
    return names


def parse(
    inventory: Inventory, host: str, networks: Iterable[Network], text: str
) -> tuple[EvpnStatus, ...]:
    """The status of each network, from the output of `script` on one host."""
    return tuple(_status(inventory, host, network, text.splitlines()) for network in networks)


def _status(inventory: Inventory, host: str, network: Network, lines: list[str]) -> EvpnStatus:
    key = f"evpn {network.name} "
    answers = [line.removeprefix(key) for line in lines if f"{line} ".startswith(key)]
    try:
        decoded = [dict(json.loads(answer)) for answer in answers]
        summary, of_vni, macs, neighbours = decoded
    except (TypeError, ValueError):
        wrong = (answer for answer in answers if not answer.startswith("{"))
        return EvpnStatus(host, network.name, error=next(filter(None, wrong), "no answer"))
    entry = f"entry {network.name} "
    entries = (line.removeprefix(entry).split() for line in lines if line.startswith(entry))
    return EvpnStatus(
        host,
        network.name,
        bgp_sessions.parse(inventory, network, summary.get("l2VpnEvpn", summary)),
        tuple(sorted(_vteps(of_vni))),
        {mac: str(each.get("remoteVtep", "")) for mac, each in macs.get("macs", {}).items()},
        dict(_neighbours(neighbours)),
        tuple((mac, vtep) for mac, vtep in entries),
        "",
        bgp_sessions.rejected_packets(network, lines),
    )


def _vteps(answer: Mapping[str, Any]) -> Iterator[str]:
    # FRR 8.4 has the addresses under the key of their number, 10.3 and 10.7 as objects.
    number = answer.get("numRemoteVteps")
    for each in answer.get("remoteVteps", number if isinstance(number, list) else ()):
        yield str(each["ip"] if isinstance(each, dict) else each)


def _neighbours(answer: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    for address, each in answer.items():
        # zebra withdraws a neighbour whose MAC is gone, and keeps it as inactive until it fails.
        known = isinstance(each, dict) and "mac" in each and each.get("state") != "inactive"
        if known and ":" not in address:
            yield str(IPv4Address(address)), (str(each["mac"]), str(each.get("remoteVtep", "")))


def sessions_error(
    inventory: Inventory, network: Network, facts: HostFacts, statuses: tuple[EvpnStatus, ...]
) -> str:
    """The hosts with which the host has no session, and peers that are no host."""
    status = of_network(statuses, network)
    return status.error or bgp_sessions.error(network, facts.host, status.sessions, status.rejected)


def vteps_error(
    inventory: Inventory, network: Network, facts: HostFacts, statuses: tuple[EvpnStatus, ...]
) -> str:
    """The hosts that get no broadcasts, in FRR or in the kernel, and what leads to no host."""
    status = of_network(statuses, network)
    if status.error:
        return status.error
    names = {str(inventory.hosts[name].address): name for name in network.hosts}
    floods = {vtep for mac, vtep in status.entries if mac == ANY}
    errors = []
    for address, name in names.items():
        if name != facts.host and address not in status.vteps:
            errors.append(f"{name} does not announce the vni {vni(inventory, network)}")
        elif name != facts.host and address not in floods:
            errors.append(f"the kernel has no entry for broadcasts to {name}")
    strangers = {*status.vteps, *floods, *(vtep for _, vtep in status.entries)} - names.keys()
    if strangers:
        errors.append(f"{listed(tuple(sorted(strangers)))} is no host of the network")
    return "; ".join(errors)


def neighbours_error(
    inventory: Inventory, network: Network, facts: HostFacts, statuses: tuple[EvpnStatus, ...]
) -> str:
    """The containers that EVPN does not know, and entries in which it and the kernel differ."""
    status = of_network(statuses, network)
    if status.error:
        return status.error
    names = {str(inventory.hosts[name].address): name for name in network.hosts}
    names |= {"": facts.host}
    expected, by_range = _expected(inventory, network), _by_range(network, status, names)
    announced = (
        error
        for name in network.hosts
        for error in _announced_errors(network, name, expected[name], by_range[name])
    )
    return "; ".join((*announced, *_table_errors(status, names)))


def _by_range(
    network: Network, status: EvpnStatus, names: dict[str, str]
) -> dict[str, dict[str, str]]:
    """The host that announces an address, by address, for each host whose range has it.

    Each address is looked up once: a large network has many, on each of many hosts.
    """
    starts = sorted((subnet.network_address, name) for name, subnet in network.subnets.items())
    by_range: dict[str, dict[str, str]] = {name: {} for name in network.hosts}
    for address, (_, vtep) in (status.neighbours or {}).items():
        number = IPv4Address(address)
        index = bisect_right(starts, number, key=itemgetter(0)) - 1
        name = starts[max(index, 0)][1]
        if number in network.subnets[name]:
            by_range[name][address] = names.get(vtep, vtep)
    return by_range


def _announced_errors(
    network: Network, name: str, expected: list[str], of_range: dict[str, str]
) -> Iterator[str]:
    """Yield the addresses of a host's range that it does not announce, or that another does."""
    subnet = network.subnets[name]
    announced = [address for address, host in of_range.items() if host == name]
    if str(gateway(subnet)) not in announced or len(announced) < len(expected):
        number = count(len(announced), "address")
        yield f"{name} announces {number} of {subnet}, not those of {listed(tuple(expected))}"
    for address, host in of_range.items():
        if host != name:
            yield f"{address} of {name} is announced by {host}"


def _table_errors(status: EvpnStatus, names: dict[str, str]) -> Iterator[str]:
    """Yield the entries that FRR and the kernel do not both have."""
    kernel = {(mac, vtep) for mac, vtep in status.entries if mac != ANY}
    remote = {(mac, vtep) for mac, vtep in (status.macs or {}).items() if vtep}
    for mac, vtep in sorted(remote - kernel):
        yield f"the kernel has no entry for {mac} at {names.get(vtep, vtep)}"
    for mac, vtep in sorted(kernel - remote):
        yield f"the kernel has {mac} at {names.get(vtep, vtep)}, which FRR does not know"


def session_rows(status: EvpnStatus) -> Iterator[Row]:
    """The rows of the table of sessions, without the host and the network."""
    yield from map(bgp_sessions.row, status.sessions)


def neighbour_rows(status: EvpnStatus) -> Iterator[Row]:
    """The rows of the table of neighbours, without the host and the network."""
    for address, (mac, vtep) in _sorted(status):
        yield address, mac, vtep or status.host


def _sorted(status: EvpnStatus) -> list[tuple[str, tuple[str, str]]]:
    return sorted((status.neighbours or {}).items(), key=lambda pair: IPv4Address(pair[0]))


def json_fields(status: EvpnStatus) -> dict[str, Any]:
    """The fields of a status in the JSON of `show --json`."""
    return {
        "sessions": [bgp_sessions.json_fields(s, "routes_received") for s in status.sessions],
        "vteps": list(status.vteps),
        "neighbours": [
            {"address": address, "mac": mac, "vtep": vtep or None}
            for address, (mac, vtep) in _sorted(status)
        ],
    }
