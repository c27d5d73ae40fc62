"""The resources of a `pipework` network on one host. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from provision.facts.host import HostFacts
from provision.methods.pipework.nic import (
    bridge_ref,
    manager_files,
    options,
    original_nic,
    vlans,
)
from provision.model.inventory import Inventory, Network
from provision.model.names import chain_name
from provision.resources.base import Resource
from provision.resources.kinds.arp_ignore import ArpIgnore
from provision.resources.kinds.docker0 import Docker0
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.iptables_chain import IptablesChain, comment
from provision.resources.kinds.lan_bridge import LanBridge
from provision.resources.kinds.lan_bridge_ovs import LanBridgeOvs
from provision.resources.kinds.nic_drop_rule import NicDropRule
from provision.resources.kinds.ovs_daemon import OvsDaemon
from provision.resources.kinds.sysctl import Sysctl
from provision.resources.lib import daemon_json, network_options
from provision.resources.lib.crossing_rules import rules_before
from provision.resources.lib.managers import MANAGERS
from provision.resources.lib.managers.base import BridgePort, ManagerFiles
from provision.resources.lib.nic_records import NETWORKD, OriginalNic
from provision.resources.on_hosts import Mark

_ANSWERS = ("-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED")
_PUBLISHED = ("-m", "conntrack", "--ctstate", "DNAT")
"""The match of packets of a connection to a port that Docker publishes, in both directions."""


def resources(
    inventory: Inventory, network: Network, facts: HostFacts, *, mtu: int
) -> Iterator[Resource]:
    """The bridge, Docker's network on it and firewall rules; nothing without the NIC."""
    original = original_nic(inventory, network, facts)
    if original is None:
        return
    if original.ovs_datapath:
        yield OvsDaemon(facts.host, inventory.name)
    bridge = _bridge(inventory, network, facts, original, mtu)
    yield bridge
    if original.ovs_datapath:
        yield from _drop_rule(inventory, network, facts.host, original)
        return
    if original.host_veth:
        yield ArpIgnore(facts.host, bridge.bridge, inventory.name, needs=(bridge.ref,))
    link = original.address_holder(bridge.bridge)
    # Otherwise the answers of published ports come back, or Docker's proxy gives them.
    answers = link if options(network).gateway or original.host_veth else ""
    answers = answers if _publishes(inventory, network, facts.host) else ""
    yield _crossing_traffic(inventory, network, facts.host, link, publishes=bool(answers))
    if options(network).docker0:
        yield _default_bridge(inventory, network, facts, mtu)
    elif options(network).pool:
        yield _docker_network(inventory, network, facts, mtu)
    yield from _translated_traffic(inventory, network, facts.host, answers)


def _bridge(
    inventory: Inventory, network: Network, facts: HostFacts, original: OriginalNic, mtu: int
) -> LanBridge:
    # A bridge of Open vSwitch carries every VLAN without being configured for it.
    tags = () if original.ovs_datapath else vlans(inventory, network)
    keys = options(network)
    kind = LanBridgeOvs if original.ovs_datapath else LanBridge
    # Of another manager the host is refused: nic_checks.
    manager = MANAGERS.get(original.manager, MANAGERS[NETWORKD])
    port = BridgePort(
        mark=Mark(inventory.name, keys.bridge),
        nic=original.nic,
        mac=original.mac,
        mtu=mtu,
        stp=keys.stp,
        vlans=tags,
        host_veth=original.host_veth,
        ovs=bool(original.ovs_datapath),
        lease=original.lease,
    )
    files = manager_files(inventory, network, facts, manager)
    edited = manager.edited(port, original.network, files)
    return kind(
        facts.host,
        keys.bridge,
        original.nic,
        original.mac,
        mtu,
        original.address_holder(keys.bridge),
        keys.stp,
        tags,
        tuple(sorted((*manager.added(port, original.network), *edited))),
        port.mark,
        original=original,
        present=tuple((path, facts.of(ManagerFiles).texts[path]) for path, _ in edited),
        follows=rules_before(facts.host, original, inventory.name, (network.name,)),
    )


def _drop_rule(
    inventory: Inventory, network: Network, host: str, original: OriginalNic
) -> Iterator[Resource]:
    """The userspace datapath reads packets that the kernel still gets, too: the kernel drops them,
    or the host would answer each one twice."""
    if original.ovs_datapath == "netdev":
        mark = Mark(inventory.name, network.name)
        yield NicDropRule(host, original.nic, mark, needs=(bridge_ref(network, host),))


