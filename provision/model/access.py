"""The key `access` of a network as a value."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network


@dataclass(frozen=True, slots=True)
class Access:
    """Who besides its own containers may reach those of a network by their own addresses.

    `hosts`: all hosts of the inventory. `ranges` are source ranges, `interfaces` those of the hosts
    by which packets come in.
    """

    hosts: bool = False
    ranges: tuple[IPv4Network, ...] = ()
    interfaces: tuple[str, ...] = ()
