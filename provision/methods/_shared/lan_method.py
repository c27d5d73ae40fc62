"""Networks on the hosts' own LAN: each host hands out a part of a pool of its addresses."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any, ClassVar

from provision.facts.probe import FactsProbe
from provision.methods import Method
from provision.methods._shared import lan_facts, lan_pool, lan_rules
from provision.methods._shared.lan_pool import lan_options
from provision.model.findings import Finding, Loc
from provision.model.inventory import Inventory, Network

if TYPE_CHECKING:
    from provision.model.documents import (
        Decoded,
        Layout,
        Member,
        NetworkDocument,
        Subnets,
    )


class LanMethod(Method):
    """A method whose `Options` are `LanOptions`, with keys of its own."""

    on_hosts_lan = True
    own_range: ClassVar[bool] = False
    """`cidr` may also be a range of its own on the hosts' wire, without an address of a host."""

    def subnets(self, document: NetworkDocument, options: Any, hosts: tuple[str, ...]) -> Subnets:
        """Each host's part of the pool; without a pool, the whole LAN for each host."""
        return lan_pool.parts(document, options, hosts)

    def subnet_bounds(self, network: Network) -> tuple[IPv4Address, IPv4Address] | None:
        """The first and the last address of the pool, if there is one."""
        pool = lan_options(network).pool
        return None if pool is None else (pool.network_address, pool.broadcast_address)

    def check_file(self, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
        """Yield the mistakes in this method's networks, and in the containers that use them."""
        for name, document in self.documents(decoded).items():
            hosts = layout.hosts[name]
            yield from lan_rules.findings(name, document, hosts, decoded, own_range=self.own_range)

    def check_address(
        self, loc: Loc, container: Member, subnet: IPv4Network, decoded: Decoded
    ) -> Iterator[Finding]:
        """Yield the reasons why Docker cannot give a container its fixed address."""
        options = lan_rules.options_of(decoded, container.network)
        yield from lan_rules.address_findings(loc, container, subnet, options)

    def capacity(self, subnet: IPv4Network) -> int:
        """The number of containers that Docker can give an address of a host's part."""
        return subnet.num_addresses

    def facts(self, inventory: Inventory, host: str) -> tuple[FactsProbe, ...]:
        """The probe for the host's LAN."""
        networks = self.networks(inventory, host)
        return (lan_facts.probe(lan_pool.arp_probes(inventory, networks, host)),)

    def lan_addresses(self, inventory: Inventory, host: str) -> tuple[IPv4Address, ...]:
        """Addresses of containers and routers, and the host's parts of the pools."""
        checks = lan_pool.arp_checks(inventory, self.networks(inventory, host), host)
        return tuple(map(IPv4Address, checks))

    def lan_pool(self, network: Network) -> IPv4Network | None:
        """The pool of the LAN, if the file names one."""
        return lan_options(network).pool

    def lan_router(self, network: Network) -> IPv4Address | None:
        """The LAN's router, if the file names one."""
        return lan_options(network).gateway

    def single_l2(self, network: Network) -> bool:
        """True: the LAN is one layer 2."""
        return True