def _gateway(inventory: Inventory, network: Network, host: str) -> IPv4Address:
    """The containers' default gateway: the LAN's router, or the host itself."""
    return options(network).gateway or inventory.hosts[host].address


def _docker_network(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int
) -> DockerNetwork:
    settings = {
        network_options.BRIDGE_NAME: options(network).bridge,
        network_options.MTU: str(mtu),
        # The LAN knows the containers' addresses.
        network_options.MASQUERADE: "false",
        # Otherwise Docker sets the gateway's address on the bridge, which is that of the router.
        network_options.INHIBIT: "true",
    }
    return DockerNetwork(
        facts.host,
        network.name,
        network.cidr,
        _gateway(inventory, network, facts.host),
        tuple(sorted(settings.items())),
        Mark(inventory.name, network.name),
        network.subnets[facts.host],
        needs=(bridge_ref(network, facts.host),),
    )


def _default_bridge(inventory: Inventory, network: Network, facts: HostFacts, mtu: int) -> Docker0:
    settings, inspected = daemon_json.host_bridge_settings(
        bridge=options(network).bridge,
        subnet=str(network.cidr),
        part=str(network.subnets[facts.host]),
        gateway=str(options(network).gateway) if options(network).gateway else None,
        mtu=mtu,
    )
    needs = (bridge_ref(network, facts.host),)
    return Docker0(facts.host, settings, inspected, inventory.name, needs=needs)


def _publishes(inventory: Inventory, network: Network, host: str) -> bool:
    """True if Docker publishes ports of a container that it has put on the bridge of the host."""
    containers = inventory.containers.values()
    return any(c.ports for c in containers if (c.network, c.host) == (network.name, host))


def _crossing_traffic(
    inventory: Inventory, network: Network, host: str, link: str, *, publishes: bool
) -> IptablesChain:
    """Accept frames that only cross the bridge, and packets that pass the host's veth.

    With the module br_netfilter such frames pass the FORWARD chain, whose policy Docker sets to
    DROP. Docker itself accepts what enters or leaves the bridge, and not what takes the veth `link`
    instead: packets of containers that leave by the host, and those of published ports.
    """
    mark, bridge = Mark(inventory.name, network.name), options(network).bridge
    part = str(network.subnets[host])
    ends: list[tuple[str, ...]] = [("-i", bridge, "-o", bridge)]
    if link != bridge and _leaves_by_host(network) and network.egress != "none":
        ends.append(("-s", part, "-i", link, "!", "-o", link))
        ends.append(("-d", part, "-o", link, *_ANSWERS))
    if link != bridge and publishes:
        ends.append(("-d", part, "-o", link, *_PUBLISHED))
        ends.append(("-s", part, "-i", link, *_PUBLISHED))
    rules = tuple((*each, *comment(mark), "-j", "ACCEPT") for each in ends)
    name = chain_name(inventory.name, network.name)
    return IptablesChain(host, "filter", name, "DOCKER-USER", rules, mark)


def _leaves_by_host(network: Network) -> bool:
    """True if Docker's containers have the host as their router."""
    return options(network).pool is not None and options(network).gateway is None


def _translated_traffic(
    inventory: Inventory, network: Network, host: str, answers: str
) -> Iterator[Resource]:
    """Masquerade what leaves the LAN by the host, and what comes to published ports.

    Without a router on the LAN, containers leave by their host, which forwards their packets. With
    one, the answer of a published port would leave by that, or on the link itself, with a source
    that the client does not know: so the client is the host, by its interface `answers`.
    """
    mark, part = Mark(inventory.name, network.name), str(network.subnets[host])
    leaves = _leaves_by_host(network)
    if leaves or answers:
        yield Sysctl(host, "net.ipv4.ip_forward", "1", inventory.name)
    ends: list[tuple[str, ...]] = []
    if leaves and network.egress != "none":
        ends.append(("-s", part, "!", "-o", options(network).bridge))
    if answers:
        ends.append(("-d", part, "-o", answers, *_PUBLISHED))
    if ends:
        rules = tuple((*each, *comment(mark), "-j", "MASQUERADE") for each in ends)
        name = chain_name(inventory.name, network.name)
        yield IptablesChain(host, "nat", name, "POSTROUTING", rules, mark)
