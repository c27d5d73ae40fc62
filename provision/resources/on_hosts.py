"""Paths, numbers and marks by which a host tells what provision made on it.

Hosts keep these words: a change here would make provision blind to what it applied before. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

ETC = "/etc/provision"
"""Folder of files that an inventory needs on a host, and of its claims."""
VAR = "/var/lib/provision"
"""Folder of everything else that provision keeps on a host."""
ORIGINALS = f"{VAR}/was"
"""Folder of values that provision changed but did not create, as they were before."""
MARK = "provision:"
"""The start of every iptables comment, interface alias and unit file that provision writes."""
UNIT_FOLDER = "/etc/systemd/system"
"""Folder of the unit files that an administrator of a host adds."""
PROTO = 240
"""Protocol number of routes and rules (`ip route … proto`).

iproute2 reserves no name for it: https://github.com/iproute2/iproute2/blob/main/etc/iproute2/rt_protos
"""
ANSWER_TABLE = 2400
"""Routing table of a container for the answers of its published ports.

The tables that an inventory may name end at 252. detach_interface.sh empties it.
"""

KINDS_ON_HOSTS = {
    "arp_ignore": "mute",
    "binary": "program",
    "iptables_chain": "chain",
    "lan_bridge": "bridge",
    "lan_bridge_ovs": "switch",
    "nic_drop_rule": "seal",
    "ovs_uplink": "underlay",
    "ovs_veth": "joint",
    "systemd_unit": "unit",
}
"""Today's name of a kind → its name in version 0.1.0, which unit files on hosts still hold.

Unit files keep the old name, so that hosts of 0.1.0 are seen as unchanged.
"""


# Not a NamedTuple: `plan --json` prints tuples as lists, and a mark as text.
@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """The owner of a resource: an inventory, and the network (or bridge) in it.

    Text forms: `str(mark)` is `inventory/network`, for Docker labels and OVSDB's external_ids;
    `tag` is that after `provision:`, for iptables comments and interface aliases.
    """

    inventory: str
    network: str = ""

    def __str__(self) -> str:
        return f"{self.inventory}/{self.network}" if self.network else self.inventory

    @property
    def tag(self) -> str:
        """The mark as an iptables comment or interface alias."""
        return f"{MARK}{self}"

    @classmethod
    def parse(cls, text: str) -> Mark:
        """Read `inventory/network`; the empty text is `UNMARKED`."""
        inventory, _, network = text.partition("/")
        return cls(inventory, network)

    @classmethod
    def of_tag(cls, text: str) -> Mark:
        """Read an iptables comment or interface alias; any text of others is `UNMARKED`."""
        return cls.parse(text.removeprefix(MARK)) if text.startswith(MARK) else UNMARKED


UNMARKED = Mark("")
"""The mark of a resource that no inventory owns."""


def service_name(inventory: str, network: str, program: str) -> str:
    """The systemd service of a network's daemon: `etcd` or `flanneld`."""
    return f"provision-{inventory}-{network}-{program}.service"


def follower_name(inventory: str) -> str:
    """The systemd service that repeats the volatile resources of an inventory."""
    return f"provision-{inventory}-follow.service"


def lock_path(inventory: str) -> str:
    """The file that is locked while anything of this inventory changes on a host."""
    return f"/run/provision-{inventory}.lock"
