"""Networks on Open vSwitch: one layer 2 over all hosts, by a tunnel between each pair of them.

`ovs-gre` and `ovs-vxlan` add the type and the options of the tunnels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from provision.facts.host import HostFacts, PortNic
from provision.facts.probe import FactsProbe
from provision.methods import Facts, Method
from provision.methods._shared import docker_bridge, ovs_facts
from provision.methods._shared.docker_bridge import BridgeOptions
from provision.methods._shared.ovs_facts import OvsFacts
from provision.model.help import Help
from provision.model.inventory import Inventory, Network
from provision.model.names import INTERFACE_LENGTH, interface_name
from provision.model.needs import Need
from provision.model.problems import Problem
from provision.model.tunnel import Tunnel
from provision.resources.base import Ref, Resource
from provision.resources.kinds import ovs_uplink, ovs_veth
from provision.resources.kinds.ovs_bridge import OvsBridge
from provision.resources.kinds.ovs_daemon import OvsDaemon
from provision.resources.kinds.ovs_tunnel import OvsTunnel
from provision.resources.kinds.ovs_uplink import OvsUplink
from provision.resources.kinds.ovs_veth import OvsVeth
from provision.resources.on_hosts import Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsOptions(BridgeOptions):
    """The keys of every network on Open vSwitch."""

    rstp: Annotated[bool, Help("break loops by RSTP instead of protected ports")] = False
    datapath: Annotated[
        Literal["auto", "system", "netdev"],
        Help("system: kernel module; netdev: userspace; auto: system if the host has the module"),
    ] = "auto"


@dataclass(frozen=True, slots=True)
class TunnelSettings:
    """The tunnels of one network: Open vSwitch's type, and the options that all of them share."""

    type: str
    options: tuple[tuple[str, str], ...]


