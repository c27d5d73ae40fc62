"""Method `wireguard`: a WireGuard device on each host, whose peers are the other hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import provision.methods.wireguard.device as device
import provision.methods.wireguard.facts as host_facts
import provision.methods.wireguard.rules as rules
import provision.methods.wireguard.status as status
from provision.facts.host import HostFacts
from provision.facts.probe import FactsProbe
from provision.methods import ClashKey, Facts, HostCheck, Method, Row
from provision.methods._shared import status_tables
from provision.methods.wireguard.options import (
    CALLS,
    OVERHEAD,
    WireguardHost,
    WireguardOptions,
    of_host,
    options,
)
from provision.methods.wireguard.status import DeviceStatus
from provision.model.findings import Finding
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.model.tunnel import Tunnel
from provision.resources.base import Resource
from provision.resources.lib import wireguard_conf as conf

if TYPE_CHECKING:
    from provision.model.documents import Decoded, Layout


class WireguardMethod(Method):
    """Encrypted tunnels between all hosts, by the kernel or by wireguard-go."""

    name = "wireguard"
    Options = WireguardOptions
    HostOptions = WireguardHost
    checks = (
        HostCheck("handshake", status.handshake_error),
        HostCheck("peers", status.peers_error),
    )
    packages: ClassVar = {"wg": ("wireguard-tools",), "wireguard-go": ("wireguard-go",)}

    def check_file(self, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
        """Yield the mistakes in this method's networks."""
        yield from super().check_file(decoded, layout)
        for name in self.documents(decoded):
            yield from rules.findings(name, decoded, layout)

    def clash_keys(self, name: str, decoded: Decoded) -> Iterator[ClashKey]:
        """Yield what no other network of the same hosts may use."""
        yield from super().clash_keys(name, decoded)
        yield rules.port_key(name, decoded)

    def facts(self, inventory: Inventory, host: str) -> tuple[FactsProbe, ...]:
        """The probe for the host's implementation of WireGuard and for the keys."""
        return (host_facts.probe(),)

    def desired(self, inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
        """Yield a key, a device, a bridge, a route and firewall rules for each host."""
        mtu = self.mtu(inventory, network, facts)
        for host in network.hosts:
            if host in facts:
                yield from device.resources(inventory, network, facts, host, mtu)

    def renewal_file(self, inventory: Inventory, network: Network) -> str:
        """The file beside the key."""
        return conf.renewal_path(inventory.name, network.name)

    def check_host(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield the reasons why one host cannot carry its part of the network."""
        yield from device.problems(inventory, network, facts, self.overhead(network))

    def tunnel_links(self, inventory: Inventory, network: Network) -> tuple[str, ...]:
        """The device."""
        return (device.name(inventory, network),)

    def strict_device(self, inventory: Inventory, network: Network) -> str:
        """The device: its peers take only packets from the host's own subnet (AllowedIPs)."""
        return device.name(inventory, network)

    def overhead(self, network: Network) -> int:
        """Bytes by which a packet grows on its way to another host."""
        return OVERHEAD

    def tunnel(self, network: Network) -> Tunnel:
        """WireGuard, for every packet between hosts."""
        settings = [of_host(network, host) for host in network.hosts]
        endpoints = [host.endpoint for host in settings if host.endpoint not in (None, CALLS)]
        ports = {int(endpoint.rpartition(":")[2]) for endpoint in filter(None, endpoints)}
        port = options(network).port
        # A router or a third host may be between two hosts of which one has such a key.
        direct = not any(host.endpoint or host.via for host in settings)
        return Tunnel("wireguard", port, direct, nat_ports=tuple(sorted(ports - {port})))

    def status_script(self, inventory: Inventory, host: str, *, wait: bool = False) -> str:
        """Read the sessions of a host's devices."""
        return status.script(inventory, self.networks(inventory, host), wait=wait)

    def parse_status(self, inventory: Inventory, host: str, text: str) -> tuple[DeviceStatus, ...]:
        """The status of each device of a host."""
        return status.parse(host, self.networks(inventory, host), text)

    def show_tables(
        self, statuses: Mapping[str, tuple[DeviceStatus, ...]]
    ) -> Iterator[tuple[str, Row, tuple[Row, ...]]]:
        """Yield the table of peers."""
        yield from status_tables.tables("WireGuard peers", status.COLUMNS, statuses, status.rows)

    def show_json(self, statuses: Mapping[str, tuple[DeviceStatus, ...]]) -> Mapping[str, Any]:
        """The key `wireguard`."""
        return status_tables.as_json("wireguard", statuses, status.json_fields)

    def tools(self, network: Network, host: str) -> tuple[str, ...]:
        """Commands that a host needs in addition to those that every host needs."""
        return ("wg",)

    def tools_by_facts(self, network: Network, facts: HostFacts) -> tuple[str, ...]:
        """wireguard-go, where the kernel has no module."""
        return device.tools(facts)
