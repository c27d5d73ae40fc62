"""Names of interfaces and files that a change would give, and that something else has. Pure.

The kernel, Docker and networkd take what exists under such a name for what provision made: Docker
uses a bridge of others, and `ip link add` fails half way through a change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision.engine import conflict_commands
from provision.engine.owners import Owners, existence, removal
from provision.engine.plan import Conflict
from provision.facts.host import HostFacts
from provision.resources.base import Ref, Resource, State
from provision.resources.kinds.ovs_daemon import OvsDaemon

OVS_KINDS = ("lan_bridge_ovs", "ovs_bridge", "ovs_tunnel", "ovs_uplink", "ovs_veth")


def conflicts(
    facts: Mapping[str, HostFacts], current: State, foreign: State, wanted: State
) -> Iterator[Conflict]:
    """Yield a conflict for each name of `wanted` that others have, or that two resources give."""
    own = {(ref.host, name) for ref, resource in current.items() for name in resource.names()}
    # Several inventories share the uplink of a NIC: its bridge is there already for the second.
    shared = (foreign[ref] for ref in wanted if ref in foreign and foreign[ref].edits)
    own |= {(resource.host, name) for resource in shared for name in resource.names()}
    without_ovs, owners = hosts_without_ovs({**foreign, **current}), Owners.of(foreign)
    givers: dict[tuple[str, str], Ref] = {}
    for ref, resource in wanted.items():
        # A resource of others in its place is a conflict already; Docker and Open vSwitch tell
        # whose their devices are only while they run.
        known = (ref in foreign and not resource.edits) or ref.host not in facts
        silent = not known and is_unseen(resource, facts[ref.host], without_ovs)
        for name in resource.names():
            giver = givers.setdefault((ref.host, name), ref)
            if giver != ref:
                message = f"{_noun(name)} {name} would be that of {giver.kind} {giver.name}, too"
                yield Conflict(ref, message)
            elif known or silent or (ref.host, name) in own:
                continue
            elif facts[ref.host].has_name(name):
                owner = owners.of_name(ref.host, name)
                message = f"{_noun(name)} {name} {existence(owner)}"
                yield Conflict(ref, message, conflict_commands.of_name(name), removal(owner))
    yield from _blocked_folders(facts)


def is_unseen(resource: Resource, facts: HostFacts, without_ovs: frozenset[str]) -> bool:
    """True if the daemon that has such resources of the host does not answer."""
    if resource.uses_dockerd:
        return not facts.docker
    return resource.kind in OVS_KINDS and facts.host in without_ovs


def _blocked_folders(facts: Mapping[str, HostFacts]) -> Iterator[Conflict]:
    for host, host_facts in facts.items():
        for folder in sorted(host_facts.blocked_folders):
            message = f"{folder} is a file or a symbolic link, not a folder of provision"
            command = conflict_commands.of_name(folder)
            yield Conflict(Ref(host, "folder", folder), message, command)


def _noun(name: str) -> str:
    return "file" if name.startswith("/") else "interface"


def hosts_without_ovs(found: State) -> frozenset[str]:
    """Hosts whose Open vSwitch does not run.

    Its devices outlive it, and its database, which says whose they are, cannot be read.
    """
    daemons = (resource for resource in found.values() if isinstance(resource, OvsDaemon))
    return frozenset(daemon.host for daemon in daemons if not daemon.active)
