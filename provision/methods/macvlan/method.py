"""Method `macvlan`: containers on the hosts' LAN, by Docker's driver macvlan on the host's NIC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

import provision.methods.macvlan.facts as host_facts
import provision.methods.macvlan.parent as parent
import provision.methods.macvlan.rules as rules
from provision.facts.host import HostFacts
from provision.facts.probe import FactsProbe
from provision.methods import Facts
from provision.methods._shared import lan_pool
from provision.methods._shared.lan_method import LanMethod
from provision.methods.macvlan.facts import ArpChecks
from provision.methods.macvlan.options import (
    MacvlanOptions,
    macvlan_options,
    placeholder,
)
from provision.model.findings import Finding, Loc
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.resources.base import Resource
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.lib.network_options import PARENT
from provision.resources.on_hosts import Mark

if TYPE_CHECKING:
    from provision.model.documents import Decoded, Layout, Member


class MacvlanMethod(LanMethod):
    """A Docker network of driver macvlan on each host, with a part of the pool."""

    name = "macvlan"
    Options = MacvlanOptions
    uses_bridge = False
    own_range = True

    def check_file(self, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
        """Yield the mistakes in this method's networks, and in the containers that use them."""
        yield from super().check_file(decoded, layout)
        for name, document in self.documents(decoded).items():
            yield from rules.findings(name, document, decoded, layout)

    def check_address(
        self, loc: Loc, container: Member, subnet: IPv4Network, decoded: Decoded
    ) -> Iterator[Finding]:
        """Yield the reasons why Docker cannot give a container its fixed address."""
        yield from super().check_address(loc, container, subnet, decoded)
        yield from rules.address_findings(loc, container, subnet, decoded)

    def withheld(self, network: Network, subnet: IPv4Network) -> Mapping[IPv4Address, str]:
        return rules.withheld(subnet, network.cidr, macvlan_options(network).gateway)

    def facts(self, inventory: Inventory, host: str) -> tuple[FactsProbe, ...]:
        """The probe for the host's Docker networks and for addresses in use."""
        networks = self.networks(inventory, host)
        checks = [_arp_checks(inventory, network, host) for network in networks]
        return (host_facts.probe(inventory.name, checks),)

    def desired(self, inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
        """Yield a Docker network for each host."""
        for host in network.hosts:
            if host in facts:
                part = network.subnets[host]
                yield DockerNetwork(
                    host,
                    network.name,
                    network.cidr,
                    macvlan_options(network).gateway or placeholder(part, network.cidr),
                    ((PARENT, parent.name(inventory, network, facts[host])),),
                    Mark(inventory.name, network.name),
                    part,
                    driver="macvlan",
                )

    def check_host(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield the reasons why one host cannot put containers on its NIC."""
        yield from parent.problems(inventory, network, facts)

    def mtu(self, inventory: Inventory, network: Network, facts: Facts) -> int:
        """The smallest MTU of the hosts' NICs; Docker gives each container that of its own NIC."""
        hosts = (facts[host] for host in network.hosts if host in facts)
        nics = [parent.nic(inventory, network, host) for host in hosts]
        return min((nic.mtu for nic in nics if nic), default=1500)


def _arp_checks(inventory: Inventory, network: Network, host: str) -> ArpChecks:
    """What to probe before the first apply: the host's part, and the router if it may answer.

    A router in a range of its own has no route to the host, so it need not answer.
    """
    address = inventory.hosts[host].address
    checks = lan_pool.arp_probes(inventory, (network,), host)
    if address not in network.cidr:
        checks = {target: check for target, check in checks.items() if check == "own"}
    mark = Mark(inventory.name, network.name)
    nic = macvlan_options(network).nic or inventory.hosts[host].nic
    return ArpChecks(mark, nic, address, checks)