class OvsMesh(Method):
    """A bridge of Open vSwitch on each host, joined to Docker's bridge by a veth pair."""

    takes_nic = True

    @abstractmethod
    def tunnel_settings(self, inventory: Inventory, network: Network) -> TunnelSettings:
        """Type and options of the tunnels of a network."""

    @abstractmethod
    def tunnel(self, network: Network) -> Tunnel:
        """The encapsulation that `verify` expects around every packet between hosts."""

    def desired(self, inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
        """Yield bridges, tunnels to all peers and firewall rules for each host."""
        mtu = self.mtu(inventory, network, facts)
        settings = self.tunnel_settings(inventory, network)
        for host in network.hosts:
            if host in facts:
                yield from _host(inventory, network, facts[host], mtu, settings)

    def check_host(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield the reasons why one host cannot carry its part of the network."""
        yield from super().check_host(inventory, network, facts)
        if options(network).datapath == "system" and not facts.of(OvsFacts).kernel_datapath:
            message = "its kernel has no openvswitch module, which datapath: system needs"
            yield Problem(facts.host, message, "write datapath: auto or netdev")

    def warnings(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield what will break one host's part of the network later, and who else governs it."""
        yield from super().warnings(inventory, network, facts)
        bridges = self.nic_bridges(inventory, network, facts).values()
        yield from ovs_facts.controllers(facts, (_bridge(inventory, network), *bridges))

    def nic_bridges(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Mapping[str, str]:
        """The NICs that become ports for the userspace datapath, and the bridge of each."""
        if chosen_datapath(network, facts) != "netdev":
            return {}
        nics = (facts.carrier(dev) for dev in docker_bridge.nics(inventory, network, facts))
        return {nic: uplink_bridge(nic) for nic in nics}

    def port_nics(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Mapping[str, PortNic]:
        """The NICs of the userspace datapath, by their bridges."""
        bridges = self.nic_bridges(inventory, network, facts).items()
        return {
            bridge: PortNic(nic, Ref(facts.host, OvsUplink.kind, nic)) for nic, bridge in bridges
        }

    def is_bound_to_nics(self, network: Network, facts: HostFacts) -> bool:
        """True for the userspace datapath: the kernel, which has other NICs, knows no tunnel."""
        return chosen_datapath(network, facts) == "netdev"

    def firewall_needs(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Need]:
        """Yield the packets of the tunnel; the userspace datapath takes them before iptables."""
        if chosen_datapath(network, facts) == "system":
            yield from super().firewall_needs(inventory, network, facts)

    def facts(self, inventory: Inventory, host: str) -> tuple[FactsProbe, ...]:
        """The probe that reads whether the host's kernel has the module openvswitch."""
        return (ovs_facts.PROBE,)

    def single_l2(self, network: Network) -> bool:
        """True: all containers are on one layer 2."""
        return True

    def tools(self, network: Network, host: str) -> tuple[str, ...]:
        """Commands that a host needs in addition to those that every host needs."""
        return ("ovs-vsctl", "ethtool")


def options(network: Network) -> OvsOptions:
    """The options of a network on Open vSwitch."""
    assert isinstance(network.options, OvsOptions)
    return network.options


def _bridge(inventory: Inventory, network: Network) -> str:
    return interface_name("ov-", inventory.name, network.name)


def _host(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int, settings: TunnelSettings
) -> Iterator[Resource]:
    host, bridge = facts.host, _bridge(inventory, network)
    mark, datapath = Mark(inventory.name, network.name), chosen_datapath(network, facts)
    rstp = options(network).rstp
    yield from docker_bridge.forwarding(inventory, network, facts)
    yield OvsDaemon(host, inventory.name)
    uplinks = list(_uplinks(inventory, network, facts)) if datapath == "netdev" else []
    yield from uplinks
    needs = tuple(uplink.ref for uplink in uplinks)
    yield OvsBridge(host, bridge, datapath, rstp, mark, needs=needs)
    for peer in network.hosts:
        if peer != host:
            yield _tunnel(inventory, network, host, peer, bridge, settings)
    yield docker_bridge.bridge(inventory, network, facts, mtu=mtu, single_l2=True)
    yield OvsVeth(
        host=host,
        outer=interface_name("oo-", inventory.name, network.name),
        bridge=bridge,
        inner=interface_name(ovs_veth.PREFIX, inventory.name, network.name),
        master=docker_bridge.bridge_name(inventory, network),
        mtu=mtu,
        mark=mark,
        # Docker creates `master`, the bridge that the inner end joins.
        needs=(docker_bridge.docker_network(network, host),),
    )
    yield from docker_bridge.chains(inventory, network, host, single_l2=True)


def chosen_datapath(network: Network, facts: HostFacts) -> str:
    """The datapath on one host, `system` or `netdev` (see `OvsOptions`)."""
    datapath = options(network).datapath
    if datapath != "auto":
        return datapath
    return "system" if facts.of(OvsFacts).kernel_datapath else "netdev"


def _uplinks(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[OvsUplink]:
    """Yield an uplink for each NIC to the peers.

    ovs-vswitchd in userspace reaches the far end of a tunnel only through a bridge of its own, so
    the NIC becomes a port of one and the bridge gets the NIC's addresses
    (https://docs.openvswitch.org/en/latest/howto/userspace-tunneling/).
    """
    forced = options(network).datapath == "netdev"
    for dev in docker_bridge.nics(inventory, network, facts):
        nic = facts.carrier(dev)
        bridge = uplink_bridge(nic)
        yield OvsUplink(
            facts.host,
            nic,
            bridge,
            address_holder=bridge,
            inventory=inventory.name,
            ssh=_may_carry_ssh(facts, nic),
            forced=forced,
        )


def _may_carry_ssh(facts: HostFacts, nic: str) -> bool:
    """Return False if only the subnets of other NICs contain the controller's address.

    A controller behind a router is in no subnet of the host: any NIC may then carry SSH.
    """
    subnets = [
        (facts.carrier(link.name), address.network)
        for link in facts.links.values()
        for address in link.addresses
    ]
    nics = {
        name for name, subnet in subnets if facts.ssh_from is not None and facts.ssh_from in subnet
    }
    return not nics or nic in nics


def uplink_bridge(nic: str) -> str:
    """The name of the bridge that a NIC joins."""
    # Without the inventory's name: all inventories that need the NIC share its bridge.
    name = ovs_uplink.PREFIX + nic
    return name if len(name) <= INTERFACE_LENGTH else interface_name(ovs_uplink.PREFIX, "", nic)


def _tunnel(
    inventory: Inventory,
    network: Network,
    host: str,
    peer: str,
    bridge: str,
    settings: TunnelSettings,
) -> OvsTunnel:
    endpoints = {
        "local_ip": str(inventory.hosts[host].address),
        "remote_ip": str(inventory.hosts[peer].address),
    }
    return OvsTunnel(
        host,
        interface_name(f"{settings.type[:3]}-", str(Mark(inventory.name, network.name)), peer),
        bridge,
        settings.type,
        tuple(sorted({**endpoints, **dict(settings.options)}.items())),
        # Tunnels between three or more hosts form loops. Open vSwitch does not forward from one
        # protected port to another (`protected` in ovs-vswitchd.conf.db(5)), which breaks them.
        # No host has to relay frames, because each has a tunnel to every other. With `rstp`, RSTP
        # disables redundant tunnels instead.
        protected=not options(network).rstp,
        mark=Mark(inventory.name, network.name),
    )
