"""Method `flannel`: flanneld on every host; the subnet leases are in an etcd on some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import provision.methods.flannel.etcd as etcd
import provision.methods.flannel.etcd_checks as etcd_checks
import provision.methods.flannel.etcd_members as etcd_members
import provision.methods.flannel.facts as flannel_facts
import provision.methods.flannel.flanneld as flanneld
import provision.methods.flannel.rules as rules
import provision.methods.flannel.status as status
import provision.methods.flannel.tls_files as tls_files
from provision.facts.host import HostFacts
from provision.facts.probe import FactsProbe
from provision.methods import ClashKey, Facts, HostCheck, Method
from provision.methods._shared import docker_bridge, firewall_needs
from provision.methods._shared import subnets as subnet_rules
from provision.methods.flannel.etcd_checks import EtcdAnswer
from provision.methods.flannel.options import (
    OVERHEAD,
    FlannelOptions,
    device,
    is_external,
    members,
    options,
    port,
)
from provision.methods.flannel.status import Row, Statuses
from provision.model.findings import BadValueError, Finding
from provision.model.inventory import Inventory, LocalBinary, Network
from provision.model.needs import Need
from provision.model.problems import Problem
from provision.model.tunnel import Tunnel
from provision.resources.base import Resource

if TYPE_CHECKING:
    from provision.model.documents import Decoded, Layout, NetworkDocument, Subnets

# The hosts may run the user's own flannel, with etcd on its default ports 2379 and 2380.
_TEST_ETCD = {"etcd": {"client_port": 12379, "peer_port": 12380}}


def _health_error(
    inventory: Inventory,
    network: Network,
    facts: HostFacts,
    statuses: Statuses,
) -> str:
    return etcd_checks.health_error(inventory, network, _etcd_answer(network, statuses))


def _lease_error(
    inventory: Inventory,
    network: Network,
    facts: HostFacts,
    statuses: Statuses,
) -> str:
    return etcd_checks.lease_error(inventory, network, _etcd_answer(network, statuses))


def _etcd_answer(network: Network, statuses: Statuses) -> EtcdAnswer:
    return next(status.etcd for status in statuses if status.network == network.name)


class FlannelMethod(Method):
    """flanneld on every host; an etcd cluster on some of them holds the subnet leases."""

    name = "flannel"
    Options = FlannelOptions
    variants: ClassVar = {
        backend: {"backend": backend, **_TEST_ETCD} for backend in ("vxlan", "host-gw", "udp")
    }
    checks = (HostCheck("etcd", _health_error), HostCheck("leases", _lease_error))

    def subnets(
        self, document: NetworkDocument, options: FlannelOptions, hosts: tuple[str, ...]
    ) -> Subnets:
        """The subnet of each host, from subnet_min up."""
        return subnet_rules.equal_blocks(
            document, hosts, first=rules.first_block(document, options)
        )

    def subnet_bounds(self, network: Network) -> tuple[IPv4Address, IPv4Address]:
        """The bounds of flannel, or the range itself."""
        low, high = options(network).subnet_min, options(network).subnet_max
        return low or network.cidr.network_address, high or network.cidr.broadcast_address

    def check_file(self, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
        """Yield the mistakes in this method's networks."""
        etcds = {name: rules.options_of(decoded, name).etcd for name in self.documents(decoded)}
        yield from rules.shared_prefixes(etcds)
        for name, document in self.documents(decoded).items():
            options = rules.options_of(decoded, name)
            loc, hosts, parts = ("networks", name), layout.hosts[name], layout.subnets[name]
            low = rules.lowest_subnet(document, options)
            yield from subnet_rules.findings(loc, document, hosts, parts, low)
            yield from rules.findings(
                name, document, options, layout.hosts[name], layout.subnets[name]
            )

    def clash_keys(self, name: str, decoded: Decoded) -> Iterator[ClashKey]:
        """Yield what no other network of the same hosts may use."""
        yield from super().clash_keys(name, decoded)
        yield from rules.clash_keys(rules.options_of(decoded, name))

    def controller_files(
        self, options: FlannelOptions, folder: Path
    ) -> Mapping[str, LocalBinary | BadValueError]:
        """flanneld: the named file, or the one that was downloaded or built before.

        For an etcd of the user also the files by which the hosts are its clients.
        """
        if options.etcd.endpoints is None:
            return self._flanneld(options, folder)
        return {**self._flanneld(options, folder), **tls_files.files(options.etcd, folder)}

    @staticmethod
    def _flanneld(
        options: FlannelOptions, folder: Path
    ) -> Mapping[str, LocalBinary | BadValueError]:
        import provision.methods.flannel.binary as binary

        if isinstance(options.flanneld, str):
            try:
                return {"flanneld": binary.file(options.flanneld, folder)}
            except BadValueError as error:
                return {"flanneld": error}
        release = options.flanneld
        kept = binary.cached_release(release.sha256) if release else binary.cached()
        return {"flanneld": kept} if kept else {}

    def facts(self, inventory: Inventory, host: str) -> tuple[FactsProbe, ...]:
        """The probe for the host's own flanneld and its TLS files."""
        of_host = [options(network) for network in self.networks(inventory, host)]
        endpoints = [url for settings in of_host for url in settings.etcd.endpoints or ()]
        return (flannel_facts.probe(endpoints),)

    def desired(self, inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
        """Yield etcd, flanneld, a bridge and firewall rules for each host."""
        mtu = self.mtu(inventory, network, facts)
        writer = etcd_members.writer(inventory, network, facts)
        for host in network.hosts:
            if host in facts:
                yield from etcd.resources(inventory, network, facts, host, mtu, writer)
                yield from flanneld.service(inventory, network, facts[host], mtu, writer)
                yield from flanneld.bridge(inventory, network, facts[host], mtu)

    def check_host(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield the reasons why one host cannot carry its part of the network."""
        overhead = self.overhead(network)
        yield from docker_bridge.problems(inventory, network, facts, overhead=overhead)
        yield from flanneld.problems(network, facts)
        yield from flanneld.etcd_problems(network, facts)
        hint = "host-gw needs all hosts on one link: write backend: vxlan"
        one_link = "" if device(network) else hint
        yield from docker_bridge.peer_problems(inventory, network, facts, one_link=one_link)

    def check_network(
        self, inventory: Inventory, network: Network, facts: Facts
    ) -> Iterator[Problem]:
        """Yield the loss of etcd's majority."""
        yield from etcd_members.problems(inventory, network, facts)

    def build_files(
        self, network: Network, say: Callable[[str], None]
    ) -> Mapping[str, LocalBinary]:
        """Download the release that the file names, or build flanneld."""
        import provision.methods.flannel.binary as binary

        source = options(network).flanneld
        if isinstance(source, str):
            return {}
        if source is None:
            return {"flanneld": binary.built(say)}
        return {"flanneld": binary.downloaded(source.url, source.sha256, say)}

    def programs(self) -> Mapping[str, Callable[[Callable[[str], None]], LocalBinary]]:
        """flanneld, which is built of its sources."""
        import provision.methods.flannel.binary as binary

        return {"flanneld": binary.built}

    def overhead(self, network: Network) -> int:
        """Bytes by which a packet grows on its way to another host."""
        return OVERHEAD[options(network).backend]

    def tunnel(self, network: Network) -> Tunnel | None:
        """VXLAN or UDP; None for host-gw, whose packets are not encapsulated."""
        settings = options(network)
        match settings.backend:
            case "vxlan":
                return Tunnel("vxlan", port(settings) or 0, optional=settings.direct_routing)
            case "udp":
                return Tunnel("udp", port(settings) or 0)
            case _:
                return None

    def tunnel_links(self, inventory: Inventory, network: Network) -> tuple[str, ...]:
        """The device of flannel; none with host-gw."""
        name = device(network)
        return (name,) if name else ()

    def is_bound_to_nics(self, network: Network, facts: HostFacts) -> bool:
        """True with a tunnel: a chain of ours drops what comes to its port by other interfaces."""
        return device(network) is not None

    def ports(self, network: Network, host: str) -> tuple[str, ...]:
        """The port of the tunnel, and on members those of etcd."""
        cluster = options(network).etcd
        etcd = (f"tcp/{cluster.client_port}", f"tcp/{cluster.peer_port}")
        return (*super().ports(network, host), *(etcd if host in members(network) else ()))

    def firewall_needs(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Need]:
        """Yield the packets of the tunnel, and on members of etcd the connections to it."""
        yield from super().firewall_needs(inventory, network, facts)
        if facts.host in members(network):
            cluster = options(network).etcd
            ports = (cluster.client_port, cluster.peer_port)
            yield from firewall_needs.of_tcp(inventory, network, facts, ports)

    def status_script(self, inventory: Inventory, host: str, *, wait: bool = False) -> str:
        """Read etcd and the certificates of a host."""
        return status.script(inventory, self.networks(inventory, host))

    def parse_status(self, inventory: Inventory, host: str, text: str) -> Statuses:
        """The status of each network of a host."""
        return status.parse(inventory, self.networks(inventory, host), host, text)

    def show_tables(
        self, statuses: Mapping[str, Statuses]
    ) -> Iterator[tuple[str, Row, tuple[Row, ...]]]:
        """Yield the tables of configurations, leases and certificates."""
        yield from status.tables(tuple(chain.from_iterable(statuses.values())))

    def show_json(self, statuses: Mapping[str, Statuses]) -> Mapping[str, Any]:
        """The key `overlays`."""
        of_hosts = tuple(chain.from_iterable(statuses.values()))
        return {"overlays": status.as_json(of_hosts)} if of_hosts else {}

    def tools(self, network: Network, host: str) -> tuple[str, ...]:
        """Commands that a host needs in addition to those that every host needs."""
        if is_external(network):
            return ("etcdctl",)
        return ("openssl", "etcdctl", *(("etcd",) if host in members(network) else ()))
