"""NICs before they became ports of a bridge: their values, and their records on hosts. Pure.

A host keeps one JSON record a bridge, below `/var/lib/provision/was/INVENTORY/uplink`. This module
alone maps the keys of a record to the fields of `OriginalNic`, and the text of iproute2 to values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import asdict, dataclass, field
from typing import Any

from provision.resources.lib.base64_text import decode_text
from provision.resources.on_hosts import PROTO

NETWORKD = "systemd-networkd"
"""The manager of records that name none: those of version 0.1.0."""


@dataclass(frozen=True, slots=True)
class NicAddress:
    """An IP address of a NIC, and the options of `ip address replace` that set it again.

    `metric` is that of the kernel's route to the range of the address; 0 is not set.
    `local` stays the text that iproute2 printed: glibc writes IPv4-mapped addresses in another way
    than Python's `ipaddress`, and the host compares text. `scope` is empty for the global one.
    """

    local: str
    prefixlen: int
    peer: str = ""
    broadcast: str = ""
    scope: str = ""
    noprefixroute: bool = False
    nodad: bool = False
    metric: int = field(default=0, repr=False)

    @property
    def cidr(self) -> str:
        """`10.0.0.1/24`."""
        return f"{self.local}/{self.prefixlen}"

    def __str__(self) -> str:
        """Arguments of `ip address replace`, without the device."""
        pairs = {
            "peer": self.peer,
            "broadcast": self.broadcast,
            "scope": self.scope,
            "metric": self.metric,
        }
        flags = {"noprefixroute": self.noprefixroute, "nodad": self.nodad}
        return " ".join([self.cidr, *_tokens(pairs), *_tokens(flags)])

    @classmethod
    def parse(cls, text: str) -> NicAddress:
        """Read what `str` writes. Raises ValueError."""
        cidr, *tokens = text.split(" ")
        local, _, prefixlen = cidr.partition("/")
        keys = ("peer", "broadcast", "scope", "metric")
        options = _options(tokens, keys, ("noprefixroute", "nodad"))
        return cls(local, int(prefixlen), **options)


@dataclass(frozen=True, slots=True)
class NicRoute:
    """A route of a NIC, as `ip route replace` sets it again; what is empty or 0 is not set.

    `dst` is `default`, a range, or an address. `proto` is the kernel's number for the program that
    made the route. `dev` is empty where the NIC is known from the context.
    """

    dst: str
    via: str = ""
    src: str = ""
    metric: int = 0
    table: str = ""
    mtu: int = 0
    scope: str = ""
    onlink: bool = False
    proto: str = ""
    dev: str = ""

    @property
    def is_default(self) -> bool:
        """True for the default route of either IP version."""
        return self.dst in ("default", "::/0")

    def __str__(self) -> str:
        """Arguments of `ip route replace`; the device only where it is a field of the route."""
        options = {key: getattr(self, key) for key in _ROUTE_OPTIONS}
        return " ".join([self.dst, *_tokens(options)])

    @classmethod
    def parse(cls, text: str) -> NicRoute:
        """Read what `str` writes. Raises ValueError."""
        dst, *tokens = text.split(" ")
        options = _options(tokens, [key for key in _ROUTE_OPTIONS if key != "onlink"], ("onlink",))
        return cls(dst, **options)


_NUMBERS = ("metric", "mtu")
# Records hold this order: another one would be another text for the same route.
_ROUTE_OPTIONS = ("via", "src", "metric", "table", "mtu", "scope", "onlink", "proto", "dev")


def _tokens(options: dict[str, Any]) -> list[str]:
    tokens: list[str] = []
    for key, value in options.items():
        if value:
            tokens += [key] if value is True else [key, str(value)]
    return tokens


def _options(tokens: Sequence[str], keys: Sequence[str], flags: Sequence[str]) -> dict[str, Any]:
    """Read `key value` pairs and flags of iproute2. Raises ValueError for any other token."""
    options: dict[str, Any] = {}
    rest = iter(tokens)
    for token in rest:
        if token in flags:
            options[token] = True
        elif token in keys and (value := next(rest, "")):
            options[token] = int(value) if token in _NUMBERS else value
        else:
            raise ValueError(f"iproute2 option {token!r} is unknown")
    return options


@dataclass(frozen=True, slots=True)
class HostVeth:
    """A veth pair that gives the host its own interface on a bridge.

    `name` and `mac` are those of the host's end, `peer` is the end that is a port of the bridge.
    """

    name: str
    peer: str
    mac: str

    def __str__(self) -> str:
        """`NAME PEER MAC`, as records hold it."""
        return f"{self.name} {self.peer} {self.mac}"

    @classmethod
    def parse(cls, text: str) -> HostVeth:
        """Read what `str` writes. Raises ValueError."""
        name, peer, mac = text.split(" ")
        return cls(name, peer, mac)


@dataclass(frozen=True, slots=True)
class DhcpLease:
    """The addresses of a NIC, with their prefix lengths, that its DHCP client has set.

    `client_id` is the identifier that systemd-networkd sent, in hexadecimal; empty for other
    clients.
    """

    addresses: tuple[str, ...]
    client_id: str = ""

    @property
    def iaid(self) -> str:
        """The number of the NIC in the identifier of RFC 4361; empty for other identifiers.

        systemd-networkd derives it from the name that udev gives to a NIC, which no bridge has.
        """
        match = re.match("ff([0-9a-f]{8})", self.client_id)
        return str(int(match[1], 16)) if match else ""


@dataclass(frozen=True, slots=True)
class OriginalNic:
    """A NIC before it became a port: what its bridge takes over, and gives back at the end.

    `defaults` are the host's default routes by
    other NICs, `dns` its lines of resolv.conf: both must survive the move. `host_veth` is None
    where the bridge itself holds the host's addresses. `ovs_datapath` is `system` or `netdev`, and
    empty for a Linux bridge. `ssh` is True where SSH comes in by this NIC; `peer` is an address
    on its far side that answers pings. `manager` is the network manager of the NIC, and `network`
    its settings: for systemd-networkd the text of its file, for others those of
    `NicManager.describe`. `lease` is None for a NIC without addresses from DHCP.
    """

    nic: str
    mac: str
    mtu: int
    network: str
    addresses: tuple[NicAddress, ...]
    routes: tuple[NicRoute, ...]
    defaults: tuple[NicRoute, ...]
    dns: tuple[str, ...]
    host_veth: HostVeth | None = field(default=None, compare=False)
    ovs_datapath: str = ""
    ssh: bool = False
    peer: str = ""
    manager: str = field(default=NETWORKD, repr=False)
    lease: DhcpLease | None = field(default=None, repr=False)

    def address_holder(self, bridge: str) -> str:
        """The interface that holds the host's addresses once the NIC is a port of `bridge`."""
        return self.host_veth.name if self.host_veth else bridge

    def lacking(self, held: Set[str], *, leased: bool) -> set[str]:
        """The addresses that an interface with the addresses `held` lacks.

        A DHCP server may give the host another address than that of the record, so `leased`, which
        is True if one of `held` has an end, stands for all addresses of the lease.
        """
        replaced = self.lease.addresses if self.lease and leased else ()
        return {address.cidr for address in self.addresses} - held - set(replaced)

    @property
    def record(self) -> str:
        """The JSON text that the host keeps."""
        fields = {
            "nic": self.nic,
            "mac": self.mac,
            "mtu": self.mtu,
            "network": self.network,
            "addresses": list(map(str, self.addresses)),
            "routes": list(map(str, self.routes)),
            "defaults": list(map(str, self.defaults)),
            "dns": self.dns,
            "seat": str(self.host_veth) if self.host_veth else "",
            "switch": self.ovs_datapath,
            "ssh": self.ssh,
            "peer": self.peer,
        }
        if self.manager != NETWORKD:
            fields["manager"] = self.manager
        if self.lease is not None:
            fields["lease"] = asdict(self.lease)
        return json.dumps(fields, indent=1) + "\n"


