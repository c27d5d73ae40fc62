"""The etcd of a flannel network: a probe from each host, and the comparison of its answer. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from provision.methods.flannel.options import members, options, prefixes
from provision.model.inventory import Inventory, Network
from provision.resources.lib import etcd_keys
from provision.resources.render import program_text
from provision.resources.script import quoted

TIMEOUT = "--command-timeout=5s"


@dataclass(frozen=True, slots=True)
class EtcdAnswer:
    """The keys and values that one host got, and the health of each member by its address.

    `error` is the last line of etcdctl's output where there are no keys.
    """

    keys: Mapping[str, str]
    health: Mapping[str, str]
    error: str = ""


def script(inventory: Inventory, network: Network) -> str:
    """A script that reads all keys of a network's etcd and the health of each of its members.

    It prints `etcd NETWORK JSON` or `error NETWORK TEXT`, and `health NETWORK URL is TEXT` lines.
    """
    ctl = etcd_keys.ctl(inventory.name, network.name)
    health = quoted((ctl, TIMEOUT, "endpoint", "health"))
    gets = [
        quoted((ctl, TIMEOUT, "get", "--prefix", prefix, "-w", "json"))
        for prefix in prefixes(inventory, network)
    ]
    reads = "".join(
        f'if answer=$(bounded {get} 2>&1); then echo "etcd {network.name} $answer"\n'
        f'else printf \'error {network.name} %s\\n\' "$(echo "$answer" | tail -n 1)"; fi\n'
        for get in gets
    )
    return (
        f"{program_text('look/bounded.sh')}\n"
        f"{reads}"
        f"{health} 2>&1 | sed 's/^/health {network.name} /'\n"
    )


def parse(text: str) -> dict[str, EtcdAnswer]:
    """The answers in the output of `script`, by network."""
    health: dict[str, dict[str, str]] = {}
    pattern = r"^health (\S+) https://(\S+):\d+ is (.*)$"
    for network, address, state in re.findall(pattern, text, re.M):
        health.setdefault(network, {})[address] = state
    lines = "\n".join(f"etcd {network} {answer}" for network, answer in _lines("etcd", text))
    answers = {
        network: EtcdAnswer(keys or {}, health.get(network, {}))
        for network, keys in etcd_keys.networks(lines)
    }
    # One prefix that could not be read is enough.
    return answers | {
        network: EtcdAnswer({}, {}, error) for network, error in _lines("error", text)
    }


def _lines(key: str, text: str) -> list[tuple[str, str]]:
    return re.findall(rf"^{key} (\S+) (.*)$", text, re.M)


def health_error(inventory: Inventory, network: Network, answer: EtcdAnswer) -> str:
    """The members that are not healthy, as one host sees them; empty if all are."""
    if answer.error:
        return answer.error
    addresses = {
        f"on {member}": str(inventory.hosts[member].address) for member in members(network)
    }
    for endpoint in options(network).etcd.endpoints or ():
        addresses[f"at {endpoint}"] = urlsplit(endpoint).hostname or ""
    states = {place: answer.health.get(address, "silent") for place, address in addresses.items()}
    return "; ".join(
        f"etcd {place} is {state.split(':')[0]}"
        for place, state in states.items()
        if not state.startswith("healthy")
    )


def lease_error(inventory: Inventory, network: Network, answer: EtcdAnswer) -> str:
    """The differences of the leases in etcd from the inventory; empty without any."""
    if answer.error:
        return "etcd does not answer"
    return "; ".join(_lease_errors(inventory, network, answer))


def _lease_errors(inventory: Inventory, network: Network, answer: EtcdAnswer) -> Iterator[str]:
    leases = etcd_keys.leases(answer.keys, options(network).etcd.prefix)
    hosts = {subnet: host for host, subnet in network.subnets.items()}
    names = {str(host.address): name for name, host in inventory.hosts.items()}
    leased = {lease.subnet for lease in leases}
    for subnet, host in hosts.items():
        if subnet not in leased:
            yield f"{host} has no lease of its subnet {subnet}"
    for lease in leases:
        owner = names.get(lease.address, f"{lease.address}, which is not a host of the inventory")
        if lease.subnet not in hosts:
            yield f"a strange lease: {lease.subnet} is of {owner}"
        elif owner != hosts[lease.subnet]:
            yield f"{lease.subnet} is of {owner}, not of {hosts[lease.subnet]}"
        backend = options(network).backend
        # flannel writes no backend into the leases of udp.
        if lease.backend != ("" if backend == "udp" else backend):
            yield f"{lease.subnet} is by backend {lease.backend or 'udp'}, not {backend}"
    for address, count in Counter(lease.address for lease in leases).items():
        if count > 1:
            yield f"{names.get(address, address)} has {count} leases"
