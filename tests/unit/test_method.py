"""The class Method: NIC checks, checks of verify, and methods of other packages."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from provision import methods
from provision.checks import lan_probe
from provision.checks.gather import Evidence
from provision.checks.lan_probe import LanEndpoint
from provision.checks.pair_choice import ALL_PAIRS
from provision.checks.run import run_checks
from provision.engine import desired
from provision.engine.fleet import Fleet, Session, snapshot_script
from provision.facts.host import HostFacts, Link
from provision.facts.peer_routes import PeerRoute, PeerRoutes
from provision.inventory.json_schema import json_schema
from provision.inventory.load import load
from provision.inventory.schema import network_document
from provision.methods.pipework import nic
from provision.model.errors import SupplyError
from provision.model.inventory import Inventory
from provision.resources.base import Origin
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.package import Package
from provision.resources.lib import ovsdb
from provision.resources.lib.network_options import BRIDGE_NAME, INHIBIT
from provision.resources.on_hosts import Mark
from provision.resources.steps import Run
from tests.cases.test_cases import facts
from tests.fakes import Hosts
from tests.house.test_structure import ROOT

DOCKER = {"h1": "26.1.5", "h2": "26.1.5", "h3": "26.1.5"}
ROUTED_BY_HOST = ("routes", "vxlan", "ovs-gre", "ovs-vxlan", "flannel-vxlan", "flannel-host-gw")
"""Examples of methods that send to peers by the host's own routes."""


def with_nic(folder: Path, example: str, nic: str) -> tuple[Inventory, dict[str, HostFacts]]:
    """An example whose h1 has the key `nic`, and the facts of its hosts before the first apply."""
    text = (ROOT / "inventories" / f"{example}.yml").read_text()
    without_nic = "h1: {address: 10.78.0.11}"
    assert without_nic in text
    path = folder / "inventory.yml"
    path.write_text(text.replace(without_nic, f"h1: {{address: 10.78.0.11, nic: {nic}}}"))
    inventory = load(path)
    return inventory, facts(inventory, {"docker": DOCKER})


def behind_open_vswitch(host: HostFacts) -> HostFacts:
    """The host with eth1 as a port of our bridge, which has its addresses and routes."""
    bridge = f"{ovsdb.NIC_BRIDGE_PREFIX}eth1"
    link = Link(bridge, 1500, (IPv4Interface("10.78.0.11/24"),))
    return replace(
        host,
        links={bridge: link, "eth1": Link("eth1", 1500, ())},
        peer_routes=PeerRoutes.of({peer: PeerRoute(bridge, None) for peer in host.peer_routes}),
        ovs_nic_by_bridge={bridge: "eth1"},
    )


@pytest.mark.parametrize("example", ROUTED_BY_HOST)
def test_a_nic_under_open_vswitch_is_still_the_hosts_nic(tmp_path: Path, example: str) -> None:
    """`nic: eth1` is the NIC below the bridge that has the routes to the peers."""
    inventory, hosts = with_nic(tmp_path, example, "eth1")
    network = next(iter(inventory.networks.values()))
    method = methods.of(network)
    assert not list(method.check_host(inventory, network, behind_open_vswitch(hosts["h1"])))


@pytest.mark.parametrize("example", ROUTED_BY_HOST)
def test_a_nic_that_is_down_below_its_bridge_is_named(tmp_path: Path, example: str) -> None:
    """The bridge stays up with its address, so that all routes look whole."""
    inventory, hosts = with_nic(tmp_path, example, "eth1")
    network = next(iter(inventory.networks.values()))
    host = behind_open_vswitch(hosts["h1"])
    links = {**host.links, "eth1": replace(host.links["eth1"], up=False)}
    down = methods.of(network).check_host(inventory, network, replace(host, links=links))
    message = f"eth1 is down, so its containers of network {network.name} reach no other host"
    assert [(p.message, p.hint) for p in down] == [(message, "run `ip link set dev eth1 up` on it")]


@pytest.mark.parametrize("example", ROUTED_BY_HOST)
def test_peers_must_be_reached_by_the_named_nic(tmp_path: Path, example: str) -> None:
    """A host with routes to its peers by another interface is refused."""
    inventory, hosts = with_nic(tmp_path, example, "eth2")
    network = next(iter(inventory.networks.values()))
    messages = [p.message for p in methods.of(network).check_host(inventory, network, hosts["h1"])]
    assert messages == [
        "its route to h2 (10.78.0.12) leaves by eth1, not by eth2",
        "its route to h3 (10.78.0.13) leaves by eth1, not by eth2",
    ]


