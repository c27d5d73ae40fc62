"""What a host is, before anything of ours: tools, versions, links, ways to its peers. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from provision.facts import nics
from provision.facts.nics import Nic
from provision.resources.lib import nic_records, ovsdb
from provision.resources.lib.base64_text import plain
from provision.resources.lib.nic_records import NicRoute, OriginalNic

TOOLS = (
    "docker",
    "ip",
    "iptables",
    "sysctl",
    "systemctl",
    "nsenter",
    "perl",
    "base64",
    "etcd",
    "etcdctl",
    "openssl",
    "ovs-vsctl",
    "ethtool",
)

PROBE = (
    r"""
[ -d /run/systemd/system ] && echo systemd yes || echo systemd no
echo "uid $(id -u)"
for tool in $tools; do
  if command -v "$tool" >/dev/null 2>&1; then echo "tool $tool"; fi
done
for manager in apt-get dnf yum zypper pacman apk; do
  if command -v "$manager" >/dev/null 2>&1; then echo "manager $manager"; break; fi
done
if ! command -v docker >/dev/null 2>&1 && command -v apt-cache >/dev/null 2>&1; then
  apt-cache policy docker.io | sed -n 's/^ *Candidate: \([0-9]\)/candidate \1/p'
fi
echo "machine $(uname -m)"
if command -v flanneld >/dev/null 2>&1; then
  echo "flanneld $(command -v flanneld) $(flanneld --version 2>&1 | head -c 4096 | tail -n 1)"
fi
for file in /etc/provision/"$name"/pki/*.csr /etc/provision/"$name"/pki/*.ca.crt; do
  [ ! -f "$file" ] || echo "tls ${file##*/} $(head -c 65536 "$file" | base64 -w0)"
done
if command -v ovs-vsctl >/dev/null 2>&1; then
  [ -d /sys/module/openvswitch ] || modprobe -n -q openvswitch 2>/dev/null && echo datapath kernel
fi
[ -n "$docker" ] || echo "docker-error $docker_error"
# sudo takes it out of the environment, but not out of its own.
ssh=${SSH_CONNECTION:-$(tr '\0' '\n' <"/proc/$PPID/environ" 2>/dev/null |
  sed -n 's/^SSH_CONNECTION=//p')}
echo "ssh $ssh"
for kept in /var/lib/provision/txn /var/lib/provision/reverting.* /var/lib/provision/guard-*; do
  [ ! -e "$kept" ] || echo "guard ${kept##*/}"
done
shared docker_info addresses routes way ovs_bridges ovs_ports ovs_interfaces
"""
    + nics.PROBE
)
"""`$tools` is a list, `$name` the inventory's, `$docker` empty where Docker does not
answer; set by `facts.script`."""


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface; `mtu` in bytes of IP packet."""

    name: str
    mtu: int
    addresses: tuple[IPv4Interface, ...]


@dataclass(frozen=True, slots=True)
class PeerRoute:
    """How the kernel would send to a peer: out of `dev`, `via` a gateway or directly."""

    dev: str
    via: IPv4Address | None


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """A route of the main table; `proto` is the kernel's number for who made it."""

    dst: IPv4Network
    dev: str
    proto: int


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What one look says of a host. `docker` is its server's version, empty when it is not up.

    `manager` is the command of its package manager, empty for an unknown one; `candidate` the
    version of Docker that would be installed, empty where Docker is or where that is not known.
    `ssh_from` is where this login came from, `ssh_to` the own address that it came to; `guard` the
    names of what the guard keeps there.
    """

    host: str
    systemd: bool
    uid: int
    tools: frozenset[str]
    docker: tuple[int, ...]
    docker_error: str
    live_restore: bool
    rootless: bool
    links: dict[str, Link]
    peer_routes: dict[IPv4Address, PeerRoute]
    routes: tuple[KernelRoute, ...]
    manager: str = ""
    candidate: tuple[int, ...] = ()
    nics: Mapping[str, Nic] = field(default_factory=dict)
    bridged_nics: Mapping[str, OriginalNic] = field(default_factory=dict)
    """What NICs were that this inventory has made ports, by bridge."""
    default_routes: tuple[NicRoute, ...] = ()
    dns: tuple[str, ...] = ()
    """Its default routes, and its lines of resolv.conf."""
    addresses_in_use: Mapping[str, str] = field(default_factory=dict)
    router_arp_errors: Mapping[str, str] = field(default_factory=dict)
    """What was said of addresses that containers are to have and somebody has already; and of
    routers for which not just one machine answers."""
    nics_in_containers: frozenset[str] = frozenset()
    """NICs that this inventory has given to containers, where they cannot be seen."""
    filters_vlans: bool = True
    """Whether its Linux bridges can keep VLANs apart, as far as one is there to tell."""
    ssh_from: IPv4Address | None = None
    ssh_to: IPv4Address | None = None
    guard: tuple[str, ...] = ()
    machine: str = ""
    """As `uname -m` says."""
    flanneld: str = ""
    """Its own flanneld's path, and its version; empty where there is none."""
    flanneld_version: tuple[int, ...] = ()
    tls_files: dict[str, str] = field(default_factory=dict)
    """Requests for certificates, and authorities' certificates, by the names of their files."""
    ovs_nic_by_bridge: dict[str, str] = field(default_factory=dict)
    """NICs that are ports of our bridges of Open vSwitch, by bridge."""
    kernel_datapath: bool = False
    """Whether the kernel has Open vSwitch's datapath, loaded or not."""

    @property
    def held(self) -> bool:
        """Whether a change of it is under way."""
        return any(name == "txn" or name.startswith("reverting.") for name in self.guard)

    def carrier(self, dev: str) -> str:
        """The NIC that carries what goes out of `dev`, where that is a bridge of ours above it."""
        named = dev.removeprefix(ovsdb.NIC_BRIDGE)  # in case the daemon does not run just now
        return self.ovs_nic_by_bridge.get(dev) or (named if named in self.links else dev)

    def link_with(self, address: IPv4Address) -> Link | None:
        """The interface that holds `address`."""
        for link in self.links.values():
            if any(address == own.ip for own in link.addresses):
                return link
        return None


