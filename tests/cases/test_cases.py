"""Golden plans: an inventory, what is found, and exactly what `plan` prints.

`<method>/<case>/inventory.yml` is the file; `found.yml` says how the hosts are: `docker` versions,
`applied` (everything as wanted, or nothing, or as another file of the folder wants), then what
differs from that. `--update-goldens` writes `plan.txt` anew: read it before you commit it.
"""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision import methods
from provision.engine import desired, preflight, report
from provision.engine.plan import Plan, plan
from provision.engine.report import ChangeResult, Report
from provision.facts.host import HostFacts, Link, PeerRoute
from provision.facts.host_probe import TOOLS, version
from provision.facts.nics import Nic
from provision.inventory.load import load
from provision.methods._shared.ovs_facts import OvsFacts
from provision.methods.flannel import binary
from provision.model.inventory import Inventory
from provision.resources.base import Ref, Resource, State
from provision.resources.kinds.container import DockerContainer
from provision.resources.kinds.docker0 import Docker0
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.image import DockerImage
from provision.resources.kinds.ovs_daemon import OvsDaemon
from provision.resources.kinds.ovs_uplink import OvsUplink
from provision.resources.kinds.package import Package
from provision.resources.lib.nic_records import NicAddress
from provision.resources.on_hosts import UNMARKED

FOLDER = Path(__file__).parent
CASES = sorted(path.parent for path in FOLDER.glob("*/*/found.yml"))


def facts(inventory: Inventory, found: dict[str, Any]) -> dict[str, HostFacts]:
    """Hosts on one link, with what the case says of them."""
    addresses = {name: host.address for name, host in inventory.hosts.items()}
    result = {}
    for name, address in addresses.items():
        if name in found.get("unseen", []):
            continue
        via = found.get("via", {}).get(name)
        mtu = found.get("mtu", {}).get(name, 1500)
        way = PeerRoute("eth1", IPv4Address(via) if via else None)
        result[name] = HostFacts(
            host=name,
            systemd=True,
            uid=found.get("uid", {}).get(name, 0),
            tools=frozenset((*TOOLS, *methods.tools(inventory, name)))
            - set(found.get("lacks", {}).get(name, [])),
            docker=version(found["docker"][name]),
            docker_error="" if found["docker"][name] else "docker is not installed",
            live_restore=False,
            rootless=False,
            links={"eth1": Link("eth1", mtu, (IPv4Interface(f"{address}/24"),))},
            peer_routes={peer: way for other, peer in addresses.items() if other != name},
            routes=(),
            package_manager=found.get("manager", "apt-get"),
            nics=uplinks(name, address, mtu, found),
            ssh_to=address if name in found.get("ssh", []) else None,
            of_methods={OvsFacts: OvsFacts(name in found.get("kernel_datapath", []))},
        )
    return result


def uplinks(host: str, address: IPv4Address, mtu: int, found: dict[str, Any]) -> dict[str, Nic]:
    """The host's one NIC, owned by systemd-networkd, and what the case says of it."""
    eth1 = Nic(
        "eth1",
        mac=f"0a:00:00:00:00:{int(address) & 255:02x}",
        mtu=mtu,
        managers=("systemd-networkd",),
        network=f"[Match]\nName=eth1\n\n[Network]\nAddress={address}/24\n",
        addresses=(NicAddress(str(address), 24, broadcast="10.78.0.255"),),
    )
    said = found.get("uplinks", {}).get(host, {})
    others = [Nic(name, managers=("systemd-networkd",)) for name in found.get("nics", [])]
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in said.items()}
    link = dataclasses.replace(eth1, **values)
    return {one.name: one for one in (link, *others)}


def states(wanted: State, found: dict[str, Any], inventory: Inventory) -> tuple[State, State]:
    """What carries our mark and what does not, by the case's words."""
    ours = dict(wanted) if found["applied"] else {}
    for words in found.get("lost", []):
        del ours[ref(words)]
    for words, fields in found.get("differs", {}).items():
        values = {key: _typed(value) for key, value in fields.items()}
        ours[ref(words)] = dataclasses.replace(ours[ref(words)], **values)
    foreign: dict[Ref, Resource] = {}
    for thing in [thing for thing in wanted.values() if isinstance(thing, Package)]:
        ours.pop(thing.ref, None)
        if thing.tool not in found.get("lacks", {}).get(thing.host, []):
            foreign[thing.ref] = thing
    for host in inventory.hosts:
        foreign[Ref(host, "image", "busybox:latest")] = DockerImage(host, "busybox:latest")
        for stranger in (
            OvsDaemon(host, inventory.name, False, False, original="masked inactive new"),
            OvsUplink(
                host,
                "eth1",
                "",
                "eth1",
                inventory.name,
                obstacle=found.get("obstacles", {}).get(host, ""),
                peer_outside=host in found.get("nested", []),
            ),
        ):
            foreign[stranger.ref] = stranger
        untouched = Docker0(host, (), (("subnet", "172.17.0.0/16"),), inventory.name)
        running = tuple(found.get("running", {}).get(host, []))
        foreign[untouched.ref] = dataclasses.replace(untouched, running=running)
    for words in found.get("foreign", []):
        stranger = _stranger(ref(words))
        foreign[stranger.ref] = stranger
    for words in [words for words in foreign if words in ours]:
        del foreign[words]
    return ours, foreign


def ref(words: str) -> Ref:
    host, kind, name = words.split(" ", 2)
    return Ref(host, kind, name)


def _typed(value: Any) -> Any:
    if isinstance(value, str) and "/" in value:
        return IPv4Network(value)
    return tuple(value) if isinstance(value, list) else value


def _stranger(ref: Ref) -> Resource:
    if ref.kind == "docker_network":
        return DockerNetwork(ref.host, ref.name, IPv4Network("192.0.2.0/24"), None, (), UNMARKED)
    return DockerContainer(ref.host, ref.name, "nginx", (), "bridge", None, "no", UNMARKED)


def printed(case: Path) -> str:
    """What `plan` prints for a case, errors of preflight included."""
    inventory = load(case / "inventory.yml")
    found = yaml.safe_load((case / "found.yml").read_text())
    seen = facts(inventory, found)
    problems = preflight.problems(inventory, seen)
    lines = [f"{problem}\n  → {problem.hint}" for problem in problems]
    if not problems:
        wanted = desired.wanted(inventory, seen)
        before = wanted
        if isinstance(found["applied"], str):
            before = desired.wanted(load(case / found["applied"]), seen)
        ours, foreign = states(before, found, inventory)
        todo: Plan = plan(ours, wanted, foreign=foreign)
        done = tuple(ChangeResult(change) for change in todo.changes)
        lines = list(report.plan_lines(Report(tuple(inventory.hosts), done, todo.conflicts, ())))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_the_plan_is_as_written(
    case: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word by word what the user sees, whatever this machine has built before."""
    monkeypatch.setattr(binary, "cached", lambda: None)
    golden = case / "plan.txt"
    if request.config.getoption("update_goldens"):
        golden.write_text(printed(case))
    assert printed(case) == golden.read_text()


def test_there_are_cases() -> None:
    """An empty folder proves nothing."""
    assert len(CASES) >= 8
