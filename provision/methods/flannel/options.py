"""The YAML keys of a `flannel` network, and values computed from the inventory alone. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Tag

from provision.methods._shared.docker_bridge import BridgeOptions
from provision.model.documents import MAPPING, TEXT, Document, union_tag
from provision.model.fields.scalars import File, Port, between, number_range
from provision.model.findings import BadValueError
from provision.model.help import Help
from provision.model.inventory import Inventory, Network
from provision.model.text import quoted
from provision.resources.lib import etcd_keys

DEFAULT_MEMBER_COUNT = 3
OVERHEAD = {"vxlan": 50, "udp": 28, "host-gw": 0}
"""Bytes by which a packet grows on its way to another host, by backend.

vxlan: outer IPv4 20, UDP 8, VXLAN 8 and inner Ethernet 14; udp: IPv4 20 and UDP 8.
"""
PORTS = {"vxlan": 8472, "udp": 8285}
"""flannel's default UDP port of each backend that has one."""
_DEFAULT_PREFIX = "/coreos.com/network"


def _prefix(text: str) -> str:
    first, *parts = text.split("/")
    if first or not parts or not all(parts):
        message = f"prefix {quoted(text)} does not have the form /NAME or /NAME/NAME"
        raise BadValueError(message, f"write {_DEFAULT_PREFIX}")
    if {".", ".."} & set(parts):
        # flanneld joins the parts like those of a path of files: it would read other keys.
        message = f"prefix {quoted(text)} has a part '.' or '..'"
        raise BadValueError(message, f"write {_DEFAULT_PREFIX}")
    if not text.isascii() or any(not (char.isalnum() or char in "/._-") for char in text):
        message = f"prefix {quoted(text)} has a character that is not allowed"
        raise BadValueError(message, "use a-z, A-Z, 0-9 and . _ - between the slashes")
    if text == etcd_keys.CLAIMS:
        message = f"prefix {text} is reserved for the keys by which provision marks its own"
        raise BadValueError(message, f"write {_DEFAULT_PREFIX}")
    return text


def _endpoint(text: str) -> str:
    hint = "write https://10.0.0.9:2379"
    if text.startswith("http://"):
        # Whoever can read and write etcd decides where the packets of containers go.
        raise BadValueError(
            f"endpoint {quoted(text)} is not encrypted", "write https:// for http://"
        )
    match = re.fullmatch(r"https://([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?):([0-9]{1,5})", text)
    if match is None or not 1 <= int(match[2]) <= 65535:
        raise BadValueError(
            f"endpoint {quoted(text)} does not have the form https://HOST:PORT", hint
        )
    return text


# flanneld's device is flannel.VNI, and names of interfaces have at most 15 characters: the kernel
# refuses the device of a larger number.
_LARGEST_VNI = 10**7 - 1
Vni = Annotated[int, AfterValidator(between(1, _LARGEST_VNI, "vni")), number_range(1, _LARGEST_VNI)]


class Etcd(Document):
    """The key `etcd`: the cluster that stores the leases, that is, which host has which subnet.

    With `endpoints` it is one of the user; otherwise provision installs it on `members`.
    """

    members: Annotated[
        list[str] | None, Help("hosts that run etcd, an odd number; default: the first three")
    ] = None
    prefix: Annotated[str, AfterValidator(_prefix), Help("path of flannel's keys in etcd")] = (
        _DEFAULT_PREFIX
    )
    client_port: Annotated[Port, Help("TCP port of etcd for its clients")] = 2379
    peer_port: Annotated[Port, Help("TCP port of etcd for its other members")] = 2380
    endpoints: Annotated[
        list[Annotated[str, AfterValidator(_endpoint)]] | None,
        Help("URLs of an etcd of your own, https://HOST:PORT; default: provision installs one"),
    ] = None
    ca: Annotated[
        File | None, Help("file with the authority's certificate of your own etcd, PEM")
    ] = None
    cert: Annotated[
        File | None, Help("file with the client's certificate for your own etcd, PEM")
    ] = None
    key: Annotated[File | None, Help("file with the private key of `cert`, PEM, mode 0600")] = None


