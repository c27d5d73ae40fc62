"""Problems of hosts that forbid a change, collected on every host before the first change. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision import methods
from provision.engine import (
    container_interfaces,
    docker_settings,
    egress,
    firewalls,
    guests,
    kept_subnets,
)
from provision.facts.host import HostFacts
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.resources.kinds.package import EVERYWHERE, MANAGER, PACKAGES

REQUIRED_TOOLS = ("docker", "ip", "iptables", "sysctl", "systemctl", "base64", "perl")
Tools = Mapping[str, tuple[str, ...]]
"""Commands, with the packages of those that the kind `package` does not know."""


def problems(inventory: Inventory, facts: Mapping[str, HostFacts]) -> tuple[Problem, ...]:
    """Every reason why a host in `facts` cannot be changed; empty if all can.

    A host that lacks a basic requirement is not asked for those of its networks: without root or
    the `ip` command, its facts tell too little about them.
    """
    install = inventory.packages == "install"
    basic = [
        problem
        for name, host in facts.items()
        for problem in _basic_problems(host, _required_tools(inventory, host), install=install)
    ]
    unusable = {problem.host for problem in basic}
    usable = {
        name: host for name, host in facts.items() if name not in unusable and "ip" in host.tools
    }
    return (
        *basic,
        *(
            problem
            for network in inventory.networks.values()
            for problem in _network_problems(inventory, network, usable)
        ),
        *(problem for host in usable.values() for problem in _shared_nics(inventory, host)),
        *_default_bridge(inventory, usable),
        *container_interfaces.problems(inventory, usable),
        *guests.problems(inventory, usable),
        *kept_subnets.problems(inventory, usable),
    )


def _network_problems(
    inventory: Inventory, network: Network, facts: Mapping[str, HostFacts]
) -> Iterator[Problem]:
    method = methods.of(network)
    yield from method.check_network(inventory, network, facts)
    for host in network.hosts:
        if host in facts:
            yield from method.check_host(inventory, network, facts[host])
            yield from method.rule_problems(inventory, network, facts[host])
            yield from docker_settings.network_problems(inventory, network, facts[host])


def warnings(inventory: Inventory, facts: Mapping[str, HostFacts]) -> Iterator[Problem]:
    """Yield what will break a network later, but does not forbid a change."""
    for host_facts in facts.values():
        yield from firewalls.host_problems(host_facts)
        yield from egress.warnings(inventory, host_facts)
    for network in inventory.networks.values():
        yield from methods.access_warnings(inventory, network, facts)
        for host in network.hosts:
            if host in facts:
                yield from methods.of(network).warnings(inventory, network, facts[host])
                yield from firewalls.problems(inventory, network, facts[host])
                yield from docker_settings.warnings(inventory, network, facts[host])
    yield from guests.warnings(inventory, facts)


def _shared_nics(inventory: Inventory, facts: HostFacts) -> Iterator[Problem]:
    """A NIC is a port of one bridge, so two networks cannot both take it."""
    users: dict[str, tuple[str, str]] = {}
    for network in inventory.networks.values():
        if facts.host not in network.hosts:
            continue
        for nic, bridge in methods.of(network).nic_bridges(inventory, network, facts).items():
            first, first_bridge = users.setdefault(nic, (network.name, bridge))
            if first_bridge != bridge:
                message = f"networks {first} and {network.name} would both make {nic} their port"
                yield Problem(facts.host, message, "leave its host out of one of them")


def _default_bridge(inventory: Inventory, facts: Mapping[str, HostFacts]) -> Iterator[Problem]:
    """Containers on Docker's default bridge need a Docker that has one."""
    users: dict[str, list[str]] = {}
    for container in inventory.containers.values():
        if container.network == "bridge":
            users.setdefault(container.host, []).append(container.name)
    for host, host_facts in facts.items():
        if host in users and not host_facts.default_bridge:
            message = f"Docker has no default bridge, which {', '.join(users[host])} would be on"
            hint = 'remove "bridge": "none" from /etc/docker/daemon.json, or write another network'
            yield Problem(host, message, hint)


def _required_tools(inventory: Inventory, facts: HostFacts) -> Tools:
    of_networks = methods.tools(inventory, facts.host, facts)
    return {**dict.fromkeys(REQUIRED_TOOLS, ()), **of_networks}


def _basic_problems(facts: HostFacts, tools: Tools, *, install: bool) -> Iterator[Problem]:
    host = facts.host
    if facts.uid != 0:
        yield Problem(
            host,
            f"the login is not root (uid {facts.uid})",
            "log in as root, or write ssh: {sudo: true}",
        )
        return
    if not facts.systemd:
        yield Problem(host, "its init is not systemd", "provision needs systemd on every host")
    missing = {tool: packages for tool, packages in tools.items() if tool not in facts.tools}
    for tool, packages in facts.incomplete_packages.items():
        # Packages of EVERYWHERE are planned for every host, also those that nothing requires.
        if tool in tools or (install and tool in EVERYWHERE):
            yield _incomplete(host, tool, packages)
            missing.pop(tool, None)
    if missing and not (install and facts.package_manager == MANAGER):
        yield _missing_tools(facts, missing, install=install)
    yield from docker_settings.problems(facts)


def _incomplete(host: str, tool: str, packages: str) -> Problem:
    """apt does nothing for packages that are installed: only their reinstallation helps."""
    verb = "is" if len(packages.split()) == 1 else "are"
    return Problem(
        host,
        f"{packages} {verb} installed, but without the command {tool}",
        f"run `apt-get install --reinstall {packages}` on it",
    )


def _missing_tools(facts: HostFacts, tools: Tools, *, install: bool) -> Problem:
    message = f"it lacks {', '.join(tools)}"
    if not install:
        packages = (PACKAGES.get(tool) or names or (tool,) for tool, names in tools.items())
        names = sorted({name for of_tool in packages for name in of_tool})
        return Problem(
            facts.host, message, f"write packages: install, or apt install {' '.join(names)}"
        )
    manager = facts.package_manager or "unknown"
    return Problem(
        facts.host,
        f"{message}, and provision cannot use its package manager ({manager}), only apt",
        "install them on the host yourself",
    )
