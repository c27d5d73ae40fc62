"""Everything that forbids a change, found before the first one, on every host at once. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision import methods
from provision.engine import container_interfaces
from provision.engine.plan import Conflict
from provision.facts.host import HostFacts
from provision.model.errors import UnfitError
from provision.model.inventory import Inventory, Network
from provision.resources.base import Ref, State
from provision.resources.kinds.docker_network import BRIDGE_NAME, DockerNetwork
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.package import MANAGER, PACKAGES
from provision.resources.kinds.route import PROTO, Route

NEEDED = ("docker", "ip", "iptables", "sysctl", "systemctl", "base64", "perl")
OLDEST_DOCKER = (20, 10)


def unfit(inventory: Inventory, facts: Mapping[str, HostFacts]) -> tuple[UnfitError, ...]:
    """What hosts lack, all of it; empty when every host in `facts` will do."""
    install = inventory.packages == "install"
    lacking = [
        error
        for name, host in facts.items()
        for error in _host(host, _needed(inventory, name), install=install)
    ]
    unfit = {error.host for error in lacking}
    whole = {name: host for name, host in facts.items() if name not in unfit and "ip" in host.tools}
    for network in inventory.networks.values():
        lacking += _method_problems(inventory, network, whole)
    lacking += container_interfaces.findings(inventory, whole)
    return tuple(lacking)


def _method_problems(
    inventory: Inventory, network: Network, facts: Mapping[str, HostFacts]
) -> Iterator[UnfitError]:
    for host in network.hosts:
        if host in facts:
            for problem in methods.of(network).check_host(inventory, network, facts[host]):
                yield UnfitError(problem.host, problem.message, problem.hint)


def _needed(inventory: Inventory, host: str) -> tuple[str, ...]:
    networks = [network for network in inventory.networks.values() if host in network.hosts]
    return (
        *NEEDED,
        *(tool for network in networks for tool in methods.of(network).tools(network, host)),
    )


def _host(facts: HostFacts, needed: tuple[str, ...], *, install: bool) -> Iterator[UnfitError]:
    host = facts.host
    if facts.uid != 0:
        yield UnfitError(
            host,
            f"the login is not root (uid {facts.uid})",
            "log in as root, or say ssh: {sudo: true}",
        )
        return
    if not facts.systemd:
        yield UnfitError(host, "systemd is not its init", "provision needs systemd on every host")
    missing = [tool for tool in dict.fromkeys(needed) if tool not in facts.tools]
    if missing and not (install and facts.manager == MANAGER):
        yield _missing(facts, missing, install=install)
    if "docker" in facts.tools and not facts.docker:
        hint = f"see `systemctl status docker` on {host}"
        yield UnfitError(host, f"Docker does not serve: {facts.docker_error}", hint)
    elif facts.docker and facts.docker < OLDEST_DOCKER:
        found = ".".join(map(str, facts.docker))
        yield UnfitError(host, f"Docker {found} is too old", "provision needs 20.10 or newer")
    if facts.rootless:
        yield UnfitError(
            host, "Docker runs rootless there", "its bridges are not the host's: use the system's"
        )


def _missing(facts: HostFacts, tools: list[str], *, install: bool) -> UnfitError:
    lacks = f"it lacks {', '.join(tools)}"
    if not install:
        names = sorted({name for tool in tools for name in PACKAGES.get(tool, (tool,))})
        return UnfitError(
            facts.host, lacks, f"say packages: install, or apt install {' '.join(names)}"
        )
    manager = facts.manager or "unknown"
    return UnfitError(
        facts.host,
        f"{lacks}, and its package manager ({manager}) is not one that provision can use (apt)",
        "install them there yourself",
    )


def overlaps(
    inventory: Inventory, facts: Mapping[str, HostFacts], found: State
) -> Iterator[Conflict]:
    """Networks whose range is in use on a host by something that is not ours."""
    ours = {
        (ref.host, str(resource.dst))
        for ref, resource in found.items()
        if isinstance(resource, Route)
    }
    bridges = {
        (ref.host, dict(resource.options).get(BRIDGE_NAME))
        for ref, resource in found.items()
        if isinstance(resource, DockerNetwork)
    }
    flannels = [(ref.host, thing) for ref, thing in found.items() if isinstance(thing, Flannel)]
    for network in inventory.networks.values():
        if network.method == "pipework":
            continue  # its range is the LAN: the hosts are on it by intent
        for host in network.hosts:
            for route in facts[host].routes if host in facts else ():
                mine = (
                    (route.proto == PROTO and (host, str(route.dst)) in ours)
                    or (host, route.dev) in bridges
                    or (route.dev == "docker0" and _takes_docker0(network, host))
                    or any(
                        host == at and (route.dev == one.device or route.dst.subnet_of(one.cidr))
                        for at, one in flannels
                    )
                    or route.dst in network.subnets.values()  # the plan names this one itself
                )
                if not mine and route.dst.overlaps(network.cidr):
                    what = f"{network.cidr} overlaps {route.dst} on {route.dev}, which is not ours"
                    yield Conflict(Ref(host, "network", network.name), what)


def _takes_docker0(network: Network, host: str) -> bool:
    return methods.of(network).docker_network(network, host).kind == "docker0"
