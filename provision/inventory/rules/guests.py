"""Rules for guests: their hosts, networks, names, and the containers that they select. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.model.documents import Decoded, GuestDocument, Layout
from provision.model.fields.containers import ONE_OFF
from provision.model.findings import KEY, Finding, Loc
from provision.model.suggest import did_you_mean
from provision.model.text import listed, quoted


def findings(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Yield the findings about all guests; `rules.containers` checks their addresses."""
    first: dict[tuple[str, str, str], str] = {}
    for name, guest in decoded.guests.items():
        loc: Loc = ("guests", name)
        if name in decoded.declared["containers"]:
            message = f"guest '{name}' has the name of a container of this file"
            yield Finding((*loc, KEY), message, "choose another name")
        yield from _host(loc, guest, decoded)
        yield from _network(loc, guest, decoded, layout)
        yield from _selector(loc, guest, decoded)
        key = (guest.host, guest.network, guest.container or f"label {guest.label}")
        earlier = first.setdefault(key, name)
        if earlier != name:
            selected = "container" if guest.container else "label"
            text = quoted(guest.container or guest.label or "")
            message = f"guests '{earlier}' and '{name}' are both {selected} {text} of {guest.host}"
            yield Finding((*loc, selected), message, "remove one of them")


def _host(loc: Loc, guest: GuestDocument, decoded: Decoded) -> Iterator[Finding]:
    hosts = decoded.declared["hosts"]
    if guest.host in decoded.declared["groups"] and guest.host not in hosts:
        message = f"{quoted(guest.host)} is a group, but a guest runs on a single host"
        yield Finding((*loc, "host"), message, "name a host")
    elif guest.host not in hosts:
        hint = did_you_mean(guest.host, hosts, "hosts")
        yield Finding((*loc, "host"), f"unknown host {quoted(guest.host)}", hint)


def _network(loc: Loc, guest: GuestDocument, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    networks = decoded.declared["networks"]
    if guest.network not in networks:
        hint = did_you_mean(guest.network, networks, "networks")
        yield Finding((*loc, "network"), f"unknown network {quoted(guest.network)}", hint)
        return
    if guest.network not in layout.hosts or guest.host not in decoded.declared["hosts"]:
        return  # it is invalid, which is reported already
    members = layout.hosts[guest.network]
    if guest.host not in members:
        message = f"host '{guest.host}' is not in network '{guest.network}'"
        hint = f"choose one of {listed(members)}, or add it to the network's hosts"
        yield Finding((*loc, "host"), message, hint)


def _selector(loc: Loc, guest: GuestDocument, decoded: Decoded) -> Iterator[Finding]:
    container = decoded.containers.get(guest.container or "")
    if container is not None and container.host == guest.host:
        message = f"container '{guest.container}' is one of this file, not a guest"
        yield Finding((*loc, "container"), message, "remove the guest")
    key = (guest.label or "").partition("=")[0]
    if key == "provision" or key.startswith("provision."):
        message = f"label '{key}' is that of containers which provision makes"
        yield Finding((*loc, "label"), message, "name a label of the guest")
    if key == ONE_OFF:
        message = f"label '{key}' marks the containers of `docker compose run`, which are no guests"
        yield Finding((*loc, "label"), message, "name com.docker.compose.service")
