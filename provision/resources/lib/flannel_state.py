"""The device, routes, neighbours and FDB entries that flanneld makes of the leases in etcd. Pure.

flanneld makes them when a lease changes, and not again when somebody removes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any, NamedTuple

from provision.resources.base import Origin
from provision.resources.lib import etcd_keys
from provision.resources.lib.etcd_keys import Keys, Lease
from provision.resources.lib.route_protocols import BOOT, OF_PEOPLE, REFUSALS
from provision.resources.lib.shared_json import decode


@dataclass(frozen=True, slots=True)
class FlannelState:
    """`lacks` names what the kernel lacks, separated by commas; empty: nothing.

    `lease_mac` is the MAC that the host's lease tells the others, where the device has another.
    `displaced` are the destinations of flanneld's routes in whose place are routes that a person
    made, `blocked` those where a program made them. `prefix_length` is that of the leases; None if
    etcd does not tell.
    """

    lacks: str = ""
    lease_mac: str = ""
    displaced: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    prefix_length: int | None = None


class _Lack(NamedTuple):
    """Something that the kernel lacks: `displaced` is the destination of a person's route.

    `blocked` is that of a route with a mark, or of a program.
    """

    text: str
    displaced: str = ""
    blocked: str = ""


class _NextHop(NamedTuple):
    """Where a route of flanneld leads; an empty part may be any."""

    gateway: str = ""
    dev: str = ""

    def is_of(self, route: Mapping[str, Any]) -> bool:
        """Return True if `route` leads there."""
        return (
            _type(route) == _UNICAST
            and self.gateway in ("", route.get("gateway"))
            and self.dev in ("", route.get("dev"))
        )

    def __str__(self) -> str:
        parts = (("via", self.gateway), ("dev", self.dev))
        return " ".join(f"{key} {value}" for key, value in parts if value)


class _Leases(NamedTuple):
    """The lease that provision recorded for this host, and those of other hosts.

    `direct`: hosts on one link may send packets to each other without VXLAN.
    """

    local: Lease | None = None
    remote: tuple[Lease, ...] = ()
    direct: bool = False


_UNICAST = "1"
"""RTN_UNICAST of linux/rtnetlink.h."""


@dataclass(frozen=True, slots=True)
class FlannelLinks:
    """Interfaces by name, main routes by destination, and the entries of each flannel device.

    Of several routes to a destination, the one that the kernel takes counts.

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
            # The kernel prints the one with the lowest metric first.
            {entry["dst"]: entry for entry in reversed(decode(answers["routes"]))},
            # `DEVICE ADDRESS lladdr MAC …` and `DEVICE MAC dst ADDRESS …`
            frozenset((tokens[0], tokens[1], tokens[3]) for tokens in neighbours),
            frozenset((f[0], f[1], f[3]) for f in forwards if len(f) > 3 and f[2] == "dst"),
        )

    def compared(
        self,
        device: str,
        backend: str,
        cidr: IPv4Network,
        keys: Keys | None,
        network: str,
        origin: Origin,
    ) -> FlannelState:
        """The state of one network; `keys` are those of its etcd, None if it does not answer."""
        leases = _Leases() if keys is None else _leases(keys, network, origin)
        length = leases.local.subnet.prefixlen if leases.local else None
        lacks = list(self._device(device)) if device else []
        if lacks:
            return FlannelState(", ".join(lacks), prefix_length=length)
        lease_mac, missing = "", list[_Lack]()
        if backend == "udp":
            missing += self._route(str(cidr), _NextHop(dev=device))
        if leases.local is not None:
            lease_mac = "" if leases.local.mac == self._mac(device) else leases.local.mac
            missing += [_Lack(f"MAC {lease_mac} of its lease")] if lease_mac else []
            for lease in leases.remote:
                missing += self._peer(device, backend, lease, direct=leases.direct)
        displaced = tuple(dict.fromkeys(lack.displaced for lack in missing if lack.displaced))
        blocked = tuple(dict.fromkeys(lack.blocked for lack in missing if lack.blocked))
        lacks = [lack.text for lack in missing]
        return FlannelState(", ".join(lacks), lease_mac, displaced, blocked, length)

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

    def _peer(self, device: str, backend: str, lease: Lease, *, direct: bool) -> Iterator[_Lack]:
        """Yield what leads to the subnet of another host's lease, as far as it is missing."""
        subnet, gateway = str(lease.subnet), str(lease.subnet.network_address)
        if lease.backend != ("" if backend == "udp" else backend):
            return
        match backend:
            case "udp":
                # One route leads to all subnets. One to a subnet alone takes the packets from it.
                if subnet in self.routes:
                    yield from self._route(subnet, _NextHop(dev=device))
            case "vxlan" if lease.mac:
                by_device = _NextHop(gateway, device)
                # With direct routing the route leads to the host itself.
                next_hops = (by_device, _NextHop(lease.address)) if direct else (by_device,)
                yield from self._route(subnet, *next_hops)
                if by_device.is_of(self.routes.get(subnet, {})):
                    yield from self._entries(device, gateway, lease)
            case "host-gw":
                yield from self._route(subnet, _NextHop(lease.address))

    def _entries(self, device: str, gateway: str, lease: Lease) -> Iterator[_Lack]:
        if (device, gateway, lease.mac) not in self.neighbours:
            yield _Lack(f"neighbour {gateway}")
        if (device, lease.mac, lease.address) not in self.forwards:
            yield _Lack(f"FDB entry of {lease.address}")

    def _route(self, destination: str, *next_hops: _NextHop) -> Iterator[_Lack]:
        """Yield the route to `destination` if it is missing, or leads nowhere of `next_hops`."""
        route = self.routes.get(destination)
        if route is None:
            yield _Lack(f"route to {destination}")
        elif not any(hop.is_of(route) for hop in next_hops):
            text = f"route to {destination} {next_hops[0]} (there is one {_next_hop_text(route)})"
            is_of_people = _protocol(route) in OF_PEOPLE
            yield _Lack(text, *((destination, "") if is_of_people else ("", destination)))


def _type(route: Mapping[str, Any]) -> str:
    return str(route.get("type", _UNICAST))


def _protocol(route: Mapping[str, Any]) -> int:
    return int(route.get("protocol", BOOT))


def _next_hop_text(route: Mapping[str, Any]) -> str:
    """Where a route of others leads, in words of `ip route`."""
    if _type(route) != _UNICAST:
        return f"of type {REFUSALS.get(_type(route), _type(route))}"
    if "nexthops" in route:
        return "with several gateways"
    return str(_NextHop(str(route.get("gateway", "")), str(route.get("dev", ""))))


def _leases(keys: Keys, network: str, origin: Origin) -> _Leases:
    claims = etcd_keys.claims_prefix(origin.inventory, network)
    record = etcd_keys.decode_object(keys.get(f"{claims}/hosts/{origin.host}", ""))
    key, address = str(record.get("key", "")), record.get("address")
    prefix = key.partition("/subnets/")[0]
    leases = etcd_keys.leases(keys, prefix) if key else ()
    # A lease that somebody gave to another host is a matter of the kind `etcd_lease`.
    local = next((lease for lease in leases if (lease.key, lease.address) == (key, address)), None)
    remote = tuple(lease for lease in leases if lease.address != address)
    settings = etcd_keys.decode_object(keys.get(etcd_keys.config_key(prefix), ""))
    backend = settings.get("Backend", {"DirectRouting": True})  # unknown: both ways are right
    direct = isinstance(backend, dict) and backend.get("DirectRouting") is True
    return _Leases(local, remote, direct)
