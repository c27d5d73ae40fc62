"""Method `pipework`: containers on the hosts' own LAN, by a bridge that the NIC is a port of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

import provision.methods.pipework.manager_facts as manager_facts
import provision.methods.pipework.nic as nic
import provision.methods.pipework.nic_checks as nic_checks
import provision.methods.pipework.resources as resources
import provision.methods.pipework.rules as rules
from provision.facts.host import HostFacts, PortNic
from provision.facts.probe import FactsProbe
from provision.methods import Facts, HostCheck
from provision.methods._shared import ovs_facts
from provision.methods._shared.lan_method import LanMethod
from provision.methods.pipework.options import PipeworkOptions
from provision.model.findings import Finding
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.resources.base import Ref, Resource

if TYPE_CHECKING:
    from provision.model.documents import Decoded, Layout


class PipeworkMethod(LanMethod):
    """A bridge with the host's NIC as a port; containers get addresses of the LAN."""

    name = "pipework"
    Options = PipeworkOptions
    takes_interfaces = True
    # The hosts may have a bridge `bri0` of the user's own inventory.
    variants: ClassVar = {"": {"bridge": "bri-cmp"}}
    checks = (HostCheck("host", nic.lost_settings),)

    def check_file(self, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
        """Yield the mistakes in this method's networks, and in the containers that use them."""
        yield from super().check_file(decoded, layout)
        for name in self.documents(decoded):
            options = decoded.options[name]
            assert isinstance(options, PipeworkOptions)
            yield from rules.findings(("networks", name), options)

    def facts(self, inventory: Inventory, host: str) -> tuple[FactsProbe, ...]:
        """The probes for the host's LAN and, where a network needs it, the kernel's datapath."""
        networks = self.networks(inventory, host)
        uses_ovs = any(nic.options(network).kind == "ovs" for network in networks)
        ovs = (ovs_facts.PROBE,) if uses_ovs else ()
        return (*super().facts(inventory, host), manager_facts.PROBE, *ovs)

    def desired(self, inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
        """Yield the bridge, Docker's network on it and firewall rules for each host."""
        mtu = self.mtu(inventory, network, facts)
        for host in network.hosts:
            if host in facts:
                yield from resources.resources(inventory, network, facts[host], mtu=mtu)

    def check_host(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield the reasons why the NIC of one host cannot become a port of a bridge."""
        yield from nic_checks.problems(inventory, network, facts)

    def warnings(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield what will break one host's part of the network later, and who else governs it."""
        yield from super().warnings(inventory, network, facts)
        options = nic.options(network)
        if options.kind == "ovs":
            yield from ovs_facts.controllers(facts, (options.bridge,))

    def mtu(self, inventory: Inventory, network: Network, facts: Facts) -> int:
        """The MTU that works on all hosts: the smallest NIC MTU.

        On a shared link there is no router to send 'fragmentation needed'.
        """
        nics = [nic.nic(inventory, network, facts[host]) for host in network.hosts if host in facts]
        return network.mtu or min((link.mtu for link in nics if link), default=1500)

    def docker_network(self, network: Network, host: str) -> Ref:
        """The resource that Docker attaches a container of this host to."""
        if nic.options(network).docker0:
            return Ref(host, "docker0", "docker0")
        return Ref(host, "docker_network", network.name)

    def interface_bridge(self, network: Network, host: str) -> Ref:
        """The bridge that `interfaces:` of containers join."""
        return nic.bridge_ref(network, host)

    def nic_bridges(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Mapping[str, str]:
        """The NIC; and the bridge itself, which holds the NIC's addresses once it is there."""
        bridge = nic.options(network).bridge
        return {nic.nic_name(inventory, network, facts): bridge, bridge: bridge}

    def port_nics(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Mapping[str, PortNic]:
        """The NIC, by the bridge or by the host's veth into it."""
        original = nic.original_nic(inventory, network, facts)
        if original is None:
            return {}
        holder = original.address_holder(nic.options(network).bridge)
        return {holder: PortNic(original.nic, nic.bridge_ref(network, facts.host))}

    def tools(self, network: Network, host: str) -> tuple[str, ...]:
        """Commands that a host needs in addition to those that every host needs."""
        return ("ovs-vsctl", "ethtool") if nic.options(network).kind == "ovs" else ()
