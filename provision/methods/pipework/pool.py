"""The pool of a `pipework` network: the part of the LAN that Docker hands out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from provision.methods.pipework.options import PipeworkOptions
from provision.model import names

if TYPE_CHECKING:
    from provision.model.documents import NetworkDocument

METHOD = "pipework"
_WHOLE = 32


def parts(
    network: NetworkDocument, options: PipeworkOptions, hosts: tuple[str, ...]
) -> Mapping[str, IPv4Network]:
    """Each host's part of the pool: its fixed one, else the block of its position.

    Without a pool Docker gives no addresses; then each host's part is the LAN itself.
    """
    pool = options.pool
    if pool is None:
        return dict.fromkeys(hosts, network.cidr)
    size, fixed = part_size(network, pool, hosts), network.subnets or {}
    return {
        host: fixed[host] if host in fixed else names.nth_block(pool, size, k)
        for k, host in enumerate(hosts)
        if host in fixed or k < names.block_count(pool, size)
    }


def part_size(network: NetworkDocument, pool: IPv4Network, hosts: tuple[str, ...]) -> int:
    """The prefix length of a part: the one in the file, or the shortest that serves all hosts."""
    if "subnet_size" in network.model_fields_set:
        return network.subnet_size
    return min(_WHOLE, pool.prefixlen + max(len(hosts) - 1, 0).bit_length())
