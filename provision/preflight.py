"""Everything that forbids a change, found before the first one, on every host at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from provision import methods
from provision.errors import UnfitError
from provision.hostfacts import HostFacts
from provision.inventory import Inventory, Network
from provision.plan import Conflict
from provision.resource import Ref, State
from provision.resources.docker_network import BRIDGE_NAME, DockerNetwork
from provision.resources.route import PROTO, Route

NEEDED = ("docker", "ip", "iptables", "sysctl", "systemctl", "base64", "perl")
OLDEST_DOCKER = (20, 10)


def unfit(inventory: Inventory, facts: Mapping[str, HostFacts]) -> tuple[UnfitError, ...]:
    """What hosts lack, all of it; empty when every host in `facts` will do."""
    lacking = [error for host in facts.values() for error in _host(host)]
    bare = {error.host for error in lacking}
    whole = {name: host for name, host in facts.items() if name not in bare}
    for network in inventory.networks.values():
        lacking += methods.named(network.method).findings(inventory, network, whole)
    return tuple(lacking)


def _host(facts: HostFacts) -> Iterator[UnfitError]:
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
    missing = [tool for tool in NEEDED if tool not in facts.tools]
    if missing:
        names = ", ".join(missing)
        yield UnfitError(host, f"it lacks {names}", f"on Debian: apt install {_packages(missing)}")
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


_PACKAGE = {"docker": "docker.io", "ip": "iproute2", "sysctl": "procps", "base64": "coreutils"}


def _packages(tools: Iterable[str]) -> str:
    return " ".join(sorted({_PACKAGE.get(tool, tool) for tool in tools}))


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
    for network in inventory.networks.values():
        for host in network.hosts:
            for route in facts[host].routes if host in facts else ():
                mine = (
                    (route.proto == PROTO and (host, str(route.dst)) in ours)
                    or (host, route.dev) in bridges
                    or (route.dev == "docker0" and _takes_docker0(network, host))
                    or route.dst in network.subnets.values()  # the plan names this one itself
                )
                if not mine and route.dst.overlaps(network.cidr):
                    what = f"{network.cidr} overlaps {route.dst} on {route.dev}, which is not ours"
                    yield Conflict(Ref(host, "network", network.name), what)


def _takes_docker0(network: Network, host: str) -> bool:
    return methods.named(network.method).attachment(network, host).kind == "docker0"
