"""The registry of network methods: one module or folder each, named like the method.

A `-` in YAML is a `_` in the file name; names that begin with `_` are not methods.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from typing import Any

from provision.facts.probe import FactsProbe
from provision.methods._base import ClashKey as ClashKey
from provision.methods._base import Facts as Facts
from provision.methods._base import HostCheck as HostCheck
from provision.methods._base import Method as Method
from provision.model.inventory import Inventory, Network

DEFAULT = "routes"
"""The method of a new inventory, and the first that a comparison deploys."""
_STATUS = "method-status"
"""The first word of each line of a status script's output, among that of other programs."""


@cache
def names() -> tuple[str, ...]:
    """Every method's name as YAML writes it, sorted."""
    return tuple(
        sorted(
            module.name.replace("_", "-")
            for module in pkgutil.iter_modules(__path__)
            if not module.name.startswith("_")
        )
    )


@cache
def named(name: str) -> Method:
    """The method of this name, which must be one of `names`."""
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    classes = [
        member
        for member in vars(module).values()
        if isinstance(member, type)
        and issubclass(member, Method)
        and member.__module__.startswith(module.__name__)
    ]
    assert len(classes) == 1, f"{module.__name__} defines {len(classes)} methods, not one"
    return classes[0]()


def facts_probes(inventory: Inventory, host: str) -> tuple[FactsProbe, ...]:
    """The probes of the methods that the networks of a host use, each once."""
    probes = (p for method in on_host(inventory, host) for p in method.facts(inventory, host))
    return tuple(dict.fromkeys(probes))


def on_host(inventory: Inventory, host: str) -> tuple[Method, ...]:
    """The methods of a host's networks, each once."""
    networks = [network for network in inventory.networks.values() if host in network.hosts]
    return tuple(dict.fromkeys(of(network) for network in networks))


def status_script(inventory: Inventory, host: str) -> str:
    """The status scripts of a host's methods, each line of their output marked by the method."""
    texts = {
        method.name: method.status_script(inventory, host) for method in on_host(inventory, host)
    }
    return "".join(
        f"(\n{text.rstrip()}\n) | sed 's/^/{_STATUS} {name} /'\n"
        for name, text in texts.items()
        if text
    )


def parse_statuses(inventory: Inventory, host: str, output: str) -> dict[str, Any]:
    """The statuses of a host by method, from an output that holds that of `status_script`."""
    texts: dict[str, list[str]] = {}
    for line in output.splitlines():
        mark, _, rest = line.partition(" ")
        if mark == _STATUS:
            name, _, text = rest.partition(" ")
            texts.setdefault(name, []).append(text)
    return {
        method.name: method.parse_status(inventory, host, "\n".join(texts.get(method.name, ())))
        for method in on_host(inventory, host)
        if method.status_script(inventory, host)
    }


def of(network: Network) -> Method:
    """The method of a network."""
    return named(network.method)
