"""Rules for names in DNS: networks that can have them, and containers that give the same. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from provision import methods
from provision.model.documents import ContainerDocument, Decoded, Layout
from provision.model.fields.containers import ports
from provision.model.fields.dns_names import is_name
from provision.model.fields.names import container_name
from provision.model.findings import KEY, BadValueError, Finding, Loc
from provision.model.text import quoted

PORT = 53


def findings(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Yield the findings about `names` of networks, and about names of containers."""
    for name, network in decoded.networks.items():
        if network.names is not None and (
            reason := methods.dns_obstacle(network, decoded.options[name])
        ):
            yield Finding(("networks", name, "names"), *reason)
    owners: Owners = {}
    for name, container in decoded.containers.items():
        networks = container.joined()
        domains = {
            joined: decoded.networks[joined].names or ""
            for joined in networks
            if joined in decoded.networks and decoded.networks[joined].names is not None
        }
        names = _container_names(name, container)
        for joined, domain in domains.items():
            yield from _names(names, joined, domain, owners)
        if container.aliases and not domains and _is_known(container, decoded):
            loc: Loc = ("containers", name, "aliases")
            yield Finding(loc, *_without_names(container, decoded))
    for name, guest in decoded.guests.items():
        of_network = decoded.networks.get(guest.network)
        if of_network is not None and of_network.names is not None:
            own = _GivenName(("guests", name, KEY), "guest", name, name)
            yield from _names([own], guest.network, of_network.names, owners)
    yield from _of_two_networks(decoded, owners)
    yield from _published(decoded, layout)


def _published(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Yield the published ports that would take the questions of containers to the DNS server."""
    networks = [name for name, network in decoded.networks.items() if network.names is not None]
    servers = {host: name for name in reversed(networks) for host in layout.hosts[name]}
    for name, container in decoded.containers.items():
        for k, text in enumerate(container.ports if container.host in servers else ()):
            if any(port.published == PORT and port.ip is None for port in ports(text)):
                message = (
                    f"port {PORT} is published at all addresses of {container.host}, also at "
                    f"that of the DNS server of network '{servers[container.host]}'"
                )
                hint = f'write an address of the host before it, like "10.0.0.11:{text}"'
                yield Finding(("containers", name, "ports", k), message, hint)


def _is_known(container: ContainerDocument, decoded: Decoded) -> bool:
    """False for a network that is invalid, or that does not exist: that is reported already."""
    return container.network in decoded.networks or container.network.partition(":")[0] in (
        "bridge",
        "host",
        "none",
        "container",
    )


def _without_names(container: ContainerDocument, decoded: Decoded) -> tuple[str, str]:
    if container.network in decoded.networks:
        message = f"'aliases' has no effect: network '{container.network}' has no names"
        return message, "write names: true in the network"
    message = "'aliases' has no effect: names are for containers of the networks of this file"
    return message, "remove it"


@dataclass(frozen=True, slots=True)
class _GivenName:
    """A name that an item of the file gives, what it is there, and whose it is."""

    loc: Loc
    noun: str
    text: str
    owner: str


Owners = dict[tuple[str, str], tuple[str, _GivenName]]
"""Who gives a name of a network, and by what, by network and name."""


def _of_two_networks(decoded: Decoded, owners: Owners) -> Iterator[Finding]:
    """Names of which one would hide the other in a container that is on both networks.

    The container asks the server of its first network, which answers full names of the others.
    """
    askers: dict[tuple[str, str], str] = {}
    for name, container in decoded.containers.items():
        networks = container.joined()
        known = (decoded.networks.get(network) for network in networks)
        asked, *further = [
            network
            for network, document in zip(networks, known, strict=True)
            if document is not None and document.names is not None
        ] or [""]
        for network in further:
            askers.setdefault((asked, network), name)
    full_names: dict[str, list[str]] = {}
    for network, form in owners:
        if "." in form:
            full_names.setdefault(network, []).append(form)
    reported: set[Loc] = set()
    for (asked, joined), asker in askers.items():
        for form in full_names.get(joined, ()):
            first, (owner, giver) = owners.get((asked, form)), owners[joined, form]
            if first is None or first[0] == owner:
                continue
            # The name that was written in full is the one to change.
            blamed = giver if "." in giver.text else first[1]
            if blamed.loc not in reported:
                reported.add(blamed.loc)
                message = (
                    f"{blamed.noun} '{blamed.text}' makes two of the name {form}: '{first[0]}' has "
                    f"it in network '{asked}', and '{owner}' in '{joined}'; '{asker}' is on both"
                )
                yield Finding(blamed.loc, message, "choose another name")


def _container_names(name: str, container: ContainerDocument) -> list[_GivenName]:
    """The names of a container, its own first; that of a service belongs to several."""
    loc: Loc = ("containers", name)
    names = [_GivenName((*loc, KEY), "container name", name, name)]
    for number, alias in enumerate(container.aliases):
        names.append(_GivenName((*loc, "aliases", number), "alias", alias, name))
    if container.service and container.service != name.lower():
        owner = f"service {container.service}"
        names.append(_GivenName((*loc, "service"), "service", container.service, owner))
    return names


def _is_container_name(text: str) -> bool:
    try:
        return container_name(text) == text
    except BadValueError:
        return False


def _names(given: list[_GivenName], network: str, domain: str, owners: Owners) -> Iterator[Finding]:
    """Yield the names of one item that DNS cannot hold, or that another item has already."""
    own, *_ = given
    if not _is_container_name(own.text):
        return  # it is invalid, which is reported already
    longest, *_ = methods.all_names(network, domain, (own.text,))
    if not is_name(longest):
        message = f"{quoted(longest)} cannot be a name in DNS"
        hint = "write parts of 1 to 63 letters, digits, '-' and '_', with at most 253 in all"
        yield Finding(own.loc, message, hint)
        return
    for each in given:
        forms = (own.text,) if each is own else (own.text, each.text)
        for form in methods.all_names(network, domain, forms):
            owner = (
                own.owner if form in methods.all_names(network, domain, (own.text,)) else each.owner
            )
            first, _ = owners.setdefault((network, form), (owner, each))
            if first != owner:
                message = (
                    f"{each.noun} '{each.text}' gives the name {form}, which '{first}' has already"
                )
                yield Finding(each.loc, message, "choose another name")
                break  # the other forms would only repeat it
