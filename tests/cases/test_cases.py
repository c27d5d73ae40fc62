"""Golden plans: for an inventory and the state of its hosts, the exact output of `plan`.

`<method>/<case>/inventory.yml` is the inventory. `found.yml` describes the hosts: versions of
Docker; `applied` (true: as desired, false: nothing, or the name of another inventory that was
applied); then the differences from that. `--update-goldens` rewrites `plan.txt`, for review.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision import methods
from provision.engine import desired, preflight
from provision.engine.plan import Plan, plan
from provision.engine.plan_text import plan_lines
from provision.engine.report import ChangeResult, Report
from provision.facts.docker_entry import DockerEntry
from provision.facts.host import HostFacts, Link
from provision.facts.host_probe import TOOLS, version
from provision.facts.nics import Nic
from provision.facts.peer_routes import PeerRoute, PeerRoutes
from provision.inventory.load import load
from provision.methods._shared.ovs_facts import OvsFacts
from provision.methods.flannel import binary, etcd_members, options
from provision.methods.flannel.facts import EtcdMember, FlannelFacts
from provision.methods.wireguard.facts import WireguardFacts
from provision.model.inventory import Inventory
from provision.resources.base import Ref, Resource, State
from provision.resources.kinds.container import DockerContainer
from provision.resources.kinds.docker0 import Docker0
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.image import DockerImage
from provision.resources.kinds.ovs_daemon import OvsDaemon
from provision.resources.kinds.ovs_uplink import OvsUplink
from provision.resources.kinds.package import Package
from provision.resources.kinds.routes import Routes, row
from provision.resources.lib import etcd_keys
from provision.resources.lib.nic_records import NicAddress
from provision.resources.on_hosts import UNMARKED

FOLDER = Path(__file__).parent
CASES = sorted(path.parent for path in FOLDER.glob("*/*/found.yml"))


def facts(inventory: Inventory, case: dict[str, Any]) -> dict[str, HostFacts]:
    """The facts of hosts on one link, with the differences of a case (its `found.yml`)."""
    addresses = {name: host.address for name, host in inventory.hosts.items()}
    result = {}
    for name, address in addresses.items():
        if name in case.get("unseen", []):
            continue
        via = case.get("via", {}).get(name)
        mtu = case.get("mtu", {}).get(name, 1500)
        route = PeerRoute("eth1", IPv4Address(via) if via else None)
        result[name] = HostFacts(
            host=name,
            systemd=True,
            uid=case.get("uid", {}).get(name, 0),
            tools=frozenset((*TOOLS, *methods.tools(inventory, name)))
            - set(case.get("lacks", {}).get(name, [])),
            docker=version(case["docker"][name]),
            docker_error="" if case["docker"][name] else "docker is not installed",
            live_restore=False,
            rootless=False,
            links={"eth1": Link("eth1", mtu, (IPv4Interface(f"{address}/24"),))},
            peer_routes=PeerRoutes.of(
                {address: route for peer, address in addresses.items() if peer != name}
            ),
            routes=(),
            package_manager=case.get("manager", "apt-get"),
            nics=uplinks(name, address, mtu, case),
            not_forwarding=frozenset(case.get("not_forwarding", {}).get(name, [])),
            ssh_to=address if name in case.get("ssh", []) else None,
            docker_containers=tuple(others(case.get("others", {}).get(name, {}))),
            of_methods={
                OvsFacts: OvsFacts(name in case.get("kernel_datapath", [])),
                FlannelFacts: flannel_facts(inventory, name, case.get("etcd")),
                WireguardFacts: wireguard_facts(inventory, name, case),
            },
        )
    return result


def others(labels: dict[str, dict[str, str]]) -> Iterator[DockerEntry]:
    """Running containers of others on a network of their own: their labels, by name."""
    for name, of_name in labels.items():
        yield DockerEntry(name, UNMARKED, True, "own", {"own": None}, {"own": None}, of_name)


def wireguard_facts(inventory: Inventory, host: str, case: dict[str, Any]) -> WireguardFacts:
    """`kernel_wireguard` are the hosts with the module, `keys` those that have made their keys."""
    networks = inventory.networks if host in case.get("keys", []) else ()
    kernel = host in case.get("kernel_wireguard", [])
    return WireguardFacts(kernel=kernel, keys=dict.fromkeys(networks, f"key-of-{host}="))


def flannel_facts(inventory: Inventory, host: str, etcd: dict[str, Any] | None) -> FlannelFacts:
    """The data of a host's etcd member and the answer of its etcd, by the key `etcd` of a case.

    `data` are the ids in the data of members, `listed` those in the list of the cluster; without
    `listed` no etcd answers.
    """
    if etcd is None:
        return FlannelFacts()
    network = inventory.networks["over"]
    cluster, data = options.cluster(inventory, network), etcd["data"].get(host)
    claim = f"{etcd_keys.claims_prefix(inventory.name, 'over')}/config"
    subnets = network.subnets.values()
    keys = {etcd_keys.subnet_key("/coreos.com/network", subnet): "{}" for subnet in subnets}
    keys[claim] = json.dumps({"cluster": cluster})
    entries = tuple(
        EtcdMember(id, name, etcd_members.peer_url(inventory, network, name), True, False)
        for name, id in etcd.get("listed", {}).items()
    )
    return FlannelFacts(
        tls_files={} if host in etcd.get("reinstalled", []) else {"over.ca.crt": "CA"},
        etcd_data={f"over.{cluster}": data} if data else {},
        etcd_keys={"over": keys} if entries else {},
        etcd_members={"over": entries} if entries else {},
    )


def uplinks(host: str, address: IPv4Address, mtu: int, case: dict[str, Any]) -> dict[str, Nic]:
    """The host's NIC, managed by systemd-networkd, with the differences of a case."""
    eth1 = Nic(
        "eth1",
        mac=f"0a:00:00:00:00:{int(address) & 255:02x}",
        mtu=mtu,
        managers=("systemd-networkd",),
        network=f"[Match]\nName=eth1\n\n[Network]\nAddress={address}/24\n",
        addresses=(NicAddress(str(address), 24, broadcast="10.78.0.255"),),
    )
    differences = case.get("uplinks", {}).get(host, {})
    more = [Nic(name, managers=("systemd-networkd",)) for name in case.get("nics", [])]
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in differences.items()}
    link = dataclasses.replace(eth1, **values)
    return {nic.name: nic for nic in (link, *more)}


