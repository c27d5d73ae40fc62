"""A transport without hosts: it answers with snapshots that were captured on lab hosts.

The captures are those of tests/probes (trixie). Per host, the names and addresses in them are
replaced; a host after an apply has one entry for each resource that the inventory wants there.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from provision import methods
from provision.engine import desired
from provision.facts import gather
from provision.facts.host import HostFacts
from provision.facts.host_probe import TOOLS
from provision.facts.peer_routes import Addresses
from provision.methods.flannel import options
from provision.methods.flannel.options import DEFAULT_MEMBER_COUNT as ETCD_MEMBERS
from provision.model.inventory import Inventory
from provision.model.names import vtep_mac
from provision.resources import kinds
from provision.resources.base import Resource
from provision.resources.kinds.container import DockerContainer
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.follower_unit import FollowerUnit
from provision.resources.kinds.iptables_chain import IptablesChain
from provision.resources.kinds.routes import Routes, Row
from provision.resources.kinds.vxlan import Vxlan
from provision.resources.lib import etcd_keys
from provision.resources.lib.network_options import BRIDGE_NAME
from provision.resources.on_hosts import UNIT_FOLDER
from provision.transport.base import Output
from tests.bench.captured_lines import (
    SHARED,
    WRITERS,
    Json,
    base64_text,
    capture,
    captured,
    iptables_save,
    vxlan_link,
)

NONCE = "captured"


@dataclass(frozen=True)
class CapturedFleet:
    """A transport that returns the file `FOLDER/HOST` as the output of each snapshot script."""

    folder: Path

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        """The snapshot of the host, with the markers that this script would print."""
        assert timeout_s > 0
        match = re.search(r"@(\w+) begin host", script)
        assert match is not None, "only snapshots can be answered"
        text = (self.folder / host).read_text()
        return Output(0, text.replace(f"@{NONCE} ", f"@{match[1]} "), "")

    def send(self, host: str, source: Path, target: str, *, timeout_s: float) -> None:
        """Refuse: a plan sends no file."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""


def write(inventory: Inventory, folder: Path, *, applied: bool) -> None:
    """Write the snapshot of each host, before the first apply or after it."""
    folder.mkdir()
    fleet = _Fleet(inventory)
    for host in inventory.hosts:
        (folder / host).write_text(fleet.snapshot(host, applied=applied))


@dataclass
class _Host:
    """What one host prints: lines of look/shared.sh by key, and the text of each section."""

    name: str
    shared: dict[str, list[str]] = field(default_factory=dict)
    sections: dict[str, list[str]] = field(default_factory=dict)

    def share(self, key: str, value: object, *, prefix: str = "") -> None:
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        self.shared.setdefault(key, []).append(f"{key} {prefix}{text}")

    def section(self, name: str, *lines: str) -> None:
        self.sections.setdefault(name, []).extend(lines)

    def text(self) -> str:
        """The output of the snapshot script."""
        names = ["host", *(kind.kind for kind in kinds.all_kinds()), "flanneld"]
        shared = [line for lines in self.shared.values() for line in lines]
        parts = [("shared", shared), *((name, self.sections.get(name, [])) for name in names)]
        return "".join(
            f"\n@{NONCE} begin {name}\n" + "\n".join(lines) + f"\n\n@{NONCE} end {name} 0\n"
            for name, lines in parts
        )


