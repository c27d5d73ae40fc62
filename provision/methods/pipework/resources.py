"""What a `pipework` network is on one host: the bridge, Docker's network on it, and rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from provision.facts.host import HostFacts
from provision.methods.pipework.nic import bridge_ref, first, options, vlans
from provision.model.inventory import Inventory, Network
from provision.model.names import chain_name
from provision.resources.base import Resource
from provision.resources.kinds import docker_network
from provision.resources.kinds.arp_ignore import ArpIgnore
from provision.resources.kinds.docker0 import Docker0
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.iptables_chain import IptablesChain, comment
from provision.resources.kinds.lan_bridge import LanBridge
from provision.resources.kinds.lan_bridge_ovs import LanBridgeOvs
from provision.resources.kinds.nic_drop_rule import NicDropRule
from provision.resources.kinds.ovs_daemon import OvsDaemon
from provision.resources.kinds.sysctl import Sysctl
from provision.resources.lib import daemon_json, networkd
from provision.resources.lib.nic_records import OriginalNic
from provision.resources.on_hosts import Mark


def resources(
    inventory: Inventory, network: Network, facts: HostFacts, *, mtu: int
) -> Iterator[Resource]:
    """Everything of this network on one host."""
    original = first(inventory, network, facts)
    if original is None:
        return
    if original.ovs_datapath:
        yield OvsDaemon(facts.host, inventory.name)
    bridge = _bridge(inventory, network, facts, original, mtu)
    yield bridge
    if original.ovs_datapath:
        yield from _sealed(inventory, network, facts.host, original)
        return
    if original.host_veth:
        yield ArpIgnore(facts.host, bridge.bridge, inventory.name, needs=(bridge.ref,))
    yield _passing(inventory, network, facts.host)
    if options(network).docker0:
        yield _default_bridge(inventory, network, facts, mtu)
    elif options(network).pool:
        yield _docker_network(inventory, network, facts, mtu)
    if options(network).pool and options(network).gateway is None:
        yield from _leaving(inventory, network, facts.host)


def _bridge(
    inventory: Inventory, network: Network, facts: HostFacts, original: OriginalNic, mtu: int
) -> LanBridge:
    asked, tags = options(network), () if original.ovs_datapath else vlans(inventory, network)
    kind = LanBridgeOvs if original.ovs_datapath else LanBridge
    return kind(
        facts.host,
        asked.bridge,
        original.nic,
        original.mac,
        mtu,
        original.address_holder(asked.bridge),
        asked.stp,
        tags,
        networkd.files(
            inventory.name,
            asked.bridge,
            nic=original.nic,
            mac=original.mac,
            mtu=mtu,
            stp=asked.stp,
            vlans=tags,
            host_veth=original.host_veth,
            network=original.network,
            ovs=bool(original.ovs_datapath),
        ),
        Mark(inventory.name, asked.bridge),
        original=original,
    )


def _sealed(
    inventory: Inventory, network: Network, host: str, original: OriginalNic
) -> Iterator[Resource]:
    """The userspace datapath reads a NIC beside the kernel, which would answer everything, too."""
    if original.ovs_datapath == "netdev":
        mark = Mark(inventory.name, network.name)
        yield NicDropRule(host, original.nic, mark, needs=(bridge_ref(network, host),))


def _gateway(inventory: Inventory, network: Network, host: str) -> IPv4Address:
    """The containers' router: the LAN's, or the host itself."""
    return options(network).gateway or inventory.hosts[host].address


def _docker_network(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int
) -> DockerNetwork:
    asked = {
        docker_network.BRIDGE_NAME: options(network).bridge,
        docker_network.MTU: str(mtu),
        # Containers are on the LAN themselves: nothing is to be hidden behind the host.
        docker_network.MASQUERADE: "false",
        # The bridge's addresses are the host's matter; Docker would put the gateway's on it.
        docker_network.INHIBIT: "true",
    }
    return DockerNetwork(
        facts.host,
        network.name,
        network.cidr,
        _gateway(inventory, network, facts.host),
        tuple(sorted(asked.items())),
        Mark(inventory.name, network.name),
        network.subnets[facts.host],
        needs=(bridge_ref(network, facts.host),),
    )


def _default_bridge(inventory: Inventory, network: Network, facts: HostFacts, mtu: int) -> Docker0:
    asked, shown = daemon_json.host_bridge_settings(
        bridge=options(network).bridge,
        subnet=str(network.cidr),
        part=str(network.subnets[facts.host]),
        gateway=str(options(network).gateway) if options(network).gateway else None,
        mtu=mtu,
    )
    needs = (bridge_ref(network, facts.host),)
    return Docker0(facts.host, asked, shown, inventory.name, needs=needs)


def _passing(inventory: Inventory, network: Network, host: str) -> IptablesChain:
    """Frames that only cross the bridge pass where br_netfilter shows them to iptables."""
    mark, bridge = Mark(inventory.name, network.name), options(network).bridge
    rule = ("-i", bridge, "-o", bridge, *comment(mark), "-j", "ACCEPT")
    name = chain_name(inventory.name, network.name)
    return IptablesChain(host, "filter", name, "DOCKER-USER", (rule,), mark)


def _leaving(inventory: Inventory, network: Network, host: str) -> Iterator[Resource]:
    """Without a router on the LAN the host is the containers' way out."""
    yield Sysctl(host, "net.ipv4.ip_forward", "1", inventory.name)
    if network.egress == "none":
        return
    mark = Mark(inventory.name, network.name)
    source = ("-s", str(network.subnets[host]), "!", "-o", options(network).bridge)
    name = chain_name(inventory.name, network.name)
    yield IptablesChain(
        host, "nat", name, "POSTROUTING", ((*source, *comment(mark), "-j", "MASQUERADE"),), mark
    )
