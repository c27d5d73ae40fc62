"""Rules for `networks` of containers: networks besides the first. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision import methods
from provision.model.documents import (
    ContainerDocument,
    Decoded,
    FurtherNetworkDocument,
    Layout,
)
from provision.model.findings import Finding, Loc
from provision.model.inventory import further_name
from provision.model.suggest import did_you_mean
from provision.model.text import listed, quoted

_MODES = ("bridge", "host", "none", "container")
# Modes in which Docker connects a container to no network.
_ALONE = {
    "host": "the container uses the host's interfaces",
    "none": "the container has no interface but lo",
    "container": "the container uses the interfaces of the other container",
}


def members(
    name: str, container: ContainerDocument
) -> Iterator[tuple[Loc, str, ContainerDocument]]:
    """Yield position, name and document of a container in each of its further networks."""
    for k, further in enumerate(container.further()):
        keys = {"network": further.network, "address": further.address}
        loc: Loc = ("containers", name, "networks", k)
        yield loc, name, container.model_copy(update=keys)


def findings(
    name: str, container: ContainerDocument, decoded: Decoded, layout: Layout
) -> Iterator[Finding]:
    """Yield the findings about the further networks of one container."""
    further = container.further()
    if not further:
        return
    loc: Loc = ("containers", name, "networks")
    mode = container.network.partition(":")[0]
    if mode in _ALONE:
        message = f"'networks' cannot be combined with network {quoted(container.network)}"
        hint = "remove it, or name a network of this file as network"
        yield Finding(loc, f"{message}: {_ALONE[mode]}", hint)
        return
    if container.interfaces:
        message = "'networks' cannot be combined with 'interfaces': both give the container routes"
        yield Finding(loc, message, "remove one of them")
    yield from _lan((*loc[:2], "network"), container.network, decoded)
    earlier = [container.network]
    for k, entry in enumerate(further):
        at: Loc = (*loc, k)
        at = at if isinstance(container.networks[k], str) else (*at, "network")
        mistakes = list(_entry(at, entry, container, earlier, decoded, layout))
        yield from mistakes
        earlier.append(entry.network)
        if not mistakes:
            yield from _name(at, name, entry.network, decoded)
    yield from _udp_ports(name, container, decoded)


def _entry(
    loc: Loc,
    entry: FurtherNetworkDocument,
    container: ContainerDocument,
    earlier: list[str],
    decoded: Decoded,
    layout: Layout,
) -> Iterator[Finding]:
    network, declared = entry.network, decoded.declared["networks"]
    if network not in declared:
        if network.partition(":")[0] in _MODES:
            message = f"{quoted(network)} is a mode of Docker, not a network of this file"
            yield Finding(loc, message, "write it as network, or remove it")
        else:
            hint = did_you_mean(network, declared, "networks")
            yield Finding(loc, f"unknown network {quoted(network)}", hint)
    elif network in earlier:
        yield Finding(loc, f"the container is on network '{network}' already", "remove it")
    elif network in layout.hosts and network in decoded.options:
        if container.host in decoded.hosts and container.host not in layout.hosts[network]:
            message = f"host '{container.host}' is not in network '{network}'"
            hint = f"remove it, or add {container.host} to hosts of the network"
            members_text = listed(layout.hosts[network])
            yield Finding(loc, f"{message}, whose hosts are {members_text}", hint)
        yield from _lan(loc, network, decoded)
        if _docker_name(network, decoded) in [_docker_name(name, decoded) for name in earlier]:
            message = f"network '{network}' is Docker's default bridge, where the container is"
            yield Finding(loc, message, "remove it, or name another network as network")


def _lan(loc: Loc, network: str, decoded: Decoded) -> Iterator[Finding]:
    """A network on the LAN of the hosts brings a router of its own into the container."""
    document = decoded.networks.get(network)
    if document is not None and methods.named(document.method).on_hosts_lan:
        message = (
            f"method {document.method} of network '{network}' puts containers on the LAN of the"
            " hosts, which 'networks' cannot combine with others"
        )
        nic = "network: " + network if methods.named(document.method).takes_interfaces else ""
        hint = f"write interfaces: [{{{nic or 'macvlan: eth1'}, address: …}}] for the LAN"
        yield Finding(loc, message, hint)


def _docker_name(network: str, decoded: Decoded) -> str:
    """Docker's name of a network: the classic form is on its default bridge."""
    options = decoded.options.get(network)
    return "bridge" if options is not None and methods.is_on_docker0(options) else network


def _name(loc: Loc, container: str, network: str, decoded: Decoded) -> Iterator[Finding]:
    """The name in DNS and in reports, `web.red`, is free."""
    name = further_name(container, network)
    for section, noun in (("containers", "container"), ("guests", "guest"), ("hosts", "host")):
        if name in decoded.declared[section]:
            message = f"'{container}' is called '{name}' in network '{network}', as a {noun} is"
            yield Finding(loc, message, f"rename the {noun}")


def _udp_ports(name: str, container: ContainerDocument, decoded: Decoded) -> Iterator[Finding]:
    """A UDP port reaches the network that has the default route.

    Before version 28, Docker publishes a port at the address in the network that is first by name.
    A server that listens on all addresses answers from the network with the default route.
    """
    entries = (container.network, *_networks(container))
    names = [_docker_name(entry, decoded) for entry in entries]
    if min(names) == names[0]:
        return
    for k, text in enumerate(container.ports):
        if text.endswith("/udp"):
            message = (
                f"UDP port {quoted(text)} cannot be combined with these networks: Docker before 28 "
                f"publishes it in network '{min(names)}', the first by name, and answers leave by "
                f"'{names[0]}'"
            )
            chosen = entries[names.index(min(names))]
            hint = f"write network: {chosen}, and the others as networks"
            yield Finding(("containers", name, "ports", k), message, hint)


def _networks(container: ContainerDocument) -> Iterator[str]:
    return (entry.network for entry in container.further())
