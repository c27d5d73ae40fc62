"""The shelf of network methods: one module each, found by its name (`-` in YAML is `_` here).

A method's module holds `Options` (what YAML may say), and pure functions: `desired` yields the
resources of one network, `findings` says why hosts cannot serve it, `mtu` is the network's, and
`attachment` names what a container of one host is put on. It may also hold `tunnel`: what packets
are wrapped in on their way to another host (without it: nothing), `flat`: whether all containers
of the network are on one layer 2 (without it: they are not), and `tools`: commands that a host
needs beside those of every host.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Protocol, cast

from provision.facts.host import HostFacts
from provision.model.errors import UnfitError
from provision.model.inventory import Inventory, Network
from provision.model.tunnel import Tunnel
from provision.resources.base import Ref, Resource


class Method(Protocol):
    """What every module of this shelf offers; `facts` are of the hosts that were seen."""

    Options: type

    def desired(
        self, inventory: Inventory, network: Network, facts: Mapping[str, HostFacts]
    ) -> Iterator[Resource]: ...

    def findings(
        self, inventory: Inventory, network: Network, facts: Mapping[str, HostFacts]
    ) -> Iterator[UnfitError]: ...

    def mtu(
        self, inventory: Inventory, network: Network, facts: Mapping[str, HostFacts]
    ) -> int: ...

    def attachment(self, network: Network, host: str) -> Ref: ...


def names() -> tuple[str, ...]:
    """Every method's name as YAML writes it, sorted."""
    return tuple(
        sorted(
            m.name.replace("_", "-")
            for m in pkgutil.iter_modules(__path__)
            if not m.name.startswith("_")
        )
    )


def named(method: str) -> Method:
    """The method of this name. The inventory's loader has checked that it is one of `names`."""
    return cast(Method, import_module(f"{__name__}.{method.replace('-', '_')}"))


def tunnel(network: Network) -> Tunnel | None:
    """What the network's packets are wrapped in between hosts; None: they travel as they are."""
    said = getattr(named(network.method), "tunnel", None)
    return cast("Tunnel | None", said(network)) if said else None


def flat(network: Network) -> bool:
    """Whether a broadcast of one container reaches all others of the network."""
    said = getattr(named(network.method), "flat", None)
    return bool(said(network)) if said else False


def tools(network: Network, host: str) -> tuple[str, ...]:
    """Commands that a method needs on a host, beside those that every host needs."""
    ask = getattr(named(network.method), "tools", None)
    return tuple(ask(network, host)) if ask else ()
