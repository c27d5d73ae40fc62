"""Blocks of a network, and names the kernel accepts, both computed from the inventory alone. Pure.

Names carry a hash, so that they are stable, differ between inventories and fit their limit.
"""

from __future__ import annotations

from base64 import b32encode
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network

INTERFACE_LENGTH = 15  # IFNAMSIZ is 16 with its NUL
CHAIN_LENGTH = 28  # XT_EXTENSION_MAXNAMELEN is 29 with its NUL
_HASH_LENGTH = 6  # 30 bits: a clash among 100 networks of a host once in 200 000 fleets


def blocks(cidr: IPv4Network, prefix: int) -> int:
    """How many blocks of a prefix length a network holds."""
    return int(2 ** (prefix - cidr.prefixlen)) if prefix >= cidr.prefixlen else 0


def block(cidr: IPv4Network, prefix: int, k: int) -> IPv4Network:
    """The k-th block, from 0; the caller keeps k below `blocks`."""
    return IPv4Network((int(cidr.network_address) + (k << (32 - prefix)), prefix))


def gateway(subnet: IPv4Network) -> IPv4Address:
    """The first address: what Docker gives the bridge."""
    return subnet.network_address + 1


def room(subnet: IPv4Network) -> int:
    """Addresses left for containers, without network, gateway and broadcast address."""
    return max(subnet.num_addresses - 3, 0)


def interface_name(prefix: str, inventory: str, network: str) -> str:
    """A link name such as `br-blue-k2x7qa`: at most 15 characters, of a prefix of at most 6."""
    assert len(prefix) <= 6
    return _name(prefix + network, inventory, network, INTERFACE_LENGTH)


def plug_name(inventory: str, container: str, interface: str) -> str:
    """The host's end of a container's interface, such as `pw-web-k2x7qa`."""
    return _name(f"pw-{container}", inventory, f"{container}/{interface}", INTERFACE_LENGTH)


def mac_address(inventory: str, network: str, host: str) -> str:
    """A MAC address of our own for one host of a network: locally administered, of one device."""
    digest = sha256(f"{inventory}/{network}/{host}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x0A, *digest[:5]))


def network_id(inventory: str, network: str) -> int:
    """A VNI of our own, 24 bits and not 0: networks of two inventories do not meet."""
    digest = sha256(f"vni {inventory}/{network}".encode()).digest()
    return int.from_bytes(digest[:3], "big") % (2**24 - 1) + 1


def chain_name(inventory: str, network: str) -> str:
    """An iptables chain name such as `PROV-demo-blue-k2x7qa`: at most 28 characters."""
    return _name(f"PROV-{inventory}-{network}", inventory, network, CHAIN_LENGTH)


def _name(readable: str, inventory: str, network: str, length: int) -> str:
    # `/` is in neither name, so a-b/c and a/b-c have hashes of their own.
    digest = sha256(f"{inventory}/{network}".encode()).digest()
    tail = b32encode(digest).decode().lower()[:_HASH_LENGTH]
    return f"{readable[: length - len(tail) - 1].rstrip('-')}-{tail}"
