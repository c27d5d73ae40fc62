"""What a flannel network's etcd holds, asked from every host of it: whose subnets, and its health.

Pure: `script` asks, `seen` reads what it printed, the rest judges by the inventory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from provision.methods.flannel.options import members, options
from provision.model.inventory import Inventory, Network
from provision.resources.lib import etcd_keys as keys
from provision.resources.render import program_text
from provision.resources.script import quoted


@dataclass(frozen=True, slots=True)
class Map:
    """etcd's keys and values as one host got them, what it said of each member, or why nothing."""

    values: Mapping[str, str]
    health: Mapping[str, str]
    trouble: str = ""


Maps = Mapping[str, Map]
"""By network."""


def networks(inventory: Inventory, host: str) -> tuple[Network, ...]:
    """The flannel networks that a host is of."""
    every = inventory.networks.values()
    return tuple(net for net in every if net.method == "flannel" and host in net.hosts)


def hosts(inventory: Inventory) -> frozenset[str]:
    """Every host of a flannel network."""
    return frozenset(host for host in inventory.hosts if networks(inventory, host))


def script(inventory: Inventory, host: str) -> str:
    """A script that asks each etcd of a host's networks for all keys and each member's health."""
    lines = [program_text("look/bounded.sh")]
    for network in networks(inventory, host):
        ctl = keys.ctl(inventory.name, network.name)
        get = quoted((ctl, "--command-timeout=5s", "get", "--prefix", "/", "-w", "json"))
        health = quoted((ctl, "--command-timeout=5s", "endpoint", "health"))
        lines.append(
            f'if answer=$(bounded {get} 2>&1); then echo "etcd {network.name} $answer"\n'
            f'else printf \'trouble {network.name} %s\\n\' "$(echo "$answer" | tail -n 1)"; fi\n'
            f"{health} 2>&1 | sed 's/^/health {network.name} /'"
        )
    return "\n".join(lines) + "\n"


def seen(text: str) -> Maps:
    """What `script` printed."""
    healths: dict[str, dict[str, str]] = {}
    for name, url, said in re.findall(r"^health (\S+) https://(\S+):\d+ is (.*)$", text, re.M):
        healths.setdefault(name, {})[url] = said
    found = {name: Map({}, {}, said) for name, said in _lines("trouble", text)}
    for name, answer in _lines("etcd", text):
        found[name] = Map(keys.decode_keys(answer), healths.get(name, {}))
    return found


def _lines(word: str, text: str) -> list[tuple[str, str]]:
    return re.findall(rf"^{word} (\S+) (.*)$", text, re.M)


def unhealthy(inventory: Inventory, network: Network, found: Map | None) -> str:
    """What is wrong with etcd as one host sees it; empty for nothing."""
    if found is None:
        return "no answer"
    if found.trouble:
        return found.trouble
    ill = []
    for member in members(network):
        said = found.health.get(str(inventory.hosts[member].address), "silent")
        if not said.startswith("healthy"):
            ill.append(f"etcd on {member} is {said.split(':')[0]}")
    return "; ".join(ill)


def misplaced(inventory: Inventory, network: Network, found: Map) -> str:
    """How the map of subnets differs from the inventory; empty when it does not."""
    return "; ".join(_misplaced(inventory, network, found))


def _misplaced(inventory: Inventory, network: Network, found: Map) -> Iterator[str]:
    leases = keys.leases(found.values, options(network).etcd.prefix)
    wanted = {subnet: host for host, subnet in network.subnets.items()}
    names = {str(host.address): name for name, host in inventory.hosts.items()}
    for subnet, host in wanted.items():
        if subnet not in {lease.subnet for lease in leases}:
            yield f"{host} has no lease of its subnet {subnet}"
    for lease in leases:
        owner = names.get(lease.address, f"{lease.address}, which is no host of the inventory")
        if lease.subnet not in wanted:
            yield f"a strange lease: {lease.subnet} is of {owner}"
        elif owner != wanted[lease.subnet]:
            yield f"{lease.subnet} is of {owner}, not of {wanted[lease.subnet]}"
        backend = options(network).backend
        if lease.backend != ("" if backend == "udp" else backend):
            yield f"{lease.subnet} is by backend {lease.backend or 'udp'}, not {backend}"
    for address, count in Counter(lease.address for lease in leases).items():
        if count > 1:
            yield f"{names.get(address, address)} has {count} leases"
