"""Method `flannel`: flanneld on every host; the subnet leases are in an etcd on some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import provision.methods.flannel.etcd as etcd
import provision.methods.flannel.etcd_checks as etcd_checks
import provision.methods.flannel.facts as flannel_facts
import provision.methods.flannel.rules as rules
import provision.methods.flannel.status as status
from provision.facts.host import HostFacts
from provision.facts.probe import FactsProbe
from provision.methods import ClashKey, Facts, HostCheck, Method
from provision.methods._shared import docker_bridge
from provision.methods._shared import subnets as subnet_rules
from provision.methods.flannel.etcd_checks import EtcdAnswer
from provision.methods.flannel.facts import FlannelFacts
from provision.methods.flannel.options import (
    OVERHEAD,
    FlannelOptions,
    config,
    device,
    members,
    options,
    port,
)
from provision.methods.flannel.status import Row, Statuses
from provision.model.findings import BadValueError, Finding
from provision.model.inventory import Inventory, LocalBinary, Network
from provision.model.problems import Problem
from provision.model.tunnel import Tunnel
from provision.resources.base import Resource
from provision.resources.kinds.binary import Binary, flanneld_path
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.service import Service, head
from provision.resources.kinds.sysctl import Sysctl
from provision.resources.kinds.tls_request import stem
from provision.resources.on_hosts import Mark, service_name
from provision.resources.render import render

if TYPE_CHECKING:
    from provision.model.documents import Decoded, Layout, NetworkDocument, Subnets

# The hosts may run the user's own flannel, with etcd on its default ports 2379 and 2380.
_TEST_ETCD = {"etcd": {"client_port": 12379, "peer_port": 12380}}
OLDEST = (0, 23)
"""flannel whose vxlan device keeps its MAC whatever udev says."""


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

    def check_file(self, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
        """Yield the mistakes in this method's networks."""
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
        """flanneld: the named file, or the one that this machine has built before."""
        import provision.methods.flannel.binary as binary

        if options.flanneld is None:
            built = binary.cached()
            return {"flanneld": built} if built else {}
        try:
            return {"flanneld": binary.file(options.flanneld, folder)}
        except BadValueError as error:
            return {"flanneld": error}

    def facts(self, inventory: Inventory, host: str) -> tuple[FactsProbe, ...]:
        """The probe for the host's own flanneld and its TLS files."""
        return (flannel_facts.probe(),)

    def desired(self, inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
        """Yield etcd, flanneld, a bridge and firewall rules for each host."""
        mtu = self.mtu(inventory, network, facts)
        for host in network.hosts:
            if host in facts:
                yield from etcd.resources(inventory, network, facts, host, mtu)
                yield from _joined(inventory, network, facts[host], mtu)
                yield from _host(inventory, network, facts[host], mtu)

    def check_host(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield the reasons why one host cannot carry its part of the network."""
        overhead = self.overhead(network)
        yield from docker_bridge.problems(inventory, network, facts, overhead=overhead)
        yield from _machine(network, facts)
        one_link = "" if device(network) else "host-gw needs all hosts on one link: " + _WRAPPED
        yield from docker_bridge.peer_problems(inventory, network, facts, one_link=one_link)

    def build_files(
        self, network: Network, say: Callable[[str], None]
    ) -> Mapping[str, LocalBinary]:
        """Build flanneld, unless the file names one."""
        import provision.methods.flannel.binary as binary

        return {"flanneld": binary.built(say)} if options(network).flanneld is None else {}

    def overhead(self, network: Network) -> int:
        """Bytes by which a packet grows on its way to another host."""
        return OVERHEAD[options(network).backend]

    def tunnel(self, network: Network) -> Tunnel | None:
        """The encapsulation of packets between hosts; None: they travel unwrapped."""
        said = options(network)
        match said.backend:
            case "vxlan":
                return Tunnel("vxlan", port(said) or 0, optional=said.direct_routing)
            case "udp":
                return Tunnel("udp", port(said) or 0)
            case _:
                return None

    def status_script(self, inventory: Inventory, host: str) -> str:
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
        every = tuple(chain.from_iterable(statuses.values()))
        return {"overlays": status.as_json(every)} if every else {}

    def tools(self, network: Network, host: str) -> tuple[str, ...]:
        """Commands that a host needs in addition to those that every host needs."""
        return ("openssl", "etcdctl", *(("etcd",) if host in members(network) else ()))


_WRAPPED = "write backend: vxlan"


def _host(inventory: Inventory, network: Network, facts: HostFacts, mtu: int) -> Iterator[Resource]:
    nics = _nics(inventory, network, facts)
    yield Sysctl(facts.host, "net.ipv4.ip_forward", "1", inventory.name)
    yield docker_bridge.bridge(inventory, network, facts, mtu=mtu, nics=nics)
    # flannel's own masquerade and ours would be two of one kind.
    ours = replace(network, egress="none") if options(network).ip_masq else network
    yield from docker_bridge.chains(inventory, ours, facts.host, nics)


def _nics(inventory: Inventory, network: Network, facts: HostFacts) -> tuple[str, ...]:
    """Where packets of other hosts' containers come in."""
    said, made = options(network), device(network)
    direct = made is None or said.direct_routing
    below = docker_bridge.nics(inventory, network, facts) if direct else ()
    return tuple(sorted({*below, *((made,) if made else ())}))


def _joined(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int
) -> Iterator[Resource]:
    said, host = options(network), facts.host
    traces = Flannel(
        host,
        network.name,
        said.backend,
        device(network) or "",
        network.cidr,
        said.ip_masq,
        inventory.name,
    )
    program = _program(inventory, network, facts)
    yield traces
    if program is not None:
        yield program
    path = program.path if program else facts.of(FlannelFacts).flanneld
    needs = [traces.ref, etcd.certificate_ref(network, host, etcd.CLIENT)]
    needs += [program.ref] if program else []
    after = (
        etcd.lease_ref(network, host),
        etcd.config_ref(network),
        *etcd.services(inventory, network),
    )
    mark = Mark(inventory.name, network.name)
    yield Service(
        host,
        service_name(inventory.name, network.name, "flanneld"),
        mark,
        render(
            "flannel/flanneld.service.j2",
            head=head(mark, tuple(needs), after),
            mark=mark,
            subnet=network.subnets[host],
            config=sha256(config(network, mtu).encode()).hexdigest()[:16],
            etcd=etcd.service(inventory, network) if host in members(network) else "",
            program=path,
            sha256=program.sha256 if program else "",
            endpoints=etcd.endpoints(inventory, network),
            prefix=said.etcd.prefix,
            ca=etcd.ca(inventory, network),
            stem=stem(inventory.name, network.name, etcd.CLIENT),
            address=inventory.hosts[host].address,
            masquerade=str(said.ip_masq).lower(),
            state=traces.state,
        ),
        # vxlan and host-gw are the kernel's; flanneld only tells it about changes.
        stop_effect="packets between hosts are lost until flannel is back",
        restarts_quietly=said.backend != "udp",
        needs=tuple(needs),
        started_after=after,
    )


def _program(inventory: Inventory, network: Network, facts: HostFacts) -> Binary | None:
    """The flanneld to send; None where the host's own serves."""
    if options(network).flanneld is None and facts.of(FlannelFacts).flanneld_version >= OLDEST:
        return None
    target, file = flanneld_path(inventory.name, network.name), network.files.get("flanneld")
    return Binary(facts.host, target, file.sha256 if file else "", file.path if file else None)


def _machine(network: Network, facts: HostFacts) -> Iterator[Problem]:
    arch = facts.architecture
    if arch and arch != "x86_64" and options(network).backend == "udp":
        yield Problem(
            facts.host,
            f"it is {arch}, and flannel's udp backend is for x86_64 only",
            _WRAPPED,
        )
    elif arch and arch != "x86_64" and facts.of(FlannelFacts).flanneld_version < OLDEST:
        yield Problem(
            facts.host,
            f"it is {arch}, and the flanneld to send is for x86_64",
            f"install flanneld 0.23 or newer for {arch} in its path",
        )
