"""A host's part of a `pipework` network: the bridge, Docker's network on it, and rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, cast

from provision import daemon_json, networkd
from provision.address import chain_name, interface_name
from provision.hostfacts import HostFacts
from provision.interface_text import hashed_mac
from provision.inventory import Inventory, Network
from provision.lan_parts import METHOD
from provision.resource import Ref, Resource
from provision.resources import docker_network
from provision.resources.bridge import Bridge
from provision.resources.chain import Chain
from provision.resources.docker0 import Docker0
from provision.resources.docker_network import DockerNetwork
from provision.resources.mute import Mute
from provision.resources.seal import Seal
from provision.resources.switch import Switch
from provision.resources.sysctl import Sysctl
from provision.uplinks import First, Uplink

if TYPE_CHECKING:
    from provision.methods.pipework import Options


def options(network: Network) -> Options:
    """What the file says of this network."""
    return cast("Options", network.options)


def bridge_ref(network: Network, host: str) -> Ref:
    """The resource that is the bridge."""
    kind = "switch" if options(network).kind == "ovs" else "bridge"
    return Ref(host, kind, options(network).bridge)


def first(inventory: Inventory, network: Network, facts: HostFacts) -> First | None:
    """What the NIC was: as recorded, or as it is now; None where there is no such NIC."""
    link = uplink(inventory, network, facts)
    if link is None:
        return None
    seat = _seat(inventory, network, facts.host)
    recorded = facts.moved.get(options(network).bridge)
    if recorded is not None and recorded.nic == link.name:
        return replace(recorded, seat=seat, switch=_switch(network, facts, recorded))
    return First(
        link.name,
        link.mac,
        link.mtu,
        link.network,
        link.addresses,
        link.routes,
        tuple(words for words in facts.defaults if f" dev {link.name}" not in words),
        facts.dns,
        seat,
        _switch(network, facts, None),
        ssh := facts.ssh_to is not None
        and facts.link_with(facts.ssh_to) == facts.links.get(link.name),
        _peer(inventory, network, facts, ssh=ssh),
    )


def _peer(inventory: Inventory, network: Network, facts: HostFacts, *, ssh: bool) -> str:
    """Somebody on the LAN who answers: who logs in from there, a host of ours, or the router."""
    others = [inventory.hosts[host].address for host in network.hosts if host != facts.host]
    if ssh and facts.ssh_from is not None:
        return str(facts.ssh_from)
    return str(next(iter(others), options(network).gateway or ""))


def _switch(network: Network, facts: HostFacts, recorded: First | None) -> str:
    """The datapath of a bridge of Open vSwitch; that of one that is there stays."""
    if options(network).kind == "linux":
        return ""
    return (recorded.switch if recorded else "") or facts.ovs or "netdev"


def _seat(inventory: Inventory, network: Network, host: str) -> str:
    """The host's veth, its other end and its MAC; empty where the bridge has the addresses."""
    if options(network).host_port == "bridge":
        return ""
    name = interface_name("host-", inventory.name, network.name)
    other = interface_name("port-", inventory.name, network.name)
    return f"{name} {other} {hashed_mac(inventory.name, network.name, host)}"


def lost(facts: HostFacts) -> tuple[str, ...]:
    """What a host had before its NIC became a port, and has no more."""
    wrong = [
        f"name server {line.partition(' ')[2]} is gone"
        for was in facts.moved.values()
        for line in was.dns
        if line not in facts.dns
    ]
    for bridge, was in facts.moved.items():
        seat = was.seat.split(" ")[0] if was.seat else bridge
        now = facts.uplinks.get(seat)
        held = {words.split(" ")[0] for words in now.addresses} if now else set()
        gone = {words.split(" ")[0] for words in was.addresses} - held
        gone |= set(was.routes) - set(now.routes if now else ())
        wrong += [f"{words} is not on {seat}" for words in sorted(gone)]
    defaults = {words for was in facts.moved.values() for words in was.defaults}
    wrong += [f"default route {words} is gone" for words in sorted(defaults - set(facts.defaults))]
    return tuple(wrong)


def asked(inventory: Inventory, host: str) -> dict[str, str]:
    """Addresses of LANs that are to be a host's containers' own, and their routers."""
    lans = {
        name: network
        for name, network in inventory.networks.items()
        if network.method == METHOD and host in network.subnets
    }
    pools = [network.subnets[host] for network in lans.values() if options(network).pool]
    mine = [
        one
        for container in inventory.containers.values()
        for one in container.interfaces
        if container.host == host and one.network in lans and not one.vlan
    ]
    own = [text.partition("/")[0] for one in mine for text in one.addresses if ":" not in text]
    vias = [route.via for one in mine for route in one.routes if route.to == "default"]
    vias += [str(gateway) for each in lans.values() if (gateway := options(each).gateway)]
    return {
        **{via: "router" for via in vias if ":" not in via},
        **dict.fromkeys(own, "own"),
        **{str(address): "own" for pool in pools for address in pool},
    }


