"""What containers mean to hosts and networks: membership, fixed addresses, room. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache

from provision import methods
from provision.model.documents import ContainerDocument, Decoded, Layout, Subnets
from provision.model.fields import containers
from provision.model.findings import Finding, Loc
from provision.model.inventory import Port
from provision.model.suggest import did_you_mean
from provision.model.text import listed, quoted

MODES = ("bridge", "host", "none")
_OWN_NOTHING = {
    "host": "it has the host's own interfaces, and its programs listen there",
    "none": "it has no interface but lo",
    "container": "it has the interfaces of the other container",
}


def container_rules(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Every finding about how containers fit the rest."""
    for name, container in decoded.containers.items():
        loc: Loc = ("containers", name)
        wrong = [*_host(loc, container, decoded), *_network(loc, container, decoded)]
        yield from wrong
        if not wrong and container.network in layout.hosts:
            yield from _membership(loc, container, layout)
    yield from _ports(decoded)
    yield from _addresses(decoded, layout.subnets)
    yield from _crowds(decoded, layout.subnets)


def _host(loc: Loc, container: ContainerDocument, decoded: Decoded) -> Iterator[Finding]:
    hosts, name = decoded.declared["hosts"], container.host
    if name in decoded.declared["groups"] and name not in hosts:
        message = f"{quoted(name)} is a group, but a container runs on one host"
        yield Finding((*loc, "host"), message, "name one host")
    elif name not in _known(hosts):
        hint = did_you_mean(name, hosts, "hosts")
        yield Finding((*loc, "host"), f"unknown host {quoted(name)}", hint)


def _network(loc: Loc, container: ContainerDocument, decoded: Decoded) -> Iterator[Finding]:
    networks, name = decoded.declared["networks"], container.network
    if name in _known(networks) or name in MODES:
        yield from _unfit(loc, container)
    elif name.startswith("container:"):
        yield from _shared(loc, container, decoded)
        yield from _unfit(loc, container)
    else:
        hint = did_you_mean(name, (*networks, *MODES), "networks")
        yield Finding((*loc, "network"), f"unknown network {quoted(name)}", hint)


def _unfit(loc: Loc, container: ContainerDocument) -> Iterator[Finding]:
    """Keys that mean nothing where the container has no interface of Docker's own."""
    name = container.network
    reason = _OWN_NOTHING.get(name.partition(":")[0])
    if name == "bridge" and container.address:
        message = "Docker fixes no addresses on its default bridge"
        yield Finding((*loc, "address"), message, "remove it, or use a network of this file")
    for key in ("ports", "address", "mac") if reason else ():
        if getattr(container, key):
            hint = "give it to that container" if name.startswith("container:") else "remove it"
            yield Finding(
                (*loc, key), f"'{key}' cannot be with network {quoted(name)}: {reason}", hint
            )


def _shared(loc: Loc, container: ContainerDocument, decoded: Decoded) -> Iterator[Finding]:
    """`container:NAME` leads to another container of the same host, and at once."""
    known, name = decoded.declared["containers"], container.network.partition(":")[2]
    at: Loc = (*loc, "network")
    other = decoded.containers.get(name)
    if name not in _known(known):
        hint = did_you_mean(name, known, "containers")
        yield Finding(at, f"unknown container {quoted(name)}", hint)
    elif other is not None and name == loc[1]:
        yield Finding(at, f"container '{name}' cannot share its own namespace", "name another")
    elif other is not None and other.host != container.host:
        message = f"container '{name}' runs on {other.host}, not on {container.host}"
        yield Finding(at, message, "name a container of the same host")
    elif other is not None and other.network.startswith("container:"):
        message = f"container '{name}' has no namespace of its own: {other.network}"
        yield Finding(at, message, f"write network: {quoted(other.network)}")


def _ports(decoded: Decoded) -> Iterator[Finding]:
    """Each port of a host leads to one container."""
    taken: dict[tuple[str, int, str], list[tuple[Port, str]]] = {}
    for name, container in decoded.containers.items():
        for k, text in enumerate(container.ports):
            for port in containers.ports(text):
                others = taken.setdefault((container.host, port.published, port.protocol), [])
                first = next((o for p, o in others if _same_ip(p, port)), None)
                others.append((port, name))
                if first is not None:
                    what = f"{container.host}'s {port.protocol} port {port.published}"
                    by = "twice" if first == name else f"by '{first}' already"
                    at: Loc = ("containers", name, "ports", k)
                    yield Finding(at, f"{what} is published {by}", "choose another")
                    break


def _same_ip(one: Port, other: Port) -> bool:
    return one.ip is None or other.ip is None or one.ip == other.ip


@lru_cache(maxsize=8)
def _known(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(names)


def _membership(loc: Loc, container: ContainerDocument, layout: Layout) -> Iterator[Finding]:
    host, network = container.host, container.network
    members = layout.hosts[network]
    if host not in _known(members):
        message = f"host '{host}' is not in network '{network}'"
        hint = f"choose one of {listed(members)}, or add it to the network's hosts"
        yield Finding((*loc, "host"), message, hint)


def _addresses(decoded: Decoded, parts: Mapping[str, Subnets]) -> Iterator[Finding]:
    """Fixed addresses, each once and where Docker can give it."""
    owners: dict[tuple[str, str], str] = {}
    for name, container in decoded.containers.items():
        subnet = parts.get(container.network, {}).get(container.host)
        if container.address is None or subnet is None:
            continue
        loc: Loc = ("containers", name, "address")
        method = methods.named(decoded.networks[container.network].method)
        yield from method.check_address(loc, container, subnet, decoded)
        first = owners.setdefault((container.network, str(container.address)), name)
        if first != name:
            message = f"containers '{first}' and '{name}' have the same address {container.address}"
            yield Finding(loc, message, "each has its own")


def _crowds(decoded: Decoded, parts: Mapping[str, Subnets]) -> Iterator[Finding]:
    """More containers than a host's part has addresses; told at the first without one."""
    seen: Counter[tuple[str, str]] = Counter()
    for name, container in decoded.containers.items():
        subnet = parts.get(container.network, {}).get(container.host)
        if subnet is None:
            continue
        place = (container.network, container.host)
        seen[place] += 1
        room = methods.named(decoded.networks[container.network].method).capacity(subnet)
        if seen[place] == room + 1:
            message = f"{container.host}'s part of '{container.network}', {subnet}, is full"
            hint = f"it has {room} addresses; use another host, or a wider part"
            yield Finding(("containers", name, "host"), message, hint)
