"""The etcd of a flannel network: certificates, services, configuration and leases. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import provision.methods.flannel.etcd_members as etcd_members
import provision.methods.flannel.firewall as firewall
import provision.methods.flannel.tls_files as tls_files
from provision.methods import Facts
from provision.methods.flannel.facts import FlannelFacts
from provision.methods.flannel.options import (
    cluster,
    config,
    endpoints,
    is_external,
    members,
    options,
    prefixes,
)
from provision.model.inventory import Inventory, Network
from provision.resources.base import Ref, Resource
from provision.resources.kinds.certificate import Certificate, digest, service_of
from provision.resources.kinds.etcd_config import EtcdConfig
from provision.resources.kinds.etcd_data import EtcdData
from provision.resources.kinds.etcd_lease import EtcdLease
from provision.resources.kinds.file import File
from provision.resources.kinds.service import Service, head
from provision.resources.kinds.tls_file import TlsFile, tls_path
from provision.resources.kinds.tls_request import TlsRequest, stem
from provision.resources.lib import etcd_keys as keys
from provision.resources.on_hosts import UNIT_FOLDER, Mark, service_name
from provision.resources.render import program_text, render
from provision.resources.steps import sh

CLIENT, MEMBER = "client", "member"
"""Roles of a certificate. A member has two keys, so that no client can pass for a member."""
_JOIN = program_text("host/etcd_wait.sh", "host/etcd_join.sh")
_LEAVE = program_text("host/etcd_leave.sh")


def resources(
    inventory: Inventory, network: Network, facts: Facts, host: str, mtu: int, writer: str
) -> Iterator[Resource]:
    """Everything that one host needs before its flanneld: certificates, etcd, and its lease.

    The host `writer` writes flannel's settings for all.
    """
    if is_external(network):
        yield from _tls_files(inventory, network, host)
    for role in roles(network, host):
        yield TlsRequest(host, network.name, role, inventory.name)
        yield _certificate(inventory, network, facts, host, role)
    yield _etcdctl(inventory, network, host)
    if host in members(network):
        yield from _member(inventory, network, facts, host)
    yield from firewall.chains(inventory, network, facts[host])
    if host == writer:
        yield _config(inventory, network, facts, mtu, writer)
    yield _lease(inventory, network, facts, host, writer)


def roles(network: Network, host: str) -> tuple[str, ...]:
    """The roles of a host's certificates that provision issues."""
    if is_external(network):
        return ()
    return (CLIENT, MEMBER) if host in members(network) else (CLIENT,)


def service(inventory: Inventory, network: Network) -> str:
    """The name of etcd's unit, the same on every member."""
    return service_name(inventory.name, network.name, "etcd")


def services(inventory: Inventory, network: Network) -> tuple[Ref, ...]:
    """The etcd service of every member."""
    name = service(inventory, network)
    return tuple(Ref(host, "service", name) for host in members(network))


def ca(inventory: Inventory, network: Network) -> str:
    """The path of the CA certificate on hosts."""
    if is_external(network):
        return tls_path(inventory.name, network.name, tls_files.ENDINGS["ca"])
    return stem(inventory.name, network.name, "ca") + ".crt"


def client_stem(inventory: Inventory, network: Network) -> str:
    """The path of the client's certificate and key on hosts, without the endings."""
    if is_external(network):
        return tls_path(inventory.name, network.name, "crt").removesuffix(".crt")
    return stem(inventory.name, network.name, CLIENT)


def client_refs(inventory: Inventory, network: Network, host: str) -> tuple[Ref, ...]:
    """The certificate with which a host is a client of etcd."""
    if is_external(network):
        return tuple(file.ref for file in _tls_files(inventory, network, host))
    return (certificate_ref(network, host, CLIENT),)


def config_ref(network: Network, writer: str) -> Ref:
    """The configuration of flannel, which the host `writer` writes for all."""
    key = keys.config_key(options(network).etcd.prefix)
    return Ref(writer, "etcd_config", f"{network.name}{key}")


def lease_ref(network: Network, host: str) -> Ref:
    """The lease of a host's subnet."""
    key = keys.subnet_key(options(network).etcd.prefix, network.subnets[host])
    return Ref(host, "etcd_lease", f"{network.name}{key}")


def certificate_ref(network: Network, host: str, role: str) -> Ref:
    """A host's certificate for a role."""
    return Ref(host, "certificate", f"{network.name}.{role}")


def trusted(network: Network, facts: Facts) -> str:
    """The CA certificate that the hosts have already, as PEM; empty before the first apply.

    Hosts may have different ones after a change of the CA: the first member's counts.
    """
    order = (*members(network), *network.hosts)
    certificates = (
        facts[host].of(FlannelFacts).tls_files.get(f"{network.name}.ca.crt", "")
        for host in order
        if host in facts
    )
    return next(filter(None, certificates), "")


def signer(inventory: Inventory, network: Network) -> Path:
    """The path of the network's CA on the controller, without the suffixes .key and .crt."""
    return inventory.path.parent / ".provision" / "pki" / inventory.name / network.name


def _certificate(
    inventory: Inventory, network: Network, facts: Facts, host: str, role: str
) -> Certificate:
    request = facts[host].of(FlannelFacts).tls_files.get(f"{network.name}.{role}.csr", "")
    ca_certificate = trusted(network, facts)
    return Certificate(
        host=host,
        network=network.name,
        role=role,
        inventory=inventory.name,
        addresses=(str(inventory.hosts[host].address),),
        server=role == MEMBER,
        request=digest(request) if request else "",
        authority=digest(ca_certificate) if ca_certificate else "",
        csr=request,
        trusted=ca_certificate,
        signer=signer(inventory, network),
        services=(service_of(inventory.name, network.name, role),),
    )


