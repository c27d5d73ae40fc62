"""Which etcd members have lost their data, by the facts of all hosts. Pure.

etcd refuses a member that comes back without its data under its old id, because it may have
acknowledged entries that it does not have any more. Such a member is removed from the cluster, and
joins again under a new id: https://etcd.io/docs/v3.5/op-guide/runtime-configuration/
"""

from __future__ import annotations

from collections.abc import Iterator

from provision.methods import Facts
from provision.methods.flannel.facts import NO_DATA, UNREADABLE, EtcdMember, FlannelFacts
from provision.methods.flannel.options import (
    cluster,
    first_writer,
    is_external,
    members,
    options,
)
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.resources.lib import etcd_keys

UNLISTED = "a member that is not in the cluster"
EARLIER = "a member of an earlier cluster"
_RESTORE = "restore it as docs/flannel.md says under 'Restore etcd after the loss of a majority'"


def peer_url(inventory: Inventory, network: Network, member: str) -> str:
    """The URL of a member for the other members."""
    port = options(network).etcd.peer_port
    return f"https://{inventory.hosts[member].address}:{port}"


def keys(inventory: Inventory, network: Network, facts: Facts) -> etcd_keys.Keys:
    """The keys of the network's etcd, as some host got them; empty without an answer.

    An answer counts only if it comes from the cluster that the inventory asks for.
    """
    return next((answer for answer, _ in _answers(inventory, network, facts)), {})


def writer(inventory: Inventory, network: Network, facts: Facts) -> str:
    """The host that writes flannel's settings for all: the one whose resource they are already.

    It keeps them while it is in the network, so that no plan moves them to another host.
    """
    addresses = frozenset(str(host.address) for host in inventory.hosts.values())
    answer = keys(inventory, network, facts)
    host = etcd_keys.settings_host(answer, inventory.name, network.name, "", addresses)
    return host if host in network.hosts else first_writer(network)


def lost(inventory: Inventory, network: Network, facts: Facts) -> dict[str, str]:
    """The members that have to join again, each with the id of its entry in the cluster.

    Only while the cluster answers: otherwise there is nothing to join.
    """
    lists = [entries for _, entries in _answers(inventory, network, facts) if entries]
    replaced = {}
    for member in members(network) if lists else ():
        url, data = peer_url(inventory, network, member), _data(inventory, network, facts, member)
        entries = [_entry(listed, url) for listed in lists]
        # A member that the others cannot reach may answer by an old list: all have to agree.
        if data is not None and all(_is_lost(data, entry) for entry in entries):
            replaced[member] = entries[0].id if entries[0] else UNLISTED
    return replaced


def of_earlier(inventory: Inventory, network: Network, facts: Facts) -> frozenset[str]:
    """The members whose data is of an earlier cluster with the same members.

    A host that left the file keeps its data, while the others form a cluster without it. When the
    host comes back, the members are those of before. Its data must not meet their empty folders:
    the new cluster has the old one's ids, and the host would bring old leases.
    """
    without, kept = _majority_lost(inventory, network, facts)
    went_on = any(_has_other_data(inventory, network, facts, member) for member in without)
    return frozenset(kept) if went_on else frozenset()


def problems(inventory: Inventory, network: Network, facts: Facts) -> Iterator[Problem]:
    """The loss of a majority of members, of which etcd cannot recover by itself."""
    without, kept = _majority_lost(inventory, network, facts)
    if not kept or of_earlier(inventory, network, facts):
        return
    has = "have" if len(without) > 1 else "has"
    message = (
        f"etcd of network '{network.name}' has lost its majority: {' and '.join(without)} {has} "
        f"lost the data, which only {' and '.join(kept)} still {'have' if kept[1:] else 'has'}"
    )
    yield Problem(without[0], message, _RESTORE)


def _majority_lost(
    inventory: Inventory, network: Network, facts: Facts
) -> tuple[list[str], list[str]]:
    """The members without data and those with data, if etcd cannot answer for the former."""
    data = {member: _data(inventory, network, facts, member) for member in members(network)}
    without = [member for member, member_id in data.items() if member_id == NO_DATA]
    kept = [member for member, member_id in data.items() if member_id not in (NO_DATA, None)]
    majority = len(data) // 2 + 1
    if not kept or len(data) - len(without) >= majority or keys(inventory, network, facts):
        return [], []
    return without, kept


def _has_other_data(inventory: Inventory, network: Network, facts: Facts, member: str) -> bool:
    """True if a member has data of a cluster of the network with other members."""
    own = f"{network.name}.{cluster(inventory, network)}"
    return any(
        folder != own and folder.rpartition(".")[0] == network.name and member_id != NO_DATA
        for folder, member_id in facts[member].of(FlannelFacts).etcd_data.items()
    )


def has_lost_all(inventory: Inventory, network: Network, facts: Facts) -> bool:
    """True if the network had an etcd, and none of its members has data any more."""
    if is_external(network):
        return False
    of_hosts = [facts[host].of(FlannelFacts) for host in network.hosts if host in facts]
    # Cheapest first: this is asked for every host, and mostly etcd answers.
    return (
        not any(network.name in host.etcd_keys for host in of_hosts)
        and all(member in facts for member in members(network))
        and any(f"{network.name}.ca.crt" in host.tls_files for host in of_hosts)
        and all(
            member_id == NO_DATA
            for host in of_hosts
            for folder, member_id in host.etcd_data.items()
            if folder.rpartition(".")[0] == network.name
        )
    )


def cause(inventory: Inventory, network: Network, facts: Facts, member: str) -> str:
    """What a plan says about a member whose data is lost; empty for any other."""
    if member in lost(inventory, network, facts):
        return f"etcd on {member} has lost its data: the member is replaced"
    if has_lost_all(inventory, network, facts):
        return f"etcd on {member} has lost its data: all keys are written again"
    if member in of_earlier(inventory, network, facts):
        return f"etcd on {member} has data of an earlier cluster: it is deleted"
    return ""


def _answers(
    inventory: Inventory, network: Network, facts: Facts
) -> Iterator[tuple[etcd_keys.Keys, tuple[EtcdMember, ...]]]:
    """Keys and members as each host got them from the cluster that the inventory asks for."""
    claim = f"{etcd_keys.claims_prefix(inventory.name, network.name)}/config"
    for host in network.hosts:
        of_host = facts[host].of(FlannelFacts) if host in facts else FlannelFacts()
        answer = of_host.etcd_keys.get(network.name, {})
        token = etcd_keys.decode_object(answer.get(claim, "")).get("cluster")
        if token == cluster(inventory, network):
            yield answer, of_host.etcd_members.get(network.name, ())


def _data(inventory: Inventory, network: Network, facts: Facts, member: str) -> str | None:
    """The member's id by its own data; None for a host that does not answer."""
    if member not in facts:
        return None
    folder = f"{network.name}.{cluster(inventory, network)}"
    return facts[member].of(FlannelFacts).etcd_data.get(folder, NO_DATA)


def _entry(listed: tuple[EtcdMember, ...], url: str) -> EtcdMember | None:
    return next((entry for entry in listed if entry.peer == url), None)


def _is_lost(data: str, entry: EtcdMember | None) -> bool:
    if data == UNREADABLE:
        return False
    if entry is None or entry.learner:
        # A learner has no vote yet: the run that added it did not come to its end.
        return True
    if data == NO_DATA:
        # A member of a new cluster has a name from the beginning, and needs no data to start.
        return entry.started or not entry.name
    return data != entry.id
