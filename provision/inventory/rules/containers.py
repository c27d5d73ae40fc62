"""Rules for containers: their hosts, networks, ports and fixed addresses. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Network

from provision import methods
from provision.inventory.rules import further_networks
from provision.model.documents import ContainerDocument, Decoded, Layout, Member, Subnets
from provision.model.fields import containers
from provision.model.fields.container_settings import absolute_path
from provision.model.findings import Finding, Loc
from provision.model.inventory import Port
from provision.model.suggest import did_you_mean
from provision.model.text import count, listed, quoted

MODES = ("bridge", "host", "none")
# Modes in which Docker gives the container no interface of its own.
WITHOUT_INTERFACE = {
    "host": "the container uses the host's interfaces, and its programs listen there",
    "none": "the container has no interface but lo",
    "container": "the container uses the interfaces of the other container",
}


def findings(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Yield the findings about all containers."""
    for name, container in decoded.containers.items():
        loc: Loc = ("containers", name)
        mistakes = [*_host(loc, container, decoded), *_network(loc, container, decoded)]
        yield from mistakes
        yield from _mounts(loc, container)
        if not mistakes and container.network in layout.hosts:
            yield from _membership(loc, container, layout)
        yield from further_networks.findings(name, container, decoded, layout)
    yield from _ports(decoded)
    yield from _addresses(decoded, layout.subnets)
    yield from _full_subnets(decoded, layout.subnets)


def _host(loc: Loc, container: ContainerDocument, decoded: Decoded) -> Iterator[Finding]:
    hosts, name = decoded.declared["hosts"], container.host
    if name in decoded.declared["groups"] and name not in hosts:
        message = f"{quoted(name)} is a group, but a container runs on a single host"
        yield Finding((*loc, "host"), message, "name a host")
    elif name not in _as_set(hosts):
        hint = did_you_mean(name, hosts, "hosts")
        yield Finding((*loc, "host"), f"unknown host {quoted(name)}", hint)


def _network(loc: Loc, container: ContainerDocument, decoded: Decoded) -> Iterator[Finding]:
    networks, name = decoded.declared["networks"], container.network
    if name in _as_set(networks) or name in MODES:
        yield from _useless_keys(loc, container)
        yield from _host_sysctls(loc, container)
    elif name.startswith("container:"):
        yield from _shared_namespace(loc, container, decoded)
        yield from _useless_keys(loc, container)
    else:
        hint = did_you_mean(name, (*networks, *MODES), "networks")
        yield Finding((*loc, "network"), f"unknown network {quoted(name)}", hint)


def _useless_keys(loc: Loc, container: ContainerDocument) -> Iterator[Finding]:
    """Keys that need an interface by Docker, or a network that is not Docker's default bridge."""
    name = container.network
    reason = WITHOUT_INTERFACE.get(name.partition(":")[0])
    if name == "bridge" and container.address:
        message = "Docker gives no fixed addresses on its default bridge"
        yield Finding((*loc, "address"), message, "remove it, or use a network of this file")
    keys = ("ports", "address", "mac") if reason else ()
    # Docker refuses these: the files that they change are those of the other container.
    for key in (*keys, *(("hostname", "extra_hosts") if name.startswith("container:") else ())):
        if getattr(container, key):
            message = f"'{key}' has no effect with network {quoted(name)}: {reason}"
            hint = "give it to that container" if name.startswith("container:") else "remove it"
            yield Finding((*loc, key), message, hint)


def _host_sysctls(loc: Loc, container: ContainerDocument) -> Iterator[Finding]:
    """Settings of the network that a container would change for its host, which runc refuses."""
    for key in container.sysctls if container.network == "host" else ():
        if key.startswith(("net.", "net/")):
            message = f"{quoted(key)} would change the host, whose network the container uses"
            yield Finding((*loc, "sysctls", key), message, "remove it, or set it on the host")


def _shared_namespace(
    loc: Loc, container: ContainerDocument, decoded: Decoded
) -> Iterator[Finding]:
    """`container:NAME` must name a container of the same host that has a namespace of its own."""
    known, name = decoded.declared["containers"], container.network.partition(":")[2]
    at: Loc = (*loc, "network")
    owner = decoded.containers.get(name)
    if name not in _as_set(known):
        hint = did_you_mean(name, known, "containers")
        yield Finding(at, f"unknown container {quoted(name)}", hint)
    elif owner is None:
        return  # it is invalid, which is reported already
    elif name == loc[1]:
        message = f"container '{name}' cannot share its own namespace"
        yield Finding(at, message, "name another container")
    elif owner.host != container.host:
        message = f"container '{name}' runs on {owner.host}, not on {container.host}"
        hosts = frozenset((owner.host, container.host))
        yield Finding(at, message, "name a container of the same host", hosts=hosts)
    elif owner.network.startswith("container:"):
        last = _last_owner(name, decoded)
        if last is not None:  # else the containers wait for each other, which is a finding
            message = f"container '{name}' has no namespace of its own: {owner.network}"
            yield Finding(at, message, f"write network: {quoted(f'container:{last}')}")


