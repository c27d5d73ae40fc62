"""The rules that let frames cross the bridge of a NIC. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from provision.model.names import chain_name
from provision.resources.base import Ref
from provision.resources.lib.nic_records import OriginalNic


def rules_before(
    host: str, nic: OriginalNic, inventory: str, networks: Iterable[str]
) -> tuple[Ref, ...]:
    """The rules without which the host's own packets do not cross the bridge to its veth.

    With the module br_netfilter they pass the chain FORWARD. The names of a network's chain and of
    its veth end alike.
    """
    if nic.host_veth is None:
        return ()
    chains = (chain_name(inventory, network) for network in networks)
    suffix = nic.host_veth.name.rpartition("-")[2]
    names = [chain for chain in chains if chain.endswith(f"-{suffix}")]
    return tuple(
        Ref(host, kind, f"{table}{name}")
        for name in names
        for kind, table in (("iptables_chain", "filter/"), ("nft_table", ""))
    )
