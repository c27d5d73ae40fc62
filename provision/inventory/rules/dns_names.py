"""Rules for names in DNS: networks that can have them, and containers that give the same. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision import methods
from provision.model.documents import ContainerDocument, Decoded, Layout
from provision.model.fields.containers import ports
from provision.model.fields.dns_names import is_name
from provision.model.findings import KEY, Finding, Loc
from provision.model.text import quoted

PORT = 53


def findings(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Yield the findings about `names` of networks, and about names of containers."""
    for name, network in decoded.networks.items():
        if network.names is not None and (
            reason := methods.dns_obstacle(network, decoded.options[name])
        ):
            yield Finding(("networks", name, "names"), *reason)
    owners: dict[tuple[str, str], str] = {}
    for name, container in decoded.containers.items():
        of_network = decoded.networks.get(container.network)
        if of_network is not None and of_network.names is not None:
            yield from _container(name, container, of_network.names, owners)
        elif container.aliases and _is_known(container, decoded):
            loc: Loc = ("containers", name, "aliases")
            yield Finding(loc, *_without_names(container, decoded))
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


def _container(
    name: str, container: ContainerDocument, domain: str, owners: dict[tuple[str, str], str]
) -> Iterator[Finding]:
    """Yield the names of a container that DNS cannot hold, or that another one has already."""
    longest, *_ = methods.all_names(container.network, domain, (name,))
    if not is_name(longest):
        message = f"{quoted(longest)} cannot be a name in DNS"
        hint = "write parts of 1 to 63 letters, digits, '-' and '_', with at most 253 in all"
        yield Finding(("containers", name, KEY), message, hint)
        return
    for k, plain in enumerate((name, *container.aliases)):
        loc: Loc = ("containers", name, "aliases", k - 1) if k else ("containers", name, KEY)
        forms = methods.all_names(container.network, domain, (plain,) if not k else (name, plain))
        for form in forms:
            first = owners.setdefault((container.network, form), name)
            if first != name:
                noun = "alias" if k else "container name"
                message = f"{noun} '{plain}' gives the name {form}, which '{first}' has already"
                yield Finding(loc, message, "choose another name")
                break  # the other forms would only repeat it
