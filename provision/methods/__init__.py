"""The registry of network methods: one module or folder each, named like the method.

A `-` in YAML is a `_` in the file name; names that begin with `_` are not methods.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from provision.facts.probe import FactsProbe
from provision.methods._base import ClashKey as ClashKey
from provision.methods._base import Facts as Facts
from provision.methods._base import Method as Method
from provision.model.inventory import Inventory, Network


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


def of(network: Network) -> Method:
    """The method of a network."""
    return named(network.method)
