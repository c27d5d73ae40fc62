"""Claims of routes on a host: which inventory and which network a route belongs to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from provision.model.ipv4 import ipv4_network
from provision.resources.base import Origin
from provision.resources.on_hosts import ETC

FOREIGN = ""
"""The network of the routes that are not of this inventory."""
UNKNOWN = "(unknown network)"
"""The network of routes of version 0.1.0 to a destination that is in no network of the file."""


class Claims:
    """The claims of all inventories on a host, as one inventory sees them.

    `networks` is the network of each destination that this inventory claims; `old` are those that
    it claims in the form of version 0.1.0; `texts` are its claims in the form of today, by network.
    """

    def __init__(self, lines: Iterable[tuple[str, str]], origin: Origin) -> None:
        self.networks: dict[str, str] = {}
        self.old: set[str] = set()
        self._origin = origin
        self._of_others: set[str] = set()
        rows: dict[str, list[str]] = {}
        last, network, ours = "", "", False
        for key, text in lines:
            if key == "claim":
                owner, _, name = text.partition(" ")
                self._add_claim(owner, name, rows)
            elif key == "row":
                path, claimed, dst = _claimed_row(text)
                if path != last:
                    owner, _, network = path.removeprefix(f"{ETC}/").split("/", 2)
                    last, ours = path, owner == self._origin.inventory
                if ours:
                    rows[network].append(claimed)
                if dst and ours:
                    self.networks[dst] = network
                elif dst:
                    self._of_others.add(dst)
        self.texts = {network: "".join(lines) for network, lines in rows.items()}

    def _add_claim(self, owner: str, name: str, rows: dict[str, list[str]]) -> None:
        """Add a claim: a table, whose rows follow, or that of one route."""
        dst, ours = name.replace("_", "/"), owner == self._origin.inventory
        if name[:1].isalpha():
            rows |= {name: []} if ours else {}
        elif ours:
            self.old.add(dst)
            self.networks.setdefault(dst, self._range_of(dst) or UNKNOWN)
        else:
            self._of_others.add(dst)

    def _range_of(self, dst: str) -> str:
        """The network whose range contains `dst`; empty: none."""
        part, ranges = ipv4_network(dst), self._origin.networks
        return next((name for name, cidr in ranges if part.subnet_of(cidr)), "")

    def network_of(self, dst: str, *, marked: bool) -> str:
        """The network of this inventory that a route of the kernel belongs to, or `FOREIGN`.

        `marked`: it has the protocol number of provision.
        """
        if not marked:
            return FOREIGN
        if dst in self.networks:
            return self.networks[dst]
        # Nobody claims it: its claim was deleted.
        return FOREIGN if dst in self._of_others else self._range_of(dst) or FOREIGN


@lru_cache(1 << 16)
def _claimed_row(text: str) -> tuple[str, str, str]:
    """A line `PATH:DESTINATION ROUTE` of a claim: its file, the line as in it, and the destination.

    The destination is empty in a damaged claim: its routes have none.
    """
    path, _, claimed = text.partition(":")
    dst = claimed.partition(" ")[0]
    return path, f"{claimed}\n", dst if _is_destination(dst) else ""


@lru_cache(1 << 16)
def _is_destination(text: str) -> bool:
    try:
        ipv4_network(text)
    except ValueError:
        return False
    return "/" in text
