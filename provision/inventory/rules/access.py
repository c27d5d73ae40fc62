"""Rules for `access` of networks: methods that can have it, and useful entries. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision import methods
from provision.model.documents import Decoded
from provision.model.fields import access
from provision.model.findings import Finding, Loc
from provision.model.text import quoted


def findings(decoded: Decoded) -> Iterator[Finding]:
    """Yield the findings about `access` of networks."""
    for name, network in decoded.networks.items():
        loc: Loc = ("networks", name, "access")
        if network.access is None:
            continue
        if reason := methods.access_obstacle(network):
            yield Finding(loc, *reason)
            continue
        for number, text in enumerate(network.access):
            if text in network.access[:number]:
                yield Finding((*loc, number), f"{quoted(text)} comes twice", "remove one")
            elif (reason := _reason(text, name, decoded)) is not None:
                yield Finding((*loc, number), *reason)


def _reason(text: str, name: str, decoded: Decoded) -> tuple[str, str] | None:
    """Message and hint for an entry without an effect of its own; None for a good one."""
    network, source = decoded.networks[name], access.network(text)
    if source is not None and source.overlaps(network.cidr):
        message = f"{source} overlaps cidr {network.cidr}, whose containers reach each other anyway"
        return message, "write the ranges of others only"
    if source is None and text != access.HOSTS:
        if text in decoded.declared["hosts"]:
            host = decoded.hosts.get(text)
            address = f", or {host.address}/32" if host else ""
            return f"{quoted(text)} is a host, not an interface", f"write hosts{address}"
        if text in decoded.declared["groups"] or text in decoded.declared["networks"]:
            message = f"{quoted(text)} is a name of this file, not an interface"
            return message, "write hosts, or the range of the sources"
    return None
