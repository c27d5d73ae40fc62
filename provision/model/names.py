"""Subnets of a network, and the names and numbers of kernel objects. Pure.

All are computed from the inventory alone. Names end in a hash, so that they are stable, differ
between inventories and fit their limit. They exist on hosts: after a change of one of these
functions, objects of earlier versions would no longer be found.
"""

from __future__ import annotations

import re
from base64 import b32encode
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network

STASHED = re.compile(r"\.provision-[0-9a-f]+$")
"""The end of the name of a container that a transaction has stashed: it is neither ours nor a
conflict."""
INTERFACE_LENGTH = 15  # IFNAMSIZ is 16 with its NUL
CHAIN_LENGTH = 28  # XT_EXTENSION_MAXNAMELEN is 29 with its NUL
_HASH_LENGTH = 6  # 30 bits: a clash among 100 networks of a host once in 200 000 fleets


def block_count(cidr: IPv4Network, prefix: int) -> int:
    """Number of blocks of prefix length `prefix` in a network."""
    return int(2 ** (prefix - cidr.prefixlen)) if prefix >= cidr.prefixlen else 0


def nth_block(cidr: IPv4Network, prefix: int, index: int) -> IPv4Network:
    """The block with that index, from 0; the caller keeps it below `block_count`."""
    return IPv4Network((int(cidr.network_address) + (index << (32 - prefix)), prefix))


def gateway(subnet: IPv4Network) -> IPv4Address:
    """The first host address of a subnet, which Docker gives to the bridge."""
    return subnet.network_address + 1


def container_capacity(subnet: IPv4Network) -> int:
    """Number of addresses for containers: all but network, gateway and broadcast address."""
    return max(subnet.num_addresses - 3, 0)


def interface_name(prefix: str, inventory: str, network: str) -> str:
    """An interface name such as `br-blue-k2x7qa`, 15 characters at most.

    `prefix` has at most 6 characters, so that some of the network's name remains.
    """
    assert len(prefix) <= 6
    return _hashed_name(prefix + network, inventory, network, INTERFACE_LENGTH)


def host_veth_name(inventory: str, container: str, interface: str) -> str:
    """Name of the host's end of a container's veth, such as `pw-web-k2x7qa`."""
    hashed = f"{container}/{interface}"
    return _hashed_name(f"pw-{container}", inventory, hashed, INTERFACE_LENGTH)


def hashed_mac(*parts: str, first_byte: int = 0x02) -> str:
    """A stable MAC address of these parts; `first_byte` has to be unicast and locally administered.

    Bit 0 of the first byte means multicast, bit 1 locally administered (IEEE 802).
    """
    digest = sha256("\0".join(parts).encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (first_byte, *digest[:5]))


def vtep_mac(inventory: str, network: str, host: str) -> str:
    """MAC address of a host's VXLAN device, which its peers compute, too."""
    return hashed_mac(f"{inventory}/{network}/{host}", first_byte=0x0A)


def default_vni(inventory: str, network: str) -> int:
    """A VNI from 1 to 2**24 - 1, so that networks of two inventories hardly ever share one."""
    digest = sha256(f"vni {inventory}/{network}".encode()).digest()
    return int.from_bytes(digest[:3], "big") % (2**24 - 1) + 1


def chain_name(inventory: str, network: str) -> str:
    """An iptables chain name such as `PROV-demo-blue-k2x7qa`, 28 characters at most."""
    return _hashed_name(f"PROV-{inventory}-{network}", inventory, network, CHAIN_LENGTH)


def _hashed_name(readable: str, inventory: str, network: str, length: int) -> str:
    # Neither name can hold `/`, so that a-b/c and a/b-c have different hashes.
    digest = sha256(f"{inventory}/{network}".encode()).digest()
    suffix = b32encode(digest).decode().lower()[:_HASH_LENGTH]
    # rstrip: a name that is cut after a hyphen would have two before the hash.
    return f"{readable[: length - len(suffix) - 1].rstrip('-')}-{suffix}"
