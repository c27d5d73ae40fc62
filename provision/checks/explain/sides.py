"""One end of a path on its host: the bridge, NIC and tunnel that its packets should pass. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from provision import methods
from provision.checks.explain.ends import EndSpace
from provision.facts.topology import OVS_BRIDGE, HostTopology, NamespaceLink, TunnelEnd
from provision.facts.tunnel_probe import TUNNELS
from provision.model.inventory import Interface, Inventory, Network

_BRIDGES = ("bridge", OVS_BRIDGE)
_TUNNEL_KINDS = {"udp": "tun"}
"""The kind of the kernel's device for a tunnel that a program carries."""


def _protocol(end: TunnelEnd) -> str:
    """The protocol of a device that a program carries, as far as it is known."""
    return "wireguard" if end.wireguard else ""


@dataclass(frozen=True, slots=True)
class Side:
    """One end with its host; `link` is a container's interface, `peer_nic` the far NIC."""

    inventory: Inventory
    host: str
    topology: HostTopology
    end_space: EndSpace
    link: NamespaceLink | None
    network: Network | None
    peer_nic: str = ""
    exit_device: str = ""
    """The interface by which packets leave for an address outside of the inventory."""

    @property
    def bridge(self) -> str:
        """The bridge that the container's interface should be a port of."""
        mode = self.end_space.info.mode if self.end_space.info else ""
        name = self.topology.bridges.get(mode, "")
        end = self.host_end
        if self.link is not None and name and self._is_dockers(name):
            return name
        return (end.master if end else name) or self.planned_bridge

    @property
    def interface(self) -> Interface | None:
        """The container's interface as the inventory describes it under `interfaces:`."""
        container = self.inventory.containers.get(self.end_space.label.removeprefix("+"))
        for interface in container.interfaces if container and self.link else ():
            if self.link is not None and interface.name == self.link.name:
                return interface
        return None

    @property
    def planned_bridge(self) -> str:
        """The bridge that one of `interfaces:` joins, whether it does or not."""
        if self.interface is None or not self.interface.network:
            return ""
        network = self.inventory.networks[self.interface.network]
        bridge = methods.of(network).interface_bridge(network, self.host)
        return bridge.name if bridge else ""

    def _is_dockers(self, bridge: str) -> bool:
        """True unless the interface is one of `interfaces`, which Docker does not know."""
        link, end = self.topology.root.link(bridge), self.host_end
        if link is None or end is None or end.master == bridge or self.link is None:
            return True
        held = [a.network for a in link.addresses]
        return any(a.ip in network for a in self.link.addresses for network in held)

    @property
    def host_end(self) -> NamespaceLink | None:
        """The host's end of the container's veth."""
        return self.topology.host_end(self.link) if self.link else None

    @property
    def nic(self) -> tuple[str, str]:
        """The interface that has the host's address, and the NIC below it; often the same."""
        root, host = self.topology.root, self.inventory.hosts[self.host]
        if self.exit_device:
            return self.exit_device, self.exit_device
        holder = next((x for x in root.links if host.address in (a.ip for a in x.addresses)), None)
        if holder is None:
            return (name := host.nic or self.peer_nic or "eth0"), name
        if holder.kind not in _BRIDGES:
            return holder.name, holder.name
        ports = self.topology.ports(holder.name)
        same = [port.name for port in ports if port.mac == holder.mac and port.kind not in TUNNELS]
        inner = {end.name for c in self.topology.namespace_owners() for end in self._ends(c.net)}
        outer = [port.name for port in ports if port.name not in inner and not port.lower]
        # A NIC that is no port of the bridge any more: the bridge has got its MAC from it.
        stray = [
            link.name for link in root.links
            if link.mac == holder.mac and link.name != holder.name and link.kind not in TUNNELS
        ]  # fmt: skip
        return holder.name, next(iter(same + outer + stray), holder.name)

    def _ends(self, inode: int) -> Iterator[NamespaceLink]:
        for link in self.topology.namespaces[inode].links:
            if end := self.topology.host_end(link):
                yield end

    @property
    def tunnel(self) -> TunnelEnd | None:
        """The host's end of the tunnel of the network; None if packets travel unwrapped."""
        declared = methods.of(self.network).tunnel(self.network) if self.network else None
        if declared is None or self.network is None:
            return None
        kind = _TUNNEL_KINDS.get(declared.protocol, declared.protocol)
        ends = [e for e in self.topology.tunnels if kind in (e.kind, _protocol(e))]
        if methods.of(self.network).single_l2(self.network):
            bridges = {self.bridge or self.network_bridge, *self._beyond(self.bridge)}
            ends = [e for e in ends if e.bridge in bridges] or [e for e in ends if not e.bridge]
        else:
            ends = [e for e in ends if not e.bridge and e.device]
            routed = {r.dev for r in self.topology.root.routes if self._is_peers(r.dst)}
            if declared.optional and routed and not routed & {e.device for e in ends}:
                return None
            subnet = self.network.subnets.get(self.host)
            held = [
                e for e in ends
                if (link := self.topology.root.link(e.device)) and subnet
                and any(a.ip in self.network.cidr for a in link.addresses)
            ]  # fmt: skip
            ends = [e for e in ends if e.device in routed] or held or ends
        return next(iter(ends), None)

    @property
    def network_bridge(self) -> str:
        """The host's own bridge of the network, for an end that is the host."""
        if self.network is None:
            return ""
        name = self.topology.bridges.get(self.network.name, "")
        for link in self.topology.root.links:
            held = any(a.ip in self.network.cidr for a in link.addresses)
            if held and link.kind in _BRIDGES:
                return link.name
        return name

    def _is_peers(self, text: str) -> bool:

        if self.network is None or text == "default" or ":" in text:
            return False
        network = IPv4Network(text, strict=False)
        own_subnet = self.network.subnets.get(self.host)
        return network.overlaps(self.network.cidr) and not (
            own_subnet and network.overlaps(own_subnet)
        )

    def _beyond(self, bridge: str) -> Iterator[str]:
        """The bridges of Open vSwitch behind a veth that is a port of a bridge."""
        for port in self.topology.ports(bridge):
            far_end = self.topology.root.link(port.lower)
            if far_end is not None and far_end.master and far_end.master != bridge:
                yield far_end.master
