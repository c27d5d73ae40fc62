"""Method `vxlan`: a VXLAN device of the kernel on each host, filled by hand or by EVPN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import provision.methods.vxlan.device as device
import provision.methods.vxlan.evpn as evpn
import provision.methods.vxlan.evpn_facts as evpn_facts
import provision.methods.vxlan.evpn_status as evpn_status
import provision.methods.vxlan.rules as rules
from provision.facts.host import HostFacts
from provision.facts.probe import FactsProbe
from provision.methods import ClashKey, Facts, HostCheck, Method, Row
from provision.methods._shared import frr_facts, frr_needs, status_tables
from provision.methods._shared.bgp_options import check_password
from provision.methods.vxlan.evpn_status import EvpnStatus
from provision.methods.vxlan.options import VxlanOptions, by_evpn, options
from provision.model.fields.overlays import VXLAN_OVERHEAD
from provision.model.findings import Finding
from provision.model.inventory import Inventory, Network
from provision.model.needs import Need
from provision.model.problems import Problem
from provision.model.tunnel import Tunnel
from provision.resources.base import Resource

if TYPE_CHECKING:
    from provision.model.documents import Decoded, Layout


class VxlanMethod(Method):
    """VXLAN devices of the kernel with a static forwarding table, or one that FRR fills."""

    name = "vxlan"
    Options = VxlanOptions
    variants: ClassVar = {"": {}, "evpn": {"control": "evpn"}}
    sole = frr_facts.SOLE
    checks = (
        HostCheck("sessions", evpn_status.sessions_error, by_evpn),
        HostCheck("vteps", evpn_status.vteps_error, by_evpn),
        HostCheck("neighbours", evpn_status.neighbours_error, by_evpn),
    )
    packages: ClassVar = {"vtysh": ("frr",)}
    secrets: ClassVar = {"password": check_password}

    def check_file(self, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
        """Yield the mistakes in this method's networks."""
        yield from super().check_file(decoded, layout)
        for name in self.documents(decoded):
            yield from rules.findings(name, decoded, layout)

    def clash_keys(self, name: str, decoded: Decoded) -> Iterator[ClashKey]:
        """Yield what no other network of the same hosts may use."""
        yield from super().clash_keys(name, decoded)
        yield from rules.clash_keys(name, decoded)

    def needs_peers(self, network: Network, host: str) -> bool:
        """True without EVPN: each host has rows for the others."""
        return not by_evpn(network)

    def facts(self, inventory: Inventory, host: str) -> tuple[FactsProbe, ...]:
        """The probes for an FRR of others and for VXLAN devices, if a network has EVPN."""
        if not any(map(by_evpn, self.networks(inventory, host))):
            return ()
        return (frr_facts.probe(), evpn_facts.probe())

    def desired(self, inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
        """Yield a bridge, a VXLAN device and firewall rules for each host; `routed`: routes."""
        mtu = self.mtu(inventory, network, facts)
        forwards = device.forwards(inventory, network)
        for host in network.hosts:
            if host not in facts:
                continue
            resources = device.bridged if self.single_l2(network) else device.routed
            yield from resources(inventory, network, facts[host], mtu, forwards)
            if by_evpn(network):
                yield from evpn.resources(inventory, network, facts[host])

    def check_host(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield the reasons why one host cannot carry its part of the network."""
        yield from super().check_host(inventory, network, facts)
        if by_evpn(network):
            yield from frr_facts.problems(inventory, facts, "control: static", ("bgp", "evpn"))
            yield from evpn_facts.problems(inventory, network, facts)

    def firewall_needs(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Need]:
        """Yield the packets of a network that the firewalls of one host must let through."""
        yield from super().firewall_needs(inventory, network, facts)
        if by_evpn(network):
            yield from frr_needs.needs(inventory, network, facts)

    def ports(self, network: Network, host: str) -> tuple[str, ...]:
        """Ports of the host that the network may take."""
        more = frr_needs.ports(network, host) if by_evpn(network) else ()
        return (*super().ports(network, host), *more)

    def tools(self, network: Network, host: str) -> tuple[str, ...]:
        """Commands that a host needs in addition to those that every host needs."""
        return ("vtysh",) if by_evpn(network) else ()

    def overhead(self, network: Network) -> int:
        """Bytes by which a packet grows on its way to another host."""
        return VXLAN_OVERHEAD

    def tunnel(self, network: Network) -> Tunnel:
        """VXLAN, for every packet between hosts."""
        return Tunnel("vxlan", options(network).port)

    def tunnel_links(self, inventory: Inventory, network: Network) -> tuple[str, ...]:
        """The VXLAN device."""
        return (device.device_name(inventory, network),)

    def table_service(self, inventory: Inventory, network: Network) -> str:
        """The service of FRR, which fills the device's table with EVPN."""
        if not by_evpn(network):
            return ""
        return evpn.speaker_of(inventory, network, network.hosts[0]).unit

    def single_l2(self, network: Network) -> bool:
        """True if all containers are on one layer 2."""
        return options(network).mode == "bridged"

    def status_script(self, inventory: Inventory, host: str, *, wait: bool = False) -> str:
        """Read the sessions and the tables of a host's networks with EVPN."""
        return evpn_status.script(inventory, host, self._with_evpn(inventory, host), wait=wait)

    def parse_status(self, inventory: Inventory, host: str, text: str) -> tuple[EvpnStatus, ...]:
        """The status of each network with EVPN of a host."""
        return evpn_status.parse(inventory, host, self._with_evpn(inventory, host), text)

    def show_tables(
        self, statuses: Mapping[str, tuple[EvpnStatus, ...]]
    ) -> Iterator[tuple[str, Row, tuple[Row, ...]]]:
        """Yield the tables of sessions and of neighbours."""
        yield from status_tables.tables(
            "EVPN sessions", evpn_status.SESSION_COLUMNS, statuses, evpn_status.session_rows
        )
        yield from status_tables.tables(
            "EVPN neighbours", evpn_status.NEIGHBOUR_COLUMNS, statuses, evpn_status.neighbour_rows
        )

    def show_json(self, statuses: Mapping[str, tuple[EvpnStatus, ...]]) -> Mapping[str, Any]:
        """The key `evpn`."""
        return status_tables.as_json("evpn", statuses, evpn_status.json_fields)

    def _with_evpn(self, inventory: Inventory, host: str) -> tuple[Network, ...]:
        return tuple(filter(by_evpn, self.networks(inventory, host)))
