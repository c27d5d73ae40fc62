"""Method `flannel`: flanneld on every host, by the map in an etcd on some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256

import provision.methods.flannel.etcd as etcd
from provision.facts.host import HostFacts
from provision.methods._shared import docker_bridge
from provision.methods.flannel.options import (
    OVERHEAD,
    Options,
    config,
    device,
    members,
    options,
    port,
)
from provision.model.errors import UnfitError
from provision.model.inventory import Inventory, Network
from provision.model.tunnel import Tunnel
from provision.resources.base import Ref, Resource
from provision.resources.kinds.binary import Binary, place
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.service import Service, head
from provision.resources.kinds.sysctl import Sysctl
from provision.resources.kinds.tls_request import stem
from provision.resources.render import render

__all__ = ("Options", "attachment", "desired", "findings", "mtu", "tools", "tunnel")

OLDEST = (0, 23)
"""flannel whose vxlan device keeps its MAC whatever udev says."""

Facts = Mapping[str, HostFacts]


def desired(inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
    """The resources of one network on every host in `facts`."""
    size = mtu(inventory, network, facts)
    for host in network.hosts:
        if host in facts:
            yield from etcd.resources(inventory, network, facts, host, size)
            yield from _joined(inventory, network, facts[host], size)
            yield from _host(inventory, network, facts[host], size)


def mtu(inventory: Inventory, network: Network, facts: Facts) -> int:
    """Bytes of the largest packet that every host in `facts` can send to the others."""
    return docker_bridge.mtu(inventory, network, facts, overhead=OVERHEAD[options(network).backend])


def tunnel(network: Network) -> Tunnel | None:
    """What packets are wrapped in on their way to another host."""
    said = options(network)
    match said.backend:
        case "vxlan":
            return Tunnel("vxlan", port(said) or 0, optional=said.direct_routing)
        case "udp":
            return Tunnel("udp", port(said) or 0)
        case _:
            return None


def tools(network: Network, host: str) -> tuple[str, ...]:
    """Commands that a host needs beside those of every host."""
    return ("openssl", "etcdctl", *(("etcd",) if host in members(network) else ()))


def attachment(network: Network, host: str) -> Ref:
    """What a container of this network is put on."""
    return docker_bridge.attachment(network, host)


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
    path = program.path if program else facts.flanneld
    needs = [traces.ref, etcd.certificate_ref(network, host, etcd.CLIENT)]
    needs += [program.ref] if program else []
    after = (
        etcd.lease_ref(network, host),
        etcd.config_ref(network),
        *etcd.services(inventory, network),
    )
    mark = f"{inventory.name}/{network.name}"
    yield Service(
        host,
        f"provision-{inventory.name}-{network.name}-flanneld.service",
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
        stops="packets between hosts are lost until flannel is back",
        brief=said.backend != "udp",
        needs=tuple(needs),
        started_after=after,
    )


def _program(inventory: Inventory, network: Network, facts: HostFacts) -> Binary | None:
    """The flanneld to send; None where the host's own serves."""
    if options(network).flanneld is None and facts.flanneld_version >= OLDEST:
        return None
    target, held = place(inventory.name, network.name), network.program
    return Binary(facts.host, target, held.sha256 if held else "", held.path if held else None)


def findings(inventory: Inventory, network: Network, facts: Facts) -> Iterator[UnfitError]:
    """Why hosts that were seen cannot serve this network."""
    said = options(network)
    for host in network.hosts:
        if host not in facts:
            continue
        seen = facts[host]
        overhead = OVERHEAD[said.backend]
        yield from docker_bridge.findings(inventory, network, seen, overhead=overhead)
        yield from _machine(network, seen)
        for peer in network.hosts:
            if peer != host:
                yield from _peer(inventory, network, seen, peer)


def _machine(network: Network, facts: HostFacts) -> Iterator[UnfitError]:
    arch = facts.machine
    if arch and arch != "x86_64" and options(network).backend == "udp":
        yield UnfitError(
            facts.host,
            f"it is {arch}, and flannel's udp backend is for x86_64 only",
            "write backend: vxlan",
        )
    elif arch and arch != "x86_64" and facts.flanneld_version < OLDEST:
        yield UnfitError(
            facts.host,
            f"it is {arch}, and the flanneld to send is for x86_64",
            f"install flanneld 0.23 or newer for {arch} in its path",
        )


def _peer(
    inventory: Inventory, network: Network, facts: HostFacts, peer: str
) -> Iterator[UnfitError]:
    address, nic = inventory.hosts[peer].address, inventory.hosts[facts.host].nic
    way = facts.peer_routes.get(address)
    if way is None:
        yield UnfitError(facts.host, f"it has no route to {peer} ({address})")
    elif way.via is not None and device(network) is None:
        yield UnfitError(
            facts.host,
            f"{peer} ({address}) is not on the same link: it is reached through {way.via}",
            "host-gw needs all hosts on one link: write backend: vxlan",
        )
    elif nic is not None and way.dev != nic:
        yield UnfitError(facts.host, f"{peer} ({address}) is reached by {way.dev}, not by {nic}")