def nic(inventory: Inventory, network: Network, facts: HostFacts) -> str:
    """The NIC's name: as said, as moved already, or the link that holds the host's address."""
    said = options(network).nic or inventory.hosts[facts.host].nic
    if said:
        return said
    moved = facts.moved.get(options(network).bridge)
    link = facts.link_with(inventory.hosts[facts.host].address)
    return moved.nic if moved else link.name if link else ""


def uplink(inventory: Inventory, network: Network, facts: HostFacts) -> Uplink | None:
    """The NIC as it is now."""
    return facts.uplinks.get(nic(inventory, network, facts))


def vlans(inventory: Inventory, network: Network) -> tuple[int, ...]:
    """Every VLAN that an interface on this network asks for: each host's NIC carries them."""
    every = {
        one.vlan
        for container in inventory.containers.values()
        for one in container.interfaces
        if one.network == network.name and one.vlan
    }
    return tuple(sorted(every))


def resources(
    inventory: Inventory, network: Network, facts: HostFacts, *, mtu: int
) -> Iterator[Resource]:
    """Everything of this network on one host."""
    was = first(inventory, network, facts)
    if was is None:
        return
    bridge = _bridge(inventory, network, facts, was, mtu)
    yield bridge
    if was.switch:
        yield from _sealed(inventory, network, facts.host, was)
        return
    if was.seat:
        yield Mute(facts.host, bridge.bridge, needs=(bridge.ref,))
    yield _passing(inventory, network, facts.host)
    if options(network).docker0:
        yield _default_bridge(inventory, network, facts, mtu)
    elif options(network).pool:
        yield _docker_network(inventory, network, facts, mtu)
    if options(network).pool and options(network).gateway is None:
        yield from _leaving(inventory, network, facts.host)


def _bridge(
    inventory: Inventory, network: Network, facts: HostFacts, was: First, mtu: int
) -> Bridge:
    asked, tags = options(network), () if was.switch else vlans(inventory, network)
    words = was.seat.split(" ") if was.seat else []
    kind = Switch if was.switch else Bridge
    return kind(
        facts.host,
        asked.bridge,
        was.nic,
        was.mac,
        mtu,
        words[0] if words else asked.bridge,
        asked.stp,
        tags,
        networkd.files(
            inventory.name,
            asked.bridge,
            nic=was.nic,
            mac=was.mac,
            mtu=mtu,
            stp=asked.stp,
            vlans=tags,
            seat=(words[0], words[1], words[2]) if words else None,
            network=was.network,
            switch=bool(was.switch),
        ),
        f"{inventory.name}/{asked.bridge}",
        was=was,
    )


def _sealed(inventory: Inventory, network: Network, host: str, was: First) -> Iterator[Resource]:
    """The userspace datapath reads a NIC beside the kernel, which would answer everything, too."""
    if was.switch == "netdev":
        mark = f"{inventory.name}/{network.name}"
        yield Seal(host, was.nic, mark, needs=(bridge_ref(network, host),))


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
        f"{inventory.name}/{network.name}",
        network.subnets[facts.host],
        needs=(bridge_ref(network, facts.host),),
    )


def _default_bridge(inventory: Inventory, network: Network, facts: HostFacts, mtu: int) -> Docker0:
    asked, shown = daemon_json.replaced(
        bridge=options(network).bridge,
        subnet=str(network.cidr),
        part=str(network.subnets[facts.host]),
        gateway=str(options(network).gateway) if options(network).gateway else None,
        mtu=mtu,
    )
    needs = (bridge_ref(network, facts.host),)
    return Docker0(facts.host, asked, shown, inventory.name, needs=needs)


def _passing(inventory: Inventory, network: Network, host: str) -> Chain:
    """Frames that only cross the bridge pass where br_netfilter shows them to iptables."""
    mark, bridge = f"{inventory.name}/{network.name}", options(network).bridge
    comment = ("-m", "comment", "--comment", f"provision:{mark}")
    rule = ("-i", bridge, "-o", bridge, *comment, "-j", "ACCEPT")
    name = chain_name(inventory.name, network.name)
    return Chain(host, "filter", name, "DOCKER-USER", (rule,), mark)


def _leaving(inventory: Inventory, network: Network, host: str) -> Iterator[Resource]:
    """Without a router on the LAN the host is the containers' way out."""
    yield Sysctl(host, "net.ipv4.ip_forward", "1", inventory.name)
    if network.egress == "none":
        return
    mark = f"{inventory.name}/{network.name}"
    comment = ("-m", "comment", "--comment", f"provision:{mark}")
    source = ("-s", str(network.subnets[host]), "!", "-o", options(network).bridge)
    name = chain_name(inventory.name, network.name)
    yield Chain(host, "nat", name, "POSTROUTING", ((*source, *comment, "-j", "MASQUERADE"),), mark)
