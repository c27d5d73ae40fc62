"""Build the inventory's values from valid documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from provision.inventory.named_files import NamedFiles
from provision.inventory.rules.interfaces import name_of
from provision.model.documents import (
    ContainerDocument,
    Decoded,
    GuestDocument,
    InterfaceDocument,
    Layout,
)
from provision.model.fields import access, images
from provision.model.fields.containers import ports
from provision.model.fields.interfaces import MAIN_TABLE
from provision.model.inventory import (
    Container,
    FurtherNetwork,
    Guest,
    Host,
    Interface,
    InterfaceRoute,
    InterfaceRule,
    Inventory,
    Network,
    Port,
    Ssh,
)
from provision.model.names import hashed_mac

# busybox alone runs a shell, which ends at once without input. Its sleep knows `infinity`:
# tried with Debian's busybox 1.35, 1.37 and 1.38.
SLEEP = ("sleep", "infinity")


def build(path: Path, decoded: Decoded, layout: Layout, files: NamedFiles) -> Inventory:
    """The inventory in the file `path`. All documents must be valid by all rules."""
    hosts = {
        name: Host(name, host.address, host.nic, host.host_key, _ssh(name, decoded, files))
        for name, host in decoded.hosts.items()
    }
    groups = {name: tuple(dict.fromkeys(members)) for name, members in decoded.groups.items()}
    networks = {name: _network(name, decoded, layout, files) for name in decoded.networks}
    containers = {
        name: _container(decoded.name, name, document, files)
        for name, document in decoded.containers.items()
    }
    return Inventory(
        name=decoded.name,
        path=path,
        hosts=MappingProxyType(hosts),
        groups=MappingProxyType(groups),
        networks=MappingProxyType(networks),
        containers=MappingProxyType(containers),
        packages=decoded.packages,
        firewall=decoded.firewall,
        secrets=tuple(files.secrets),
        guests=MappingProxyType({n: _guest(n, guest) for n, guest in decoded.guests.items()}),
    )


def _ssh(host: str, decoded: Decoded, files: NamedFiles) -> Ssh:
    """The login of one host: its own `ssh`, then the `ssh` of all hosts, key by key."""
    common, special = decoded.ssh, decoded.host_ssh.get(host)
    if special is None:
        return Ssh(
            common.user,
            files.key,
            common.port,
            common.jump,
            common.sudo,
            client=common.client,
            options=common.options or "",
        )
    return Ssh(
        user=special.user or common.user,
        key=files.host_keys[host] or files.key,
        port=special.port or common.port,
        jump=special.jump or common.jump,
        sudo=common.sudo if special.sudo is None else special.sudo,
        address=special.address,
        client=special.client or common.client,
        options=special.options or common.options or "",
    )


def _network(name: str, decoded: Decoded, layout: Layout, files: NamedFiles) -> Network:
    document = decoded.networks[name]
    keys = {
        host: getattr(decoded.hosts[host], document.method, None) for host in layout.hosts[name]
    }
    return Network(
        name=name,
        method=document.method,
        cidr=document.cidr,
        subnets=MappingProxyType(dict(layout.subnets[name])),
        mtu=document.mtu,
        egress=document.egress,
        options=decoded.options[name],
        files=MappingProxyType(files.of_networks[name]),
        host_options=MappingProxyType({h: key for h, key in keys.items() if key is not None}),
        names=document.names,
        written=frozenset(document.subnets or ()),
        sized="subnet_size" in document.model_fields_set,
        access=None if document.access is None else access.of_entries(document.access),
        secrets=MappingProxyType(files.network_secrets[name]),
    )


def _ports(document: ContainerDocument) -> Iterator[Port]:
    for text in document.ports:
        yield from ports(text)


def _container(
    inventory: str, name: str, document: ContainerDocument, files: NamedFiles
) -> Container:
    image = files.image(document)
    # An entrypoint of the inventory need not take `sleep` as its argument.
    sleeps = image.ref == images.DEFAULT and document.entrypoint is None
    default = SLEEP if sleeps else ()
    return Container(
        name=name,
        host=document.host,
        network=document.network,
        image=image,
        command=default if document.command is None else tuple(document.command),
        address=document.address,
        restart=document.restart,
        env=tuple(sorted(files.variables[name].items())),
        volumes=tuple(sorted(document.volumes)),
        ports=tuple(sorted(_ports(document), key=str)),
        mac=document.mac,
        interfaces=tuple(_interfaces(inventory, name, document)),
        aliases=tuple(dict.fromkeys(document.aliases)),
        service=document.service or "",
        settings=document.settings(),
        depends_on=tuple(dict.fromkeys(document.depends_on)),
        networks=tuple(FurtherNetwork(e.network, e.address) for e in document.further()),
    )


def _guest(name: str, document: GuestDocument) -> Guest:
    return Guest(
        name,
        document.host,
        document.network,
        "container" if document.container else "label",
        document.container or document.label or "",
        document.address,
        waits=document.absent == "wait",
    )


def _interfaces(inventory: str, container: str, document: ContainerDocument) -> list[Interface]:
    """The interfaces of a container, in order."""
    documents = enumerate(document.interfaces)
    return [_interface(inventory, container, k, interface) for k, interface in documents]


def _interface(inventory: str, container: str, k: int, document: InterfaceDocument) -> Interface:
    name, mac = name_of(k, document), document.mac or ""
    if document.mac_from is not None:
        mac = hashed_mac(document.mac_from)
    elif not mac and not document.nic:  # a NIC keeps its own address
        mac = hashed_mac(inventory, container, name)
    return Interface(
        name=name,
        network=document.network or "",
        macvlan=document.macvlan or "",
        nic=document.nic or "",
        addresses=document.all_addresses,
        routes=tuple(_routes(document)),
        rules=tuple(
            InterfaceRule(rule.priority, rule.table, rule.source or "", rule.to or "")
            for rule in document.rules
        ),
        mac=mac,
        vlan=document.vlan or 0,
        mtu=document.mtu or 0,
    )


def _routes(document: InterfaceDocument) -> Iterator[InterfaceRoute]:
    for router in filter(None, (document.gateway, document.gateway6)):
        yield InterfaceRoute("default", router)
    for route in document.routes:
        via, source, table = route.via or "", route.source or "", route.table or MAIN_TABLE
        yield InterfaceRoute(route.to, via, source, route.metric, table)
