"""Method `bgp`: each host announces its subnet by BGP and learns the others' from two hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import provision.methods.bgp.rules as rules
import provision.methods.bgp.speaker as speaker
import provision.methods.bgp.status as status
from provision.facts.host import HostFacts
from provision.facts.probe import FactsProbe
from provision.methods import ClashKey, Facts, HostCheck, Method, Row
from provision.methods._shared import (
    bgp_rules,
    docker_bridge,
    frr_facts,
    frr_needs,
    status_tables,
)
from provision.methods._shared.bgp_options import check_password, reflectors
from provision.methods.bgp.options import BgpOptions, links, options
from provision.methods.bgp.status import SpeakerStatus
from provision.model.findings import Finding
from provision.model.inventory import Inventory, Network
from provision.model.needs import Need
from provision.model.problems import Problem
from provision.resources.base import Resource

if TYPE_CHECKING:
    from provision.model.documents import Decoded, Layout

_ONE_LINK = (
    "name the ranges of all links as links, with a router of each as routers, or use method vxlan"
)


class BgpMethod(Method):
    """Routes between the hosts' subnets, which FRR exchanges; packets travel as they are."""

    name = "bgp"
    Options = BgpOptions
    sole = frr_facts.SOLE
    checks = (
        HostCheck("sessions", status.sessions_error),
        HostCheck("subnets", status.subnets_error),
    )
    packages: ClassVar = {"vtysh": ("frr",)}
    secrets: ClassVar = {"password": check_password, "router_password": check_password}

    def check_file(self, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
        """Yield the mistakes in this method's networks."""
        yield from super().check_file(decoded, layout)
        for name in self.documents(decoded):
            yield from rules.findings(name, decoded, layout)

    def clash_keys(self, name: str, decoded: Decoded) -> Iterator[ClashKey]:
        """Yield what no other network of the same hosts may use."""
        yield from super().clash_keys(name, decoded)
        yield bgp_rules.port_key("method", "write method: routes")

    def needs_peers(self, network: Network, host: str) -> bool:
        """True for a strict reflector: it knows the subnet of each host that calls it."""
        return options(network).strict and host in reflectors(network)

    def facts(self, inventory: Inventory, host: str) -> tuple[FactsProbe, ...]:
        """The probe for an FRR of others."""
        return (frr_facts.probe(),)

    def desired(self, inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
        """Yield a bridge, a BGP speaker and firewall rules for each host."""
        mtu = self.mtu(inventory, network, facts)
        for host in network.hosts:
            if host not in facts:
                continue
            nics = docker_bridge.nics(inventory, network, facts[host])
            yield from docker_bridge.forwarding(inventory, network, facts[host], nics)
            yield docker_bridge.bridge(inventory, network, facts[host], mtu=mtu, nics=nics)
            yield from speaker.resources(inventory, network, facts[host])
            yield from docker_bridge.chains(inventory, network, host, nics)

    def check_host(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield the reasons why one host cannot carry its part of the network."""
        yield from docker_bridge.problems(inventory, network, facts)
        routed = speaker.routed_peers(inventory, network, facts.host)
        yield from docker_bridge.peer_problems(
            inventory, network, facts, one_link=_ONE_LINK, routed=routed
        )
        yield from frr_facts.problems(inventory, facts, "method: routes", ("bgp", "evpn"))
        yield from speaker.router_problems(inventory, network, facts)

    def firewall_needs(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Need]:
        """Yield the packets of a network that the firewalls of one host must let through."""
        yield from super().firewall_needs(inventory, network, facts)
        yield from frr_needs.needs(inventory, network, facts, links(network))

    def ports(self, network: Network, host: str) -> tuple[str, ...]:
        """Ports of the host that the network may take."""
        return frr_needs.ports(network, host)

    def tools(self, network: Network, host: str) -> tuple[str, ...]:
        """Commands that a host needs in addition to those that every host needs."""
        return ("vtysh",)

    def table_service(self, inventory: Inventory, network: Network) -> str:
        """The service of FRR, which makes the routes to the other hosts' subnets."""
        return speaker.speaker_of(inventory, network, network.hosts[0]).unit

    def status_script(self, inventory: Inventory, host: str, *, wait: bool = False) -> str:
        """Read the sessions and the routes of a host's speakers."""
        return status.script(inventory, host, self.networks(inventory, host), wait=wait)

    def parse_status(self, inventory: Inventory, host: str, text: str) -> tuple[SpeakerStatus, ...]:
        """The status of each speaker of a host."""
        return status.parse(inventory, host, self.networks(inventory, host), text)

    def show_tables(
        self, statuses: Mapping[str, tuple[SpeakerStatus, ...]]
    ) -> Iterator[tuple[str, Row, tuple[Row, ...]]]:
        """Yield the table of sessions."""
        yield from status_tables.tables("BGP sessions", status.COLUMNS, statuses, status.rows)

    def show_json(self, statuses: Mapping[str, tuple[SpeakerStatus, ...]]) -> Mapping[str, Any]:
        """The key `bgp`."""
        return status_tables.as_json("bgp", statuses, status.json_fields)