def verified(
    inventory: Inventory, patch: pytest.MonkeyPatch, expression: str, **parts: Any
) -> list[tuple[str, str, bool, str]]:
    """Name, host, result and message of each check of a verify on this evidence."""
    hosts = tuple(inventory.hosts)
    empty: dict[str, Any] = {name: {} for name in Evidence.__dataclass_fields__}
    fixed = {"inventory": inventory, "hosts": hosts, "containers": (), "lan_probes": ()}
    fixed |= {"choice": ALL_PAIRS, "fleet": Fleet({})}
    evidence = Evidence(**{**empty, **fixed, "after": dict.fromkeys(hosts), **parts})
    patch.setattr("provision.checks.gather.evidence", lambda *_: evidence)
    session = Session(inventory, Hosts())
    result = run_checks(session, hosts, junit=False, expression=expression)
    return [(check.check, check.source, check.ok, check.detail) for check in result.checks]


def test_the_checks_of_a_method_are_judged_on_each_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each host is judged by the output of the method's script; a host without output fails."""
    inventory = load(ROOT / "inventories/flannel-vxlan.yml")
    output = "other output\nmethod-status flannel error over deadline exceeded\n"
    statuses = {
        "h1": methods.parse_statuses(inventory, "h1", output),
        "h2": methods.parse_statuses(inventory, "h2", ""),
        "h3": methods.parse_statuses(inventory, "h3", ""),
    }
    hosts = facts(inventory, {"docker": DOCKER})
    checks = verified(inventory, monkeypatch, "etcd", facts=hosts, statuses=statuses)
    assert checks == [
        ("etcd", "h1", False, "deadline exceeded"),
        ("etcd", "h2", False, "no answer"),
        ("etcd", "h3", False, "no answer"),
    ]
    checks = verified(inventory, monkeypatch, "leases", facts=hosts, statuses=statuses)
    assert {detail for *_, detail in checks} == {"etcd does not answer"}


def test_a_check_of_a_method_can_judge_facts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`host` of pipework names settings that the host lost with its NIC."""
    inventory = load(ROOT / "inventories/pipework.yml")
    hosts = facts(inventory, {"docker": DOCKER})
    network = next(iter(inventory.networks.values()))
    original = nic.original_nic(inventory, network, hosts["h1"])
    assert original is not None
    original = replace(original, dns=("nameserver 10.0.0.53",))
    hosts["h1"] = replace(hosts["h1"], bridged_nics={"bri0": original})
    checks = verified(inventory, monkeypatch, "host and not drift", facts=hosts)
    assert [(host, ok) for _, host, ok, _ in checks] == [("h1", False), ("h2", True), ("h3", True)]
    assert "nameserver 10.0.0.53 is missing from /etc/resolv.conf" in checks[0][3]


def test_each_status_is_read_from_the_lines_of_its_method() -> None:
    """Two methods on one host print to the same output."""
    inventory = load(ROOT / "inventories/flannel-vxlan.yml")
    script = methods.status_script(inventory, "h1")
    assert script.count("| sed 's/^/method-status flannel /'") == 1
    assert methods.status_script(load(ROOT / "inventories/routes.yml"), "h1") == ""


OTHER_PACKAGE = """
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from provision.methods import Facts, Method
from provision.model.help import Help
from provision.model.inventory import Inventory, Network
from provision.resources.base import Resource
from provision.resources.kinds.sysctl import Sysctl


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioOptions:
    channel: Annotated[int, Help("number of the channel")] = 1


class RadioMethod(Method):
    name = "radio"
    Options = RadioOptions
    packages = {"iw": ("iw",)}

    def desired(self, inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
        for host in network.hosts:
            if host in facts:
                yield Sysctl(host, "net.ipv4.ip_forward", "1", inventory.name)

    def tools(self, network: Network, host: str) -> tuple[str, ...]:
        return ("iw",)
"""


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an installed package that has the method `radio`."""
    folder = tmp_path / "site-packages"
    metadata = folder / "radio_net-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: radio-net\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[provision.methods]\nradio = radio_net:RadioMethod\n"
    )
    (folder / "radio_net.py").write_text(OTHER_PACKAGE)
    monkeypatch.syspath_prepend(str(folder))
    for cached in (methods.names, methods.named, network_document):
        cached.cache_clear()
    yield folder
    sys.modules.pop("radio_net", None)
    for cached in (methods.names, methods.named, network_document):
        cached.cache_clear()


RADIO = """
name: demo
hosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}
networks: {air: {method: radio, cidr: 172.20.0.0/16, channel: 7}}
containers: {c1: {host: h1, network: air}}
"""


@pytest.mark.usefixtures("other_package")
def test_a_method_of_another_package_is_found_and_used(tmp_path: Path) -> None:
    """Its keys are decoded and in the schema, and its tools are probed and installed."""
    path = tmp_path / "inventory.yml"
    path.write_text(RADIO)
    inventory = load(path)
    assert "radio" in methods.names()
    assert inventory.networks["air"].options.channel == 7  # type: ignore[attr-defined]
    hosts = facts(inventory, {"docker": DOCKER, "lacks": {"h1": ["iw"]}})
    resources = desired.wanted(inventory, hosts)
    assert {ref.kind for ref in resources if ref.host == "h1"} >= {"sysctl", "container"}
    (package,) = [r for r in resources.values() if isinstance(r, Package) and r.tool == "iw"][:1]
    assert package.ref == ("h1", "package", "iw")
    (step,) = package.create()
    assert isinstance(step, Run) and step.argv[-1] == "iw"
    script = snapshot_script(Session(inventory, Hosts()), "h1", "n")
    assert re.search(r"^tools='docker .* iw'$", script, re.M)
    schema = json_schema()["properties"]["networks"]["additionalProperties"]["oneOf"]
    radio = next(entry for entry in schema if entry["properties"]["method"]["const"] == "radio")
    assert radio["properties"]["channel"]["description"] == "number of the channel"


