"""flanneld on one host: its binary, its service, and the bridge that its packets reach. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256

import provision.methods.flannel.etcd as etcd
from provision.facts.host import HostFacts
from provision.methods._shared import docker_bridge
from provision.methods.flannel.facts import FlannelFacts
from provision.methods.flannel.options import (
    config,
    device,
    endpoints,
    first_writer,
    members,
    options,
)
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.resources.base import Resource
from provision.resources.kinds.binary import Binary, flanneld_path
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.service import Service, head
from provision.resources.lib import etcd_keys
from provision.resources.on_hosts import Mark, service_name
from provision.resources.render import render

OLDEST = (0, 23)
"""The first version whose vxlan device keeps its MAC address. systemd-udevd replaces that of older
ones (MACAddressPolicy=persistent), while the leases in etcd keep the first."""


def bridge(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int
) -> Iterator[Resource]:
    """IP forwarding, Docker's bridge and its firewall rules."""
    nics = _nics(inventory, network, facts)
    yield from docker_bridge.forwarding(inventory, network, facts, nics)
    yield docker_bridge.bridge(inventory, network, facts, mtu=mtu, nics=nics)
    # With ip_masq flanneld masquerades; a second rule for the same packets would be ours.
    quiet = replace(network, egress="none") if options(network).ip_masq else network
    yield from docker_bridge.chains(inventory, quiet, facts.host, nics)


def _nics(inventory: Inventory, network: Network, facts: HostFacts) -> tuple[str, ...]:
    """The interfaces that packets of other hosts' containers arrive at."""
    tunnel = device(network)
    direct = tunnel is None or options(network).direct_routing
    nics = docker_bridge.nics(inventory, network, facts) if direct else ()
    return tuple(sorted({*nics, *((tunnel,) if tunnel else ())}))


def service(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int, writer: str
) -> Iterator[Resource]:
    """flanneld's unit, its binary if the host gets one, and the claim on what flanneld creates."""
    host, settings = facts.host, options(network)
    written = etcd.config_ref(network, writer)
    claim = Flannel(
        host,
        network.name,
        settings.backend,
        device(network) or "",
        network.cidr,
        settings.ip_masq,
        inventory.name,
        started_after=(written,),
    )
    binary = _binary(inventory, network, facts)
    yield claim
    if binary is not None:
        yield binary
    needs = [claim.ref, *etcd.client_refs(inventory, network, host)]
    needs += [binary.ref] if binary else []
    # The file names the first writer for good: with another text, flanneld would restart.
    named = etcd.config_ref(network, first_writer(network))
    after = (etcd.lease_ref(network, host), named, *etcd.services(inventory, network))
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
            program=binary.path if binary else facts.of(FlannelFacts).flanneld,
            sha256=binary.sha256 if binary else "",
            ctl=etcd_keys.ctl(inventory.name, network.name),
            key=etcd_keys.config_key(settings.etcd.prefix),
            endpoints=",".join(endpoints(inventory, network)),
            prefix=settings.etcd.prefix,
            ca=etcd.ca(inventory, network),
            stem=etcd.client_stem(inventory, network),
            address=inventory.hosts[host].address,
            masquerade=str(settings.ip_masq).lower(),
            state=claim.state,
        ),
        stop_effect="packets between hosts are lost until flannel is back",
        # The kernel forwards the packets of vxlan and host-gw: flanneld only configures it. The
        # udp backend forwards them in its own process.
        restarts_quietly=settings.backend != "udp",
        needs=tuple(needs),
        started_after=(*after, written),
    )


def _binary(inventory: Inventory, network: Network, facts: HostFacts) -> Binary | None:
    """The flanneld that the host gets; None if its own is new enough."""
    if options(network).flanneld is None and facts.of(FlannelFacts).flanneld_version >= OLDEST:
        return None
    target, file = flanneld_path(inventory.name, network.name), network.files.get("flanneld")
    return Binary(facts.host, target, file.sha256 if file else "", file.path if file else None)


def etcd_problems(network: Network, facts: HostFacts) -> Iterator[Problem]:
    """Yield the reason why the host cannot use the user's etcd."""
    states = facts.of(FlannelFacts).endpoints
    errors = [
        f"{endpoint}: {states[endpoint]}"
        for endpoint in options(network).etcd.endpoints or ()
        if states.get(endpoint)
    ]
    # Clients of etcd need only one of the endpoints.
    if errors and len(errors) == len(options(network).etcd.endpoints or ()):
        message = f"etcd of network '{network.name}' cannot be reached, {'; '.join(errors)}"
        yield Problem(facts.host, message, "start it, and let this host in at its port")


def problems(network: Network, facts: HostFacts) -> Iterator[Problem]:
    """Yield the reasons why flanneld cannot run on the host's processor."""
    architecture = facts.architecture
    if architecture in ("", "x86_64"):
        return
    if options(network).backend == "udp":
        message = f"it is {architecture}, and flannel's udp backend is for x86_64 only"
        yield Problem(facts.host, message, "write backend: vxlan")
    elif facts.of(FlannelFacts).flanneld_version < OLDEST:
        message = f"it is {architecture}, and the flanneld that provision sends is for x86_64"
        hint = f"install flanneld 0.23 or newer for {architecture} in its PATH"
        yield Problem(facts.host, message, hint)
