"""Settings of Docker with which a host cannot carry a network, each refused by its name. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision import methods
from provision.engine import nft_tables
from provision.facts.host import HostFacts
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem

OLDEST_DOCKER = (20, 10)
DAEMON_JSON = "/etc/docker/daemon.json"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
MARK = "0x2000/0x2000"
"""The mark that the hint proposes: one bit, which neither Kubernetes nor firewalld uses."""


def problems(facts: HostFacts) -> Iterator[Problem]:
    """Yield the reasons why the Docker of a host cannot be used."""
    host = facts.host
    if _is_silent(facts):
        yield _silence(facts, hint=f"run `systemctl status docker` on {host}")
    elif facts.podman:
        version = ".".join(map(str, facts.docker))
        message = f"Podman {version} answers at Docker's socket, and it has no chain DOCKER-USER"
        yield Problem(host, message, "install Docker, and disable podman.socket")
        return
    elif facts.docker and facts.docker < OLDEST_DOCKER:
        version = ".".join(map(str, facts.docker))
        yield Problem(host, f"Docker {version} is too old", "provision needs 20.10 or newer")
    if facts.rootless:
        # A rootless dockerd has a network namespace of its own; no bridge of it is on the host.
        yield Problem(
            host,
            "Docker runs rootless, so its bridges are not in the host's network namespace",
            "use the dockerd that root runs",
        )
    yield from _without_docker_user(facts)


def hidden(facts: HostFacts) -> Iterator[Problem]:
    """Yield the reason why containers and networks of a host cannot be seen, and so not removed."""
    if _is_silent(facts):
        hint = f"run `systemctl start docker` on {facts.host}, then destroy again"
        yield _silence(facts, "; so nothing can be removed from it", hint=hint)


def _is_silent(facts: HostFacts) -> bool:
    return "docker" in facts.tools and not facts.docker


def _silence(facts: HostFacts, effect: str = "", *, hint: str) -> Problem:
    message = f"dockerd does not answer: {facts.docker_error}{effect}"
    return Problem(facts.host, message, hint, hides_docker=True)


def network_problems(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Problem]:
    """Yield the settings of the host's Docker with which one network cannot work."""
    yield from _without_access(inventory, network, facts)
    yield from _isolated(inventory, network, facts)


def _isolated(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Problem]:
    """Yield `"icc": false` for a network on docker0, whose containers it keeps from each other.

    One container alone on a host that routes does not meet the rule.
    """
    if not facts.docker0_isolates or not methods.is_on_docker0(network.options):
        return
    ends = [c for c in inventory.members.values() if c.network == network.name]
    on_host = [container.name for container in ends if container.host == facts.host]
    apart = ends if methods.of(network).single_l2(network) else on_host
    if on_host and len(apart) > 1:
        yield Problem(
            facts.host,
            f'Docker keeps containers on docker0 from each other ("icc": false), so '
            f"{', '.join(on_host)} cannot be reached in network {network.name}",
            f'remove "icc": false from {DAEMON_JSON} (or --icc=false from the arguments of '
            "dockerd) and restart Docker, or leave out `bridge: docker0`",
        )


def warnings(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Problem]:
    """Yield the address that dockerd publishes ports of new networks at, if it has one."""
    of_bridges = facts.network_defaults.get("bridge", {})
    address = of_bridges.get(HOST_BINDING, "")
    if address in ("", "0.0.0.0", "::") or methods.is_on_docker0(network.options):
        return
    containers = inventory.containers.values()
    on_host = [c for c in containers if (c.network, c.host) == (network.name, facts.host)]
    names = [c.name for c in on_host if any(port.ip is None for port in c.ports)]
    if names:
        yield Problem(
            facts.host,
            f"Docker publishes ports at {address} alone (default-network-opts in {DAEMON_JSON}): "
            f"other hosts may not reach those of {', '.join(names)}",
            f"write them with an address, such as {inventory.hosts[facts.host].address}:8080:80, "
            f"or remove {HOST_BINDING} from that file and restart Docker",
        )


def _without_access(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Problem]:
    """Yield the senders that `access` names, and whose packets Docker's backend nftables drops.

    It drops packets for containers in its chain of the priority raw, whatever mark they have,
    unless they come by an interface to the network's other hosts. With the backend iptables, a
    chain of ours accepts them first.
    """
    access = network.access
    if access is None or not facts.nftables_backend or methods.is_on_docker0(network.options):
        return
    outside = [host for host in inventory.hosts if access.hosts and host not in network.hosts]
    senders = (*map(str, access.ranges), *access.interfaces, *outside)
    if senders:
        yield Problem(
            facts.host,
            f"Docker's backend nftables drops the packets of {', '.join(senders)}, which access of "
            f"network {network.name} lets in",
            f'write `access: [hosts]` with all hosts in the network, or remove "firewall-backend" '
            f"from {DAEMON_JSON} and reboot",
        )


def _without_docker_user(facts: HostFacts) -> Iterator[Problem]:
    """Yield the settings with which Docker makes no chain DOCKER-USER."""
    if facts.docker and facts.nftables_backend:
        yield from _nftables(facts)
    if facts.docker and not facts.firewall.docker_iptables:
        message = 'Docker makes no rules of iptables ("iptables": false), so it isolates no network'
        hint = f'remove "iptables": false from {DAEMON_JSON}, and restart Docker'
        yield Problem(facts.host, message, hint)


def _nftables(facts: HostFacts) -> Iterator[Problem]:
    """Yield what a host lacks whose Docker makes its rules by nftables."""
    mark = facts.firewall.docker_mark
    if not nft_tables.mark_statement(mark):
        message = (
            "Docker makes its rules by nftables (firewall-backend), and accepts packets of other "
            "hosts only with a mark, "
            + (f"for which {mark} cannot be used" if mark else "which its settings do not name")
        )
        hint = f'write "bridge-accept-fwmark": "{MARK}" to {DAEMON_JSON}, and restart Docker'
        yield Problem(facts.host, message, hint)
    if facts.firewall.forward_policy == "DROP":
        message = (
            "Docker makes its rules by nftables (firewall-backend), but the chain FORWARD of "
            "iptables drops what it does not accept"
        )
        hint = "if Docker made it so before, reboot; if a firewall did, let it forward"
        yield Problem(facts.host, message, hint)
