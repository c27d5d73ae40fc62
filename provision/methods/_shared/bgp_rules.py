"""Mistakes in the keys of networks whose hosts speak BGP. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from provision.methods import ClashKey
from provision.methods._shared.bgp_options import PORT, SpeakerOptions
from provision.model.findings import Finding, Loc
from provision.model.suggest import did_you_mean
from provision.model.text import quoted

if TYPE_CHECKING:
    from provision.model.documents import Decoded, Layout


def port_key(option: str, instead: str) -> ClashKey:
    """BGP's port, and the kernel's routes of BGP: a host has one zebra that may own them.

    `option` chooses BGP; `instead`: what to write without it.
    """
    hint = f"give them other hosts, or {instead} in one of them"
    return ClashKey(("tcp", PORT), (option,), f"use BGP on TCP port {PORT}", hint)


def findings(name: str, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Yield the mistakes in a network's reflectors."""
    options = decoded.options[name]
    assert isinstance(options, SpeakerOptions)
    if options.reflectors is None:
        return
    loc: Loc = ("networks", name, "reflectors")
    if not options.reflectors:
        yield Finding(loc, "the network has no reflector", "name two hosts, or remove the key")
    hosts = layout.hosts[name]
    for index, host in enumerate(options.reflectors):
        if host not in decoded.declared["hosts"]:
            hint = did_you_mean(host, decoded.hosts, "hosts")
            yield Finding((*loc, index), f"unknown host {quoted(host)}", hint)
        elif host not in hosts:
            message = f"'{host}' is not a host of network '{name}'"
            yield Finding((*loc, index), message, f"add it to {name}'s hosts")
        elif host in options.reflectors[:index]:
            yield Finding((*loc, index), f"'{host}' stands here twice", "remove one")