def parse(host: str, text: str) -> HostFacts:
    """Read what PROBE printed. Raises ValueError."""
    lines = [line.partition(" ")[::2] for line in text.splitlines() if line]
    single = dict(lines)
    ip = ("tool", "ip") in lines
    docker: dict[str, Any] = json.loads(single.get("docker_info", "{}"))
    own = single.get("flanneld", "")
    return HostFacts(
        host=host,
        systemd=single["systemd"] == "yes",
        uid=int(single["uid"]),
        tools=frozenset(value for key, value in lines if key == "tool"),
        docker=version(str(docker.get("ServerVersion") or "")),
        docker_error=single.get("docker-error", ""),
        live_restore=bool(docker.get("LiveRestoreEnabled")),
        rootless=any("rootless" in str(option) for option in docker.get("SecurityOptions") or ()),
        links=_links(single["addresses"] if ip else "[]"),
        peer_routes=dict(_way(value) for key, value in lines if key == "way"),
        manager=single.get("manager", ""),
        candidate=version(single.get("candidate", "")),
        ssh_from=_version_4(single.get("ssh", "").split(" ")[0]),
        ssh_to=_version_4([*single.get("ssh", "").split(" "), "", ""][2]),
        guard=tuple(value for key, value in lines if key == "guard"),
        routes=tuple(_routes(single["routes"] if ip else "[]")),
        machine=single.get("machine", ""),
        flanneld=own.partition(" ")[0],
        flanneld_version=version(own.partition(" ")[2].removeprefix("v")),
        tls_files=dict(_file(value) for key, value in lines if key == "tls"),
        nics=nics.parse(lines, json.loads(single["addresses"] if ip else "[]"), ovsdb.places(text)),
        bridged_nics=nic_records.parse_records(lines),
        default_routes=nics.default_routes(lines),
        dns=tuple(value for key, value in lines if key == "dns"),
        addresses_in_use=nics.answered(lines, "duplicate"),
        router_arp_errors=nics.answered(lines, "arp"),
        nics_in_containers=frozenset(value for key, value in lines if key == "given"),
        filters_vlans=not any(key == "unfiltered" for key, _ in lines),
        ovs_nic_by_bridge={
            row["name"]: row["external_ids"][ovsdb.NIC]
            for row in ovsdb.bridges(text)
            if ovsdb.NIC in row["external_ids"]
        },
        kernel_datapath="datapath" in single,
    )


def version(text: str) -> tuple[int, ...]:
    """`28.5.2+dfsg1` → (28, 5, 2); nothing → ()."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _version_4(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None


def _file(words: str) -> tuple[str, str]:
    name, content = words.split(" ")
    return name, plain(content)


def _links(addresses: str) -> dict[str, Link]:
    return {
        entry["ifname"]: Link(
            entry["ifname"],
            int(entry["mtu"]),
            tuple(
                IPv4Interface(f"{info['local']}/{info['prefixlen']}")
                for info in entry.get("addr_info", ())
                if info["family"] == "inet"
            ),
        )
        for entry in json.loads(addresses)
    }


def _way(answer: str) -> tuple[IPv4Address, PeerRoute]:
    route = json.loads(answer)[0]
    via = route.get("gateway")
    return IPv4Address(route["dst"]), PeerRoute(
        str(route["dev"]), IPv4Address(via) if via else None
    )


def _routes(text: str) -> list[KernelRoute]:
    routes = []
    for entry in json.loads(text):
        if "dev" in entry and entry["dst"] != "default":
            number = int(entry.get("protocol", 3))  # absent: boot
            routes.append(KernelRoute(IPv4Network(entry["dst"]), entry["dev"], number))
    return routes