def parse_record(text: str) -> OriginalNic:
    """Read a record. Raises ValueError or KeyError."""
    fields = json.loads(text)
    veth = fields.get("seat", "")
    routes = map(NicRoute.parse, fields.get("routes", ()))
    lease = fields.get("lease")
    return OriginalNic(
        nic=fields["nic"],
        mac=fields["mac"],
        mtu=fields["mtu"],
        network=fields["network"],
        addresses=tuple(map(NicAddress.parse, fields.get("addresses", ()))),
        # Version 0.1.0 also recorded the routes of networks.
        routes=tuple(route for route in routes if route.proto != str(PROTO)),
        defaults=tuple(map(NicRoute.parse, fields.get("defaults", ()))),
        dns=tuple(fields.get("dns", ())),
        host_veth=HostVeth.parse(veth) if veth else None,
        ovs_datapath=fields.get("switch", ""),
        ssh=fields.get("ssh", False),
        peer=fields.get("peer", ""),
        manager=fields.get("manager", NETWORKD),
        lease=DhcpLease(tuple(lease["addresses"]), lease["client_id"]) if lease else None,
    )


def parse_records(lines: Iterable[str]) -> dict[str, OriginalNic]:
    """Records by bridge, from the lines `BRIDGE BASE64` of a probe. Raises ValueError, KeyError."""
    records = [line.partition(" ")[::2] for line in lines]
    return {bridge: parse_record(decode_text(encoded)) for bridge, encoded in records}