def _release_url(text: str) -> str:
    hint = "write https://HOST/PATH of an archive of flannel's release"
    match = re.fullmatch(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/[!-~]+", text)
    if match is None:
        raise BadValueError(f"url {quoted(text)} is not the https URL of a file", hint)
    return text


def _sha256(text: str) -> str:
    if re.fullmatch(r"[0-9a-f]{64}", text) is None:
        raise BadValueError(
            f"sha256 {quoted(text)} is not 64 digits of 0-9 and a-f",
            "write the output of `sha256sum` for the archive",
        )
    return text


class Release(Document):
    """A release of flannel that the controller downloads: an archive, or the program itself."""

    url: Annotated[str, AfterValidator(_release_url), Help("https URL of the archive")]
    sha256: Annotated[str, AfterValidator(_sha256), Help("checksum of the archive, hex")]


FlanneldFile = Annotated[File, Tag(TEXT)]
FlanneldRelease = Annotated[Release, Tag(MAPPING)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlannelOptions(BridgeOptions):
    """The keys of a `flannel` network, besides those of every network."""

    backend: Annotated[
        Literal["vxlan", "udp", "host-gw"], Help("encapsulation of packets between hosts")
    ] = "vxlan"
    vni: Annotated[Vni | None, Help("VXLAN network identifier of backend vxlan; default: 1")] = None
    port: Annotated[Port | None, Help("UDP port of the backend; default: 8472 or 8285")] = None
    direct_routing: Annotated[
        bool, Help("hosts on a shared link send packets without encapsulation (backend vxlan)")
    ] = False
    subnet_min: Annotated[IPv4Address | None, Help("first subnet that a host may get")] = None
    subnet_max: Annotated[IPv4Address | None, Help("last subnet that a host may get")] = None
    ip_masq: Annotated[bool, Help("flannel itself masquerades packets that leave the network")] = (
        False
    )
    etcd: Annotated[Etcd, Help("the etcd cluster that stores the subnet leases")] = field(
        default_factory=Etcd
    )
    flanneld: Annotated[
        Annotated[FlanneldFile | FlanneldRelease, Discriminator(union_tag)] | None,
        Help(
            "file of the program, or {url, sha256} of a release; default: the one on the host, or"
            " one built by the controller"
        ),
    ] = None


def options(network: Network) -> FlannelOptions:
    """The options of a network of this method."""
    assert isinstance(network.options, FlannelOptions)
    return network.options


def members(network: Network) -> tuple[str, ...]:
    """The hosts that run etcd: those that the inventory names, else `default_members`.

    None of them for an etcd of the user.
    """
    if is_external(network):
        return ()
    named = options(network).etcd.members
    return tuple(named) if named else default_members(network.hosts)


def is_external(network: Network) -> bool:
    """Return True if the leases are in an etcd of the user, which provision does not install."""
    return options(network).etcd.endpoints is not None


def first_writer(network: Network) -> str:
    """The host that writes flannel's settings into a new etcd: a member, or else the first host."""
    return (*members(network), *network.hosts)[0]


def endpoints(inventory: Inventory, network: Network) -> tuple[str, ...]:
    """The URLs of etcd for its clients."""
    etcd = options(network).etcd
    if etcd.endpoints is not None:
        return tuple(etcd.endpoints)
    addresses = (inventory.hosts[member].address for member in members(network))
    return tuple(f"https://{address}:{etcd.client_port}" for address in addresses)


def prefixes(inventory: Inventory, network: Network) -> tuple[str, ...]:
    """The prefixes of all keys that are read: in an etcd of the user only those of the network."""
    if not is_external(network):
        return ("/",)
    claims = etcd_keys.claims_prefix(inventory.name, network.name)
    return f"{options(network).etcd.prefix}/", f"{claims}/"


def default_members(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """The first three hosts, or only the first if there are fewer than three."""
    # etcd needs a majority of its members: three survive the loss of one, two of none.
    return hosts[:DEFAULT_MEMBER_COUNT] if len(hosts) >= DEFAULT_MEMBER_COUNT else hosts[:1]


def vni(options: FlannelOptions) -> int:
    """The VXLAN network identifier; flannel's own default is 1."""
    return options.vni or 1


def port(options: FlannelOptions) -> int | None:
    """The UDP port of the tunnel; None: the backend has no tunnel."""
    if options.backend not in PORTS:
        return None
    return options.port or PORTS[options.backend]


def device(network: Network) -> str | None:
    """The tunnel interface that flanneld creates on each host; None: the backend has no tunnel."""
    network_options = options(network)
    devices = {"vxlan": f"flannel.{vni(network_options)}", "udp": "flannel0"}
    return devices.get(network_options.backend)


def config(network: Network, mtu: int) -> str:
    """The JSON that flanneld reads from the key PREFIX/config.

    `mtu`: that of the containers, in bytes. Equal networks give equal text, to the byte: flanneld's
    unit file contains its hash.
    """
    network_options, length = options(network), next(iter(network.subnets.values())).prefixlen
    first = network.cidr.network_address
    last = network.cidr.broadcast_address + 1 - 2 ** (32 - length)
    settings: dict[str, Any] = {
        "Network": str(network.cidr),
        "SubnetLen": length,
        # flannel's own default skips the first subnet, which is that of the first host here
        # (pkg/subnet/config.go).
        "SubnetMin": str(network_options.subnet_min or first),
        "SubnetMax": str(network_options.subnet_max or last),
        "Backend": {"Type": network_options.backend} | _backend(network_options, mtu),
    }
    return json.dumps(settings)


def _backend(options: FlannelOptions, mtu: int) -> dict[str, Any]:
    match options.backend:
        case "vxlan":
            return {
                "VNI": vni(options),
                "Port": port(options),
                # flannel's MTU is that of the link below the tunnel: flanneld subtracts 50 for its
                # device (pkg/backend/vxlan/device.go).
                "MTU": mtu + OVERHEAD["vxlan"],
                "DirectRouting": options.direct_routing,
            }
        case "udp":
            return {"Port": port(options)}
        case _:
            return {}


def cluster(inventory: Inventory, network: Network) -> str:
    """The token of the etcd cluster: a hash of its members, their addresses and ports.

    If one of these changes, the members form a new cluster with empty data. For an etcd of the
    user: a hash of its endpoints.
    """
    etcd = options(network).etcd
    if etcd.endpoints is not None:
        return sha256(" ".join(sorted(etcd.endpoints)).encode()).hexdigest()[:8]
    addresses = " ".join(f"{host}={inventory.hosts[host].address}" for host in members(network))
    text = f"{inventory.name}/{network.name} {addresses} {etcd.client_port} {etcd.peer_port}"
    return sha256(text.encode()).hexdigest()[:8]