def test_a_broken_method_of_another_package_is_named(other_package: Path, tmp_path: Path) -> None:
    """The error has its entry point; the methods of provision itself still work."""
    (other_package / "radio_net.py").write_text("raise RuntimeError('no antenna')\n")
    path = tmp_path / "inventory.yml"
    path.write_text(RADIO)
    with pytest.raises(SupplyError, match=r"method radio of the entry point radio_net.*no antenna"):
        load(path)
    assert load(ROOT / "inventories/routes.yml").networks


def test_a_method_must_have_the_name_of_its_entry_point(
    other_package: Path, tmp_path: Path
) -> None:
    """Otherwise its own functions would not find its networks."""
    text = OTHER_PACKAGE.replace('name = "radio"', 'name = "wave"')
    (other_package / "radio_net.py").write_text(text)
    path = tmp_path / "inventory.yml"
    path.write_text(RADIO)
    with pytest.raises(SupplyError, match="is not a Method named radio"):
        load(path)


def lan_endpoint(name: str, host: str, pid: int, *, reaches_host: bool) -> LanEndpoint:
    address = IPv4Address(f"10.78.0.{pid or 1}")
    return LanEndpoint(name, host, "lan", 0, pid, "eth0", address, 1500, reaches_host=reaches_host)


@pytest.mark.parametrize("uses_bridge", [True, False])
def test_a_host_probes_its_own_containers_only_by_a_bridge(*, uses_bridge: bool) -> None:
    """With macvlan the kernel passes nothing between a host and its containers."""
    ends = [
        lan_endpoint(name, host, pid, reaches_host=uses_bridge)
        for name, host, pid in (("h1", "h1", 0), ("a", "h1", 7), ("b", "h1", 8), ("h2", "h2", 0))
    ]
    pairs = {(p.source.name, p.target) for p in lan_probe.lan_probes(ends) if p.kind == "reach"}
    own = {("h1", "a"), ("h1", "b"), ("a", "h1"), ("b", "h1")}
    assert pairs & own == (own if uses_bridge else set())
    assert {("a", "b"), ("a", "h2"), ("h2", "b"), ("h1", "h2")} <= pairs


def test_a_docker_network_without_a_bridge_is_created_and_parsed() -> None:
    """Docker's macvlan driver, on a NIC of the host."""
    lan = IPv4Network("10.78.0.0/24")
    options = (("parent", "eth1"),)
    network = DockerNetwork(
        "h1", "lan", lan, IPv4Address("10.78.0.254"), options, Mark("demo", "lan"), driver="macvlan"
    )
    (step,) = network.create()
    assert isinstance(step, Run)
    argv = step.argv
    assert argv[argv.index("--driver") + 1] == "macvlan" and "parent=eth1" in argv
    entry = {
        "Name": "lan",
        "Driver": "macvlan",
        "Labels": {"provision": "demo/lan"},
        "IPAM": {"Config": [{"Subnet": "10.78.0.0/24", "Gateway": "10.78.0.254"}]},
        "Options": {"parent": "eth1"},
    }
    text = f"networks {json.dumps([entry])}\ncontainers []"
    (found,) = DockerNetwork.parse(text, Origin("h1", "demo"))
    assert found.ours and found.resource == network


def test_a_network_leaves_a_bridge_of_another_resource_alone() -> None:
    """The bridge on a NIC has the alias of the network, too, if both have one name."""
    lan = IPv4Network("10.78.0.0/24")
    mark, options = Mark("demo", "bri0"), ((INHIBIT, "true"), (BRIDGE_NAME, "bri0"))
    on_nic = DockerNetwork("h1", "bri0", lan, IPv4Address("10.78.0.254"), options, mark)
    own = replace(on_nic, options=((BRIDGE_NAME, "br-n-x"),))
    for network, bridge in ((on_nic, ""), (own, "br-n-x")):
        (step,) = network.delete()
        assert isinstance(step, Run)
        assert step.argv[-2:] == (bridge, mark.tag)


def test_docker_chooses_the_gateway_of_a_network_without_one() -> None:
    """`--gateway None` would be an error of Docker."""
    lan = IPv4Network("10.78.0.0/24")
    network = DockerNetwork("h1", "lan", lan, None, (), Mark("demo", "lan"))
    (step,) = network.create()
    assert isinstance(step, Run)
    assert "--gateway" not in step.argv and "None" not in step.argv
    assert step.argv[step.argv.index("--subnet") + 1] == str(lan)