def _last_owner(name: str, decoded: Decoded) -> str | None:
    """The container whose namespace a container uses by way of others; None: they are a circle."""
    passed = {name}
    while (owner := decoded.containers.get(name)) and owner.network.startswith("container:"):
        name = owner.network.partition(":")[2]
        if name in passed:
            return None
        passed.add(name)
    return name


def _mounts(loc: Loc, container: ContainerDocument) -> Iterator[Finding]:
    """Everything that is mounted has a target of its own; Docker refuses a second one."""
    targets = set(container.tmpfs)
    for k, text in enumerate(container.volumes):
        target = absolute_path(text.split(":")[1])
        if target in targets:
            message = f"'{target}' has a volume or a file system in memory already"
            yield Finding((*loc, "volumes", k), message, "choose another target, or remove one")
        targets.add(target)


def _ports(decoded: Decoded) -> Iterator[Finding]:
    """Each port of a host is published for a single container."""
    # Docker itself notices this only when the second container starts.
    published: dict[tuple[str, int, str], list[tuple[Port, str]]] = {}
    for name, container in decoded.containers.items():
        for k, text in enumerate(container.ports):
            for port in containers.ports(text):
                key = (container.host, port.published, port.protocol)
                users = published.setdefault(key, [])
                first = next((user for earlier, user in users if _same_ip(earlier, port)), None)
                users.append((port, name))
                if first is not None:
                    by = "twice" if first == name else f"by '{first}' already"
                    number = f"{container.host}'s {port.protocol} port {port.published}"
                    loc: Loc = ("containers", name, "ports", k)
                    yield Finding(loc, f"{number} is published {by}", "choose another")
                    break  # the other ports of a range would only repeat it


def _same_ip(earlier: Port, later: Port) -> bool:
    """True if the ports share an address of the host; None stands for all addresses."""
    return earlier.ip is None or later.ip is None or earlier.ip == later.ip


@lru_cache(maxsize=8)
def _as_set(names: tuple[str, ...]) -> frozenset[str]:
    # Cached: `in` a tuple of 1,000 hosts for each of 5,000 containers would take seconds.
    return frozenset(names)


def _membership(loc: Loc, container: ContainerDocument, layout: Layout) -> Iterator[Finding]:
    host, network = container.host, container.network
    members = layout.hosts[network]
    if host not in _as_set(members):
        message = f"host '{host}' is not in network '{network}'"
        hint = f"choose one of {listed(members)}, or add it to the network's hosts"
        yield Finding((*loc, "host"), message, hint)


def _members(decoded: Decoded) -> Iterator[tuple[Loc, str, Member]]:
    """Yield position, name and document of everything that gets an address of a network.

    A container has a document for each of its networks.
    """
    for name, document in decoded.containers.items():
        yield ("containers", name), name, document
        yield from further_networks.members(name, document)
    yield from ((("guests", name), name, document) for name, document in decoded.guests.items())


def _addresses(decoded: Decoded, subnets: Mapping[str, Subnets]) -> Iterator[Finding]:
    """Fixed addresses are unique, and the method can give them."""
    owners: dict[tuple[str, str], str] = {}
    for position, name, container in _members(decoded):
        subnet = subnets.get(container.network, {}).get(container.host)
        if container.address is None or subnet is None:
            continue
        loc: Loc = (*position, "address")
        method = methods.named(decoded.networks[container.network].method)
        for finding in method.check_address(loc, container, subnet, decoded):
            hint = _part_hint(container, decoded, subnets[container.network])
            yield replace(finding, hint=f"{finding.hint}{hint}")
        first = owners.setdefault((container.network, str(container.address)), name)
        if first != name:
            message = f"containers '{first}' and '{name}' have the same address {container.address}"
            yield Finding(loc, message, "give each its own")


def _part_hint(container: Member, decoded: Decoded, subnets: Subnets) -> str:
    """The key that gives a host the part of its container's address, if no other host has it.

    A host keeps its part when others leave the file before it, which the file alone does not tell.
    """
    network, host, address = decoded.networks[container.network], container.host, container.address
    assert address is not None
    block = IPv4Network((int(address), subnets[host].prefixlen), strict=False)
    if (
        methods.named(network.method).on_hosts_lan
        or host in (network.subnets or {})
        or not block.subnet_of(network.cidr)
        or any(block.overlaps(subnet) for subnet in subnets.values())
    ):
        return ""
    return f"; or, if {host} has that part, write subnets: {{{host}: {block}}} in the network"


def _full_subnets(decoded: Decoded, subnets: Mapping[str, Subnets]) -> Iterator[Finding]:
    """A host's subnet has an address for each container; report the first without one."""
    used: Counter[tuple[str, str]] = Counter()
    for position, _, container in _members(decoded):
        subnet = subnets.get(container.network, {}).get(container.host)
        if subnet is None:
            continue
        key = (container.network, container.host)
        used[key] += 1
        capacity = methods.named(decoded.networks[container.network].method).capacity(subnet)
        if used[key] == capacity + 1:
            message = f"{container.host}'s subnet of '{container.network}', {subnet}, is full"
            hint = f"it has {count(capacity, 'address')}; use another host, or a larger subnet"
            # A further network without an address is text, which has no keys.
            at: Loc = position if "networks" in position else (*position, "host")
            yield Finding(at, message, hint)
