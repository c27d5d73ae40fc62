"""Which hosts are read to plan a part of the hosts, or to destroy."""

from __future__ import annotations

from collections.abc import Collection

from provision import methods
from provision.engine.fleet import Fleet, Session, observe, survey
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem


def survey_part(
    session: Session, hosts: Collection[str]
) -> tuple[Session, Fleet, tuple[Problem, ...]]:
    """`survey` of `hosts`, and of the other hosts where they matter."""
    inventory = session.inventory
    read = hosts_to_read(inventory, hosts)
    surveyed = survey(session, read)
    _, fleet, _ = surveyed
    # A host's `ip rule` may take packets to a subnet that another host has kept. Only that host's
    # snapshot tells its subnet.
    if len(read) < len(inventory.hosts) and any(f.policy.rules for f in fleet.facts.values()):
        return survey(session, inventory.hosts)
    return surveyed


def survey_removal(session: Session, hosts: Collection[str]) -> tuple[Fleet, tuple[Problem, ...]]:
    """Snapshots of `hosts` for `destroy`, and a problem for each whose dockerd does not answer.

    No other host is read.
    """
    fleet = observe(session, hosts)
    from provision.engine import docker_settings

    return fleet, tuple(
        problem for facts in fleet.facts.values() for problem in docker_settings.hidden(facts)
    )


def hosts_to_read(inventory: Inventory, hosts: Collection[str]) -> Collection[str]:
    """The hosts to read for a plan of `hosts`: `hosts` themselves, or all of the inventory.

    All are read in three cases. The file leaves the MTU or the subnet of a host open, which follow
    from all hosts. `hosts` have rows for the subnets of others, with `access` also outside of a
    network. There are guests, which may run on another host than the file says.
    """
    networks = inventory.networks.values()
    if any(network.access is not None for network in networks):
        return inventory.hosts
    members = [(network, host) for network in networks for host in hosts if host in network.subnets]
    has_guests = any(guest.host in hosts for guest in inventory.guests.values())
    if has_guests or any(_needs_peers(network, host) for network, host in members):
        return inventory.hosts
    return hosts


def _needs_peers(network: Network, host: str) -> bool:
    follows_from_file = (
        network.mtu is not None and host in network.written and network.names is None
    )
    return not follows_from_file or methods.of(network).needs_peers(network, host)