def _etcdctl(inventory: Inventory, network: Network, host: str) -> File:
    text = render(
        "flannel/etcdctl.j2",
        mark=Mark(inventory.name, network.name),
        network=network.name,
        prefix=options(network).etcd.prefix,
        endpoints=",".join(endpoints(inventory, network)),
        ca=ca(inventory, network),
        stem=client_stem(inventory, network),
        prefixes=prefixes(inventory, network) if is_external(network) else (),
    )
    return File(host, keys.ctl(inventory.name, network.name), text, "0755")


def _tls_files(inventory: Inventory, network: Network, host: str) -> Iterator[TlsFile]:
    """The user's files by which the host is a client of the user's etcd."""
    for name, ending in tls_files.ENDINGS.items():
        file = network.files[tls_files.option(name)]
        path = tls_path(inventory.name, network.name, ending)
        yield TlsFile(host, path, file.sha256, source=file.path)


def _member(inventory: Inventory, network: Network, facts: Facts, host: str) -> Iterator[Resource]:
    etcd, address = options(network).etcd, inventory.hosts[host].address
    name, token = service(inventory, network), cluster(inventory, network)
    lost = etcd_members.lost(inventory, network, facts)
    is_earlier = host in etcd_members.of_earlier(inventory, network, facts)
    replaces = etcd_members.EARLIER if is_earlier else lost.get(host, "")
    cause = etcd_members.cause(inventory, network, facts, host)
    data = EtcdData(host, network.name, token, inventory.name, name, replaces, cause=cause)
    yield data
    needs = (data.ref, certificate_ref(network, host, MEMBER))
    text = render(
        "flannel/etcd.service.j2",
        head=head(Mark(inventory.name, network.name), needs, ()),
        mark=Mark(inventory.name, network.name),
        host=host,
        state=data.folder,
        token=token,
        cluster=_peers(inventory, network),
        client=f"https://{address}:{etcd.client_port}",
        peer=etcd_members.peer_url(inventory, network, host),
        stem=stem(inventory.name, network.name, MEMBER),
        ca=ca(inventory, network),
        peer_name=f"{network.name}.{MEMBER}",
    )
    unit = Service(host, name, Mark(inventory.name, network.name), text, needs=needs)
    yield _joining(inventory, network, unit, tuple(lost)) if host in lost else unit


def _peers(inventory: Inventory, network: Network) -> str:
    """The names and the URLs of all members for each other, as etcd wants them."""
    return ",".join(
        f"{member}={etcd_members.peer_url(inventory, network, member)}"
        for member in members(network)
    )


def _joining(
    inventory: Inventory, network: Network, unit: Service, lost: tuple[str, ...]
) -> Service:
    """The service of a member that joins the running cluster in place of itself, without data."""
    # One at a time: etcd allows one learner, and each needs the votes of those before it, which are
    # members again. etcd adds none while it lists others that are not connected.
    earlier, rest = lost[: lost.index(unit.host)], lost[lost.index(unit.host) :]
    urls = {member: etcd_members.peer_url(inventory, network, member) for member in rest}
    join = sh(
        _JOIN,
        unit.service,
        f"{UNIT_FOLDER}/{unit.service}",
        keys.ctl(inventory.name, network.name),
        _peers(inventory, network),
        unit.host,
        urls[unit.host],
        *urls.values(),
    )
    after = (
        *_client_needs(inventory, network, unit.host),
        *(Ref(member, "service", unit.service) for member in earlier),
    )
    leave = sh(_LEAVE, keys.ctl(inventory.name, network.name), unit.host, urls[unit.host])
    return replace(unit, started_after=after, first_start=(join,), before_undo=(leave,))


def _config(
    inventory: Inventory, network: Network, facts: Facts, mtu: int, writer: str
) -> EtcdConfig:
    return EtcdConfig(
        host=writer,
        network=network.name,
        prefix=options(network).etcd.prefix,
        config=config(network, mtu),
        cluster=cluster(inventory, network),
        members=members(network),
        inventory=inventory.name,
        started_after=(
            *_client_needs(inventory, network, writer),
            *services(inventory, network),
        ),
        existed=bool(etcd_members.keys(inventory, network, facts)),
    )


def _client_needs(inventory: Inventory, network: Network, host: str) -> tuple[Ref, ...]:
    """The resources by which a host can use etcd: its etcdctl, and the members' firewall rules."""
    etcdctl = Ref(host, "file", keys.ctl(inventory.name, network.name))
    rules = (firewall.input_ref(inventory, network, member) for member in members(network))
    return etcdctl, *client_refs(inventory, network, host), *rules


def _lease(
    inventory: Inventory, network: Network, facts: Facts, host: str, writer: str
) -> EtcdLease:
    backend, name = options(network).backend, network.name
    lease = keys.subnet_key(options(network).etcd.prefix, network.subnets[host])
    anew = etcd_members.has_lost_all(inventory, network, facts)
    return EtcdLease(
        host=host,
        network=network.name,
        prefix=options(network).etcd.prefix,
        subnet=network.subnets[host],
        address=str(inventory.hosts[host].address),
        backend="" if backend == "udp" else backend,  # flannel writes none for udp
        cluster=cluster(inventory, network),
        inventory=inventory.name,
        started_after=(
            *_client_needs(inventory, network, host),
            *services(inventory, network),
            config_ref(network, writer),
        ),
        existed=lease in etcd_members.keys(inventory, network, facts),
        restarts=service_name(inventory.name, name, "flanneld") if anew else "",
    )