class _Fleet:
    """The snapshots of the hosts of one inventory."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._addresses = Addresses(host.address for host in inventory.hosts.values())
        links = {link["ifname"]: link for link in captured("docker0/routes-trixie", "addresses")[0]}
        self._links = [links[name] for name in ("lo", "host0", "eth1", "docker0")]
        self._bridge = links["br-blue-v242wt"]
        self._veth = next(link for name, link in links.items() if name.startswith("veth"))
        networks = captured("docker_network/routes-trixie", "networks")[0]
        self._network = next(entry for entry in networks if entry["Name"] == "blue")
        self._networks = [entry for entry in networks if entry is not self._network]
        self._containers = captured("container/routes-trixie", "containers")[0]
        self._container = captured("container/routes-trixie", "container")[0]
        routes = captured("routes/oldroutes-trixie", "routes")[0]
        self._routes = [route for route in routes if route["dev"] in ("host0", "eth1", "docker0")]
        self._routes = [route for route in self._routes if "gateway" not in route]
        self._vxlan = captured("vxlan/vxlan-trixie", "link")[0][0]
        tls = capture("flanneld/flannel-trixie")
        names = [net.name for net in inventory.networks.values() if net.method == "flannel"]
        self._tls = [tls.strip().replace("tls over.", f"tls {name}.") for name in names]
        self._etcd = self._etcd_answers()

    def snapshot(self, host: str, *, applied: bool) -> str:
        """The output of the snapshot script on one host."""
        if not applied:
            return self._host(host, (), applied=False).text()
        # Only etcd's members matter to other hosts: with the facts of all, `wanted` would take the
        # time that the benchmark is to measure, for each host.
        hosts = dict.fromkeys((*list(self._inventory.hosts)[:ETCD_MEMBERS], host))
        wanted = desired.wanted(self._inventory, {name: self._facts(name) for name in hosts})
        resources = [resource for ref, resource in wanted.items() if ref.host == host]
        return self._host(host, resources, applied=True).text()

    def _facts(self, host: str) -> HostFacts:
        output = Output(0, self._host(host, (), applied=True).text(), "")
        probes = methods.facts_probes(self._inventory, host)
        return gather.parse(
            host,
            self._inventory.name,
            output,
            nonce=NONCE,
            probes=probes,
            fleet=self._addresses,
            address=self._inventory.hosts[host].address,
        ).facts

    def _host(self, name: str, resources: Iterable[Resource], *, applied: bool) -> _Host:
        host, inventory = _Host(name), self._inventory
        by_kind: dict[type[Resource], list[Any]] = {}
        for resource in resources:
            by_kind.setdefault(type(resource), []).append(resource)
        self._share_docker(host, by_kind)
        self._share_network(host, by_kind)
        for network, answer in self._etcd if by_kind else ():
            host.share("etcd", answer, prefix=f"{network} ")
        tools = dict.fromkeys((*TOOLS, *methods.tools(inventory, name)))
        host.section("host", "systemd yes", "uid 0", *(f"tool {tool}" for tool in tools))
        host.section("host", "manager apt-get", "machine x86_64", "networkd eth1 eth1.network")
        keys = "docker_info networks addresses routes every_route"
        host.section("host", *(f"@@{key}" for key in keys.split()))
        host.section("package", *tools)
        for section, keys in SHARED.items():
            host.section(section, *(f"@@{key}" for key in keys.split()))
        host.section("flanneld", *(self._tls if applied else ()))
        self._sections(host, by_kind)
        return host

    def _share_docker(self, host: _Host, by_kind: dict[type[Resource], list[Any]]) -> None:
        host.share("docker_info", captured("host/routes-trixie", "docker_info")[0])
        networks = [self._docker_network(network) for network in by_kind.get(DockerNetwork, ())]
        host.share("networks", [*self._networks, *networks])
        inspected = [self._inspected(entry) for entry in by_kind.get(DockerContainer, ())]
        host.share("containers", [self._listed(entry) for entry in inspected])
        for number, entry in enumerate(inspected):
            host.share("container", entry)
            host.share("nsid", f"{entry['Id']} {number + 1}")
        host.share("images", captured("image/routes-trixie", "images")[0])
        host.share("image", captured("image_archive/routes-trixie", "image")[0])

    def _docker_network(self, network: DockerNetwork) -> Json:
        entry = copy.deepcopy(self._network)
        pool = {"Subnet": str(network.subnet), "Gateway": str(network.gateway)}
        pool |= {"IPRange": str(network.ip_range)} if network.ip_range else {}
        entry["IPAM"]["Config"] = [pool]
        entry |= {"Name": network.network, "Options": dict(network.options)}
        return entry | {"Labels": {"provision": str(network.mark)}}

    def _inspected(self, container: DockerContainer) -> Json:
        entry = copy.deepcopy(self._container)
        key = sha256(f"{container.host} {container.container}".encode()).hexdigest()
        entry |= {"Id": key, "Name": f"/{container.container}"}
        entry["HostConfig"]["NetworkMode"] = container.network
        entry["Config"]["Labels"]["provision"] = str(container.mark)
        (endpoint,) = entry["NetworkSettings"]["Networks"].values()
        entry["NetworkSettings"]["Networks"] = {container.network: endpoint}
        return entry

    def _listed(self, inspected: Json) -> Json:
        """The container as the list of all containers has it."""
        entry = copy.deepcopy(self._containers[0])
        return entry | {
            "Id": inspected["Id"],
            "Names": [inspected["Name"]],
            "Labels": inspected["Config"]["Labels"],
            "NetworkSettings": inspected["NetworkSettings"],
        }

    def _share_network(self, host: _Host, by_kind: dict[type[Resource], list[Any]]) -> None:
        address = self._inventory.hosts[host.name].address
        links, routes = copy.deepcopy(self._links), copy.deepcopy(self._routes)
        for link in links:
            for info in link["addr_info"] if link["ifname"] == "eth1" else ():
                if info["family"] == "inet":
                    info |= {"local": str(address), "prefixlen": 16}
        for route in routes:
            route |= {"dst": "10.78.0.0/16"} if route["dev"] == "eth1" else {}
        for network in by_kind.get(DockerNetwork, ()):
            links += self._bridge_links(network)
            dev, source = dict(network.options)[BRIDGE_NAME], str(network.gateway)
            route = {"dst": str(network.subnet), "dev": dev, "protocol": "2", "scope": "253"}
            routes.append(route | {"prefsrc": source, "flags": []})
        for table in by_kind.get(Routes, ()):
            routes += map(_kernel_route, table.rows)
        for device in by_kind.get(Vxlan, ()):
            links.append(vxlan_link(device))
        for flannel in by_kind.get(Flannel, ()):
            links.append(self._flannel_link(flannel))
            routes += self._flannel_routes(host.name, flannel)
        host.share("addresses", links)
        host.share("routes", routes)
        host.share("every_route", routes)

    def _bridge_links(self, network: DockerNetwork) -> list[Json]:
        bridge, veth = copy.deepcopy(self._bridge), copy.deepcopy(self._veth)
        bridge["ifname"] = veth["master"] = dict(network.options)[BRIDGE_NAME]
        assert network.subnet is not None
        prefix_length = network.subnet.prefixlen
        bridge["addr_info"][0] |= {"local": str(network.gateway), "prefixlen": prefix_length}
        return [bridge, veth | {"link_netnsid": 1}]

    def _flannel_link(self, flannel: Flannel) -> Json:
        mac = vtep_mac(self._inventory.name, flannel.network, flannel.host)
        subnet = self._inventory.networks[flannel.network].subnets[flannel.host]
        address = {"family": "inet", "local": str(subnet.network_address), "prefixlen": 32}
        link = copy.deepcopy(self._vxlan)
        return link | {"ifname": flannel.device, "address": mac, "addr_info": [address]}

    def _flannel_routes(self, host: str, flannel: Flannel) -> Iterator[Json]:
        for peer, subnet in self._inventory.networks[flannel.network].subnets.items():
            if peer != host:
                entry = {"dst": str(subnet), "gateway": str(subnet.network_address)}
                yield entry | {"dev": flannel.device, "flags": ["onlink"]}

    def _etcd_answers(self) -> list[tuple[str, Json]]:
        """What each etcd would print: flannel's configuration and leases, and the claims."""
        answers = []
        for network in self._inventory.networks.values():
            if network.method == "flannel":
                pairs = dict(self._etcd_keys(network.name))
                entries = [
                    {"key": base64_text(k), "value": base64_text(v)} for k, v in pairs.items()
                ]
                answers.append((network.name, {"kvs": entries}))
        return answers

    def _etcd_keys(self, name: str) -> Iterator[tuple[str, str]]:
        inventory, network = self._inventory, self._inventory.networks[name]
        settings = options.options(network)
        prefix, cluster = settings.etcd.prefix, options.cluster(inventory, network)
        members, claims = options.members(network), etcd_keys.claims_prefix(inventory.name, name)
        yield etcd_keys.config_key(prefix), options.config(network, 1450)
        record: Json = {"prefix": prefix, "host": members[0], "cluster": cluster}
        yield f"{claims}/config", json.dumps(record | {"members": members})
        for host, subnet in network.subnets.items():
            address, key = str(inventory.hosts[host].address), etcd_keys.subnet_key(prefix, subnet)
            backend = {"VNI": settings.vni, "VtepMAC": vtep_mac(inventory.name, name, host)}
            lease = {"PublicIP": address, "BackendType": "vxlan", "BackendData": backend}
            yield key, json.dumps(lease)
            record = {"key": key, "address": address, "cluster": cluster}
            yield f"{claims}/hosts/{host}", json.dumps(record)

    def _sections(self, host: _Host, by_kind: dict[type[Resource], list[Any]]) -> None:
        chains = by_kind.get(IptablesChain, [])
        host.section("iptables_chain", *iptables_save(chains))
        host.section("sysctl", *capture("sysctl/routes-trixie").splitlines())
        for kind in ("etcd_config", "etcd_lease"):
            host.section(kind, "@@etcd", f"peers {self._peers(host.name)}")
        for kind, lines in WRITERS.items():
            for resource in by_kind.get(kind, ()):
                host.section(kind.kind, *lines(resource))
        for flannel in by_kind.get(Flannel, ()):
            host.section("flannel", *self._flannel_lines(host.name, flannel))
        for unit in by_kind.get(FollowerUnit, ()):
            head = capture("systemd_unit/routes-trixie").rpartition("\n644 ")[0]
            path = f"{UNIT_FOLDER}/{unit.service}"
            host.section("systemd_unit", head, f"644 {base64_text(unit.text)} {path}")

    def _peers(self, host: str) -> str:
        hosts = self._inventory.hosts.items()
        return " ".join(str(peer.address) for name, peer in hosts if name != host)

    def _flannel_lines(self, host: str, flannel: Flannel) -> Iterator[str]:
        record = {"backend": flannel.backend, "device": flannel.device}
        record |= {"cidr": str(flannel.cidr), "masquerade": flannel.masquerade}
        claim = f"{flannel.inventory} {flannel.network} {json.dumps(record)}"
        yield from (f"claim {claim}", f"device {flannel.device}")
        for peer, subnet in self._inventory.networks[flannel.network].subnets.items():
            if peer != host:
                mac = vtep_mac(self._inventory.name, flannel.network, peer)
                gateway = subnet.network_address
                address = self._inventory.hosts[peer].address
                yield f"neighbour {flannel.device} {gateway} lladdr {mac} PERMANENT"
                yield f"forward {flannel.device} {mac} dst {address} self permanent"


def _kernel_route(row: Row) -> Json:
    """A route as `ip -N -j route` prints it."""
    entry = {"dst": row.key, "gateway": str(row.via), "dev": row.dev, "protocol": "240"}
    return entry | {"flags": ["onlink"] if row.tunnel == "vxlan" else []}
