"""The device, routes, neighbours and FDB entries that flanneld makes of the leases in etcd. Pure.

flanneld makes them when a lease changes, and not again when somebody removes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provision.resources.base import Origin
from provision.resources.lib import etcd_keys
from provision.resources.lib.etcd_keys import Keys, Lease
from provision.resources.lib.shared_json import decode


@dataclass(frozen=True, slots=True)
class FlannelState:
    """`lacks` names what the kernel lacks, separated by commas; empty: nothing.

    `lease_mac` is the MAC that the host's lease tells the others, where the device has another.
    """

    lacks: str = ""
    lease_mac: str = ""


@dataclass(frozen=True, slots=True)
class FlannelLinks:
    """Interfaces by name, main routes by destination, and the entries of each flannel device.

    `neighbours` are lines of `ip neighbour`, `forwards` those of `bridge fdb`, each after its
    device.
    """

    links: Mapping[str, Mapping[str, Any]]
    routes: Mapping[str, Mapping[str, Any]]
    neighbours: frozenset[tuple[str, str, str]]
    forwards: frozenset[tuple[str, str, str]]

    @classmethod
    def parse(cls, lines: list[tuple[str, str]]) -> FlannelLinks | None:
        """Read the probe of the kind `flannel`; None where the host did not tell its interfaces."""
        answers = dict(lines)
        if not {"addresses", "routes"} <= answers.keys():
            return None
        neighbours = (rest.split() for key, rest in lines if key == "neighbour")
        forwards = (rest.split() for key, rest in lines if key == "forward")
        return cls(
            {link["ifname"]: link for link in decode(answers["addresses"])},
            {entry["dst"]: entry for entry in decode(answers["routes"])},
            # `DEVICE ADDRESS lladdr MAC …` and `DEVICE MAC dst ADDRESS …`
            frozenset((tokens[0], tokens[1], tokens[3]) for tokens in neighbours),
            frozenset((f[0], f[1], f[3]) for f in forwards if len(f) > 3 and f[2] == "dst"),
        )

    def compared(
        self, device: str, backend: str, keys: Keys | None, network: str, origin: Origin
    ) -> FlannelState:
        """The state of one network; `keys` are those of its etcd, None if it does not answer."""
        own, others = (None, ()) if keys is None else _leases(keys, network, origin)
        lacks = list(self._device(device)) if device else []
        if own is None or lacks:
            return FlannelState(", ".join(lacks))
        lease_mac = "" if own.mac == self._mac(device) else own.mac
        lacks = [f"MAC {lease_mac} of its lease"] if lease_mac else []
        lacks += [text for lease in others for text in self._peer(device, backend, lease)]
        return FlannelState(", ".join(lacks), lease_mac)

    def _mac(self, device: str) -> str:
        return str(self.links[device].get("address", "")) if device else ""

    def _device(self, device: str) -> Iterator[str]:
        link = self.links.get(device)
        if link is None:
            yield f"interface {device}"
        elif "UP" not in link["flags"]:
            yield f"flag UP of {device}"
        elif not any(entry["family"] == "inet" for entry in link.get("addr_info", ())):
            yield f"address of {device}"

    def _peer(self, device: str, backend: str, lease: Lease) -> Iterator[str]:
        """Yield what leads to the subnet of another host's lease, as far as it is missing."""
        subnet, gateway = str(lease.subnet), str(lease.subnet.network_address)
        if lease.backend != backend or (backend == "vxlan" and not lease.mac):
            return
        route = self.routes.get(subnet)
        if route is None:
            yield f"route to {subnet}"
        # With direct routing the route leads to the host itself.
        elif backend == "vxlan" and route.get("dev") == device:
            if (device, gateway, lease.mac) not in self.neighbours:
                yield f"neighbour {gateway}"
            if (device, lease.mac, lease.address) not in self.forwards:
                yield f"FDB entry of {lease.address}"


def _leases(keys: Keys, network: str, origin: Origin) -> tuple[Lease | None, tuple[Lease, ...]]:
    """The lease that provision recorded for this host, and those of other hosts."""
    claims = etcd_keys.claims_prefix(origin.inventory, network)
    record = etcd_keys.decode_object(keys.get(f"{claims}/hosts/{origin.host}", ""))
    key, address = str(record.get("key", "")), record.get("address")
    prefix = key.partition("/subnets/")[0]
    leases = etcd_keys.leases(keys, prefix) if key else ()
    # A lease that somebody gave to another host is a matter of the kind `etcd_lease`.
    own = next((lease for lease in leases if (lease.key, lease.address) == (key, address)), None)
    return own, tuple(lease for lease in leases if lease.address != address)