def states(applied: State, case: dict[str, Any], inventory: Inventory) -> tuple[State, State]:
    """The resources with our mark and the foreign ones, with the differences of a case."""
    ours = dict(applied) if case["applied"] else {}
    for name in case.get("lost", []):
        del ours[ref(name)]
    for name, fields in case.get("differs", {}).items():
        values = {key: _typed(value) for key, value in fields.items() if key != "lost"}
        ours[ref(name)] = dataclasses.replace(ours[ref(name)], **values)
        if "lost" in fields:
            ours[ref(name)] = _without_route(ours[ref(name)], fields["lost"])
    foreign: dict[Ref, Resource] = {}
    for package in [r for r in applied.values() if isinstance(r, Package)]:
        ours.pop(package.ref, None)
        if package.tool not in case.get("lacks", {}).get(package.host, []):
            foreign[package.ref] = package
    for host in inventory.hosts:
        foreign[Ref(host, "image", "busybox:latest")] = DockerImage(host, "busybox:latest")
        for resource in (
            OvsDaemon(host, inventory.name, False, False, original="masked inactive new"),
            OvsUplink(
                host,
                "eth1",
                "",
                "eth1",
                inventory.name,
                obstacle=case.get("obstacles", {}).get(host, ""),
                peer_outside=host in case.get("nested", []),
            ),
        ):
            foreign[resource.ref] = resource
        untouched = Docker0(host, (), (("subnet", "172.17.0.0/16"),), inventory.name)
        running = tuple(case.get("running", {}).get(host, []))
        foreign[untouched.ref] = dataclasses.replace(untouched, running=running)
    for name in case.get("foreign", []):
        stranger = _foreign(ref(name))
        foreign[stranger.ref] = stranger
    for existing in [existing for existing in foreign if existing in ours]:
        del foreign[existing]
    return ours, foreign


def _without_route(table: Resource, destination: str) -> Routes:
    """The routes of a network of which the kernel has lost one; its claim is still there."""
    assert isinstance(table, Routes)
    lost = row(destination, "", "")
    rows = tuple(lost if entry.key == destination else entry for entry in table.rows)
    return dataclasses.replace(table, rows=rows)


def ref(text: str) -> Ref:
    """The ref of a text such as `h1 routes blue`."""
    host, kind, name = text.split(" ", 2)
    return Ref(host, kind, name)


def _typed(value: Any) -> Any:
    if isinstance(value, str) and "/" in value:
        return IPv4Network(value)
    return tuple(value) if isinstance(value, list) else value


def _foreign(ref: Ref) -> Resource:
    if ref.kind == "docker_network":
        return DockerNetwork(ref.host, ref.name, IPv4Network("192.0.2.0/24"), None, (), UNMARKED)
    return DockerContainer(ref.host, ref.name, "nginx", (), "bridge", None, "no", UNMARKED)


def printed(folder: Path) -> str:
    """The output of `plan` for a case, including the errors of preflight."""
    inventory = load(folder / "inventory.yml")
    case = yaml.safe_load((folder / "found.yml").read_text())
    host_facts = facts(inventory, case)
    problems = preflight.problems(inventory, host_facts)
    lines = [f"{problem}\n  → {problem.hint}" for problem in problems]
    if not problems:
        target = desired.wanted(inventory, host_facts)
        applied = target
        if isinstance(case["applied"], str):
            applied = desired.wanted(load(folder / case["applied"]), host_facts)
        ours, foreign = states(applied, case, inventory)
        todo: Plan = plan(ours, target, foreign=foreign)
        results = tuple(ChangeResult(change) for change in todo.changes)
        result = Report(tuple(inventory.hosts), results, todo.conflicts, ())
        lines = list(plan_lines(result))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("folder", CASES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_plan_is_the_golden_one(
    folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output is equal to `plan.txt`, whatever this machine has in its cache."""
    monkeypatch.setattr(binary, "cached", lambda: None)
    golden = folder / "plan.txt"
    if request.config.getoption("update_goldens"):
        golden.write_text(printed(folder))
    assert printed(folder) == golden.read_text()


def test_there_are_cases() -> None:
    """Without any case, the test above would prove nothing."""
    assert len(CASES) >= 8
