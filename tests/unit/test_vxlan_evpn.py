"""Method `vxlan` with `control: evpn`: its files, its checks, and why a host cannot join."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from provision import methods
from provision.engine import preflight
from provision.engine.desired import wanted
from provision.engine.plan import Change, plan
from provision.facts.host import HostFacts
from provision.facts.peer_routes import PeerRoute, PeerRoutes
from provision.inventory.load import load
from provision.methods._shared import frr_facts
from provision.methods._shared.frr_facts import FrrFacts
from provision.methods.vxlan import evpn_facts, evpn_status
from provision.methods.vxlan.evpn_facts import VxlanDevices
from provision.methods.vxlan.evpn_status import EvpnStatus
from provision.methods.vxlan.method import VxlanMethod
from provision.model.errors import InventoryError
from provision.model.inventory import Inventory
from provision.model.needs import Inbound
from provision.resources.base import Origin, Ref
from provision.resources.kinds.file import File
from provision.resources.kinds.vxlan import ASK_CONTAINERS, Vxlan
from provision.resources.steps import Run
from tests.cases.test_cases import facts
from tests.house.test_structure import ROOT

CASE = {"docker": {"h1": "26.1.5", "h2": "20.10.24", "h3": "28.5.2", "h4": "26.1.5"}}
CONFIG, UNIT = "/etc/provision/fabric/lan.bgpd.conf", "provision-fabric-lan-evpn.service"
DEVICE, BRIDGE = "vx-lan-5nql2v", "br-lan-5nql2v"
MACS = {f"h{n}": (f"0a:00:00:00:00:0{n}", f"02:42:ac:18:0{n}:02") for n in (1, 2, 3)}
"""MACs of the gateway and of the container of each host."""


def example(folder: Path, *changes: tuple[str, str]) -> Inventory:
    """The example vxlan-evpn.yml with changes of its text."""
    text = (ROOT / "inventories" / "vxlan-evpn.yml").read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "inventory.yml"
    path.write_text(text)
    return load(path)


def text_of(inventory: Inventory, host: str, path: str = CONFIG) -> str:
    """The text of a planned file."""
    resource = wanted(inventory, facts(inventory, CASE))[Ref(host, "file", path)]
    assert isinstance(resource, File)
    return resource.text


def host_facts(inventory: Inventory, host: str) -> HostFacts:
    """The facts of one host."""
    return facts(inventory, CASE)[host]


def device_of(inventory: Inventory, host: str = "h1") -> Vxlan:
    """The planned VXLAN device of a host."""
    resource = wanted(inventory, facts(inventory, CASE))[Ref(host, "vxlan", DEVICE)]
    assert isinstance(resource, Vxlan)
    return resource


def test_a_new_host_at_the_end_changes_no_other(tmp_path: Path) -> None:
    """Neither a file nor any other resource of the three hosts before it."""
    before = example(tmp_path)
    after = example(tmp_path, ("# h4: {address", "h4: {address"))
    old, new = (wanted(each, facts(each, CASE)) for each in (before, after))
    assert {ref: new[ref] for ref in old} == old
    assert {ref.host for ref in new.keys() - old.keys()} == {"h4"}


def test_the_table_comes_from_no_inventory(tmp_path: Path) -> None:
    """The device has no entry of ours, neither learns nor is filled by the bridge."""
    device = device_of(example(tmp_path))
    assert (device.forwards, device.learning, device.static) == ((), False, False)
    words = [step.argv for step in device.create() if isinstance(step, Run)]
    assert any("docker network inspect" in argv[2] and argv[-1] == BRIDGE for argv in words)
    plain = example(tmp_path, ("control: evpn", "control: static"))
    assert len(device_of(plain).forwards) == 2 and device_of(plain).static
    tables = [VxlanMethod().table_service(i, i.networks["lan"]) for i in (example(tmp_path), plain)]
    assert tables == [UNIT, ""]
    kinds = {ref.kind for ref in wanted(plain, facts(plain, CASE)) if ref.host == "h1"}
    assert "service" not in kinds


def run_with(folder: Path, programs: dict[str, str], script: str, *arguments: str) -> str:
    """Run a shell script with programs of the given text, which shadow those of this machine."""
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    path = {"PATH": f"{folder}:/usr/bin:/bin"}
    argv = ("sh", "-c", script, "sh", *arguments)
    return subprocess.run(argv, env=path, capture_output=True, text=True, check=True).stdout


NEIGHBOURS = """172.24.0.2 lladdr 02:42:ac:18:00:02 STALE
172.24.0.3 FAILED
172.24.0.9 lladdr 02:42:ac:18:00:09 DELAY
172.24.0.50 lladdr 02:00:00:00:00:50 PERMANENT
172.24.0.5 lladdr 02:00:00:00:00:05 PERMANENT
172.24.1.0 lladdr 02:42:ac:18:01:00 extern_learn NOARP proto zebra"""


@pytest.mark.parametrize("docker", ["active", "activating", "inactive", "deactivating"])
def test_containers_without_an_entry_are_asked_and_permanent_entries_are_kept(
    tmp_path: Path, docker: str
) -> None:
    """Docker lists those that failed or have none; while it is stopped, nothing starts it."""
    asked = tmp_path / "asked"
    programs = {
        "ip": f'case $* in *show*) echo "{NEIGHBOURS}" ;; *) cat >{asked} ;; esac',
        "systemctl": f"echo {docker}",
        "docker": "printf '172.24.0.%s/16\\n' 2 3 4 50; echo",
    }
    run_with(tmp_path, programs, ASK_CONTAINERS, "lan", BRIDGE)
    lines = asked.read_text().splitlines()
    numbers = ("2", "3", "4", "9") if docker.startswith("act") else ("2", "9")
    assert lines == [f"neighbour replace 172.24.0.{n} dev {BRIDGE} use" for n in numbers]


def test_the_service_asks_what_the_device_asks_for(tmp_path: Path) -> None:
    """Docker calls the network of docker0 `bridge`."""
    inventory = example(tmp_path)
    path = "/etc/provision/fabric/lan.evpn.sh"
    assert f"  ask lan {BRIDGE}\n" in text_of(inventory, "h1", path)
    assert device_of(inventory).docker_network == "lan"
    inventory = example(tmp_path, ("# asn: 64512", "bridge: docker0 #"))
    program = text_of(inventory, "h1", path)
    assert "  ask bridge docker0\n" in program
    assert device_of(inventory).docker_network == "bridge"
    for line in ASK_CONTAINERS.strip().splitlines():
        assert f"  {line}\n" in program


@pytest.mark.parametrize("known", [True, False])
def test_an_address_that_zebra_has_missed_is_told_again(tmp_path: Path, known: bool) -> None:
    """zebra of FRR 8.4 does not announce the gateway then; an address that it knows stays alone."""
    program = text_of(example(tmp_path), "h1", "/etc/provision/fabric/lan.evpn.sh")
    begin, end = program.index("ask() {"), program.index("done &\n", program.index("sleep 20"))
    log, round_ = tmp_path / "log", tmp_path / "round"
    shown = f"5: {BRIDGE}    inet 172.24.0.1/16 brd 172.24.255.255 scope global {BRIDGE}"
    inet = "  inet 172.24.0.1/16\n" if known else ""
    programs = {
        "ip": f'case $* in *change*) echo "$*" >>{log} ;; *address*) echo "{shown}" ;; esac',
        "sleep": f"[ ! -e {round_} ] && : >{round_}",
        "vtysh": f"printf '%s' '{inet}  inet6 fe80::1/64'",
        "systemctl": "exit 3",
    }
    run_with(tmp_path, programs, f"folder=/run/x\n{program[begin:end]}done\n")
    told = log.read_text().splitlines() if log.exists() else []
    assert told == ([] if known else [f"address change 172.24.0.1/16 dev {BRIDGE}"])


def test_the_program_removes_neighbours_of_both_families(tmp_path: Path) -> None:
    """zebra enters IPv6 addresses, too."""
    program = text_of(example(tmp_path), "h1", "/etc/provision/fabric/lan.evpn.sh")
    log = tmp_path / "log"
    programs = {"ip": f"echo $* >>{log}", "bridge": ""}
    run_with(tmp_path, programs, program.replace('"$1"', "clear"))
    flush = f"neighbour flush dev {BRIDGE} proto 11"
    assert log.read_text().splitlines() == [f"-4 {flush}", f"-6 {flush}"]


def test_only_the_own_vni_leaves_and_enters(tmp_path: Path) -> None:
    """Each neighbour has the route map both ways; the target has at most 16 + 24 bits."""
    for host in ("h1", "h3"):
        text = text_of(example(tmp_path), host)
        assert "extcommunity-list standard own permit rt 64512:439790" in text
        active = [line.split()[1] for line in text.splitlines() if line.endswith(" activate")]
        assert len(active) == 2
        for neighbor in active:
            for way in ("in", "out"):
                assert f"  neighbor {neighbor} route-map own {way}\n" in text
    large = text_of(example(tmp_path, ("# asn: 64512", "asn: 4200000000 #")), "h1")
    assert "router bgp 4200000000" in large and "permit rt 64512:439790" in large


def test_only_reflectors_accept_callers(tmp_path: Path) -> None:
    """The others call both reflectors, and listen at no port but that of the tunnel."""
    inventory = example(tmp_path, ("# asn: 64512", "bfd: true #"))
    program = "/etc/provision/fabric/lan.evpn.sh"
    assert "bgp listen range 10.78.0.0/24" in text_of(inventory, "h1")
    assert "neighbor hosts bfd profile hosts" in text_of(inventory, "h1")
    assert "listen range" not in text_of(inventory, "h3")
    assert "--bgp_port 0" in text_of(inventory, "h3", program)
    assert "bfdd.conf" in text_of(inventory, "h3", program)
    network, method = inventory.networks["lan"], VxlanMethod()
    assert method.ports(network, "h1") == ("udp/4789", "tcp/179", "udp/3784", "udp/4784")
    assert method.ports(network, "h3") == ("udp/4789", "udp/3784", "udp/4784")
    needs = {
        host: [
            need.ports
            for need in method.firewall_needs(inventory, network, host_facts(inventory, host))
            if isinstance(need, Inbound)
        ]
        for host in ("h1", "h3")
    }
    assert needs == {"h1": [(4789,), (3784,), (179,)], "h3": [(4789,), (3784,)]}


def test_bfd_across_a_router_has_another_port(tmp_path: Path) -> None:
    """h3 reaches the others by a router, as its routes tell."""
    inventory = example(tmp_path, ("# asn: 64512", "bfd: true #"))
    states = facts(inventory, {**CASE, "via": {"h3": "10.78.0.1"}})
    path = "/etc/provision/fabric/lan.bfdd.conf"
    planned = wanted(inventory, states)
    texts = {host: planned[Ref(host, "file", path)].text for host in ("h2", "h3")}
    for reflector in ("10.78.0.11", "10.78.0.12"):
        assert f" peer {reflector} multihop local-address 10.78.0.13\n" in texts["h3"]
    assert "  minimum-ttl 1\n" in texts["h3"] and "multihop" not in texts["h2"]
    network = inventory.networks["lan"]
    ports = {
        host: [
            need.ports
            for need in VxlanMethod().firewall_needs(inventory, network, states[host])
            if isinstance(need, Inbound) and 3784 in need.ports
        ]
        for host in ("h2", "h3")
    }
    assert not preflight.problems(inventory, states)
    assert set(ports["h2"]) == {(3784,)} and set(ports["h3"]) == {(3784, 4784)}


def test_a_host_behind_a_router_changes_only_reflectors(tmp_path: Path) -> None:
    """A host has sessions with reflectors alone: h3 needs nothing for h4, which is far."""
    inventory = example(
        tmp_path,
        ("# asn: 64512", "bfd: true #"),
        ("# h4: {address: 10.78.0.14}", "h4: {address: 10.78.0.14}"),
    )
    near, states = facts(inventory, CASE), facts(inventory, CASE)
    far = PeerRoute("eth1", IPv4Address("10.78.0.1"))
    for name in ("h1", "h2", "h3"):
        routes = {**dict(near[name].peer_routes.items()), IPv4Address("10.78.0.14"): far}
        states[name] = replace(near[name], peer_routes=PeerRoutes.of(routes))
    before, after = wanted(inventory, near), wanted(inventory, states)
    changed = {ref.host for ref in before if ref.kind == "file" and after[ref] != before[ref]}
    assert changed == {"h1", "h2"}
    network = inventory.networks["lan"]
    needs = [
        list(VxlanMethod().firewall_needs(inventory, network, s["h3"])) for s in (near, states)
    ]
    assert needs[0] == needs[1]


def test_a_host_with_an_frr_of_others_is_refused(tmp_path: Path) -> None:
    """Without EVPN nothing is asked, and nothing refused."""
    inventory = example(tmp_path)
    states = facts(inventory, CASE)
    assert not preflight.problems(inventory, states)
    states["h2"] = replace(states["h2"], of_methods={FrrFacts: FrrFacts(of_others=True)})
    (problem,) = preflight.problems(inventory, states)
    assert problem.host == "h2" and "frr.service" in problem.message
    assert problem.hint.endswith("or write control: static")
    plain = example(tmp_path, ("control: evpn", "control: static"))
    assert not preflight.problems(plain, states)
    assert len(VxlanMethod().facts(inventory, "h1")) == 2 and not VxlanMethod().facts(plain, "h1")


@pytest.mark.parametrize(
    ("line", "of_bgp", "of_evpn"),
    [
        ("speaker evpn.service # provision:fabric/lan", 1, 0),
        ("speaker evpn.service # provision:other/lan", 1, 1),
        ("speaker bgp.service # provision:other/core", 1, 1),
    ],
)
def test_an_frr_of_another_inventory_is_refused(
    tmp_path: Path, line: str, of_bgp: int, of_evpn: int
) -> None:
    """Two zebras would both take all VXLAN devices, and one port 179 is in use."""
    found = frr_facts.probe().parse(f"{line}\n")
    files = (ROOT / "inventories" / "bgp.yml", example(tmp_path).path)
    counts = []
    for inventory in map(load, files):
        states = facts(inventory, CASE)
        states["h3"] = replace(states["h3"], of_methods={FrrFacts: found})
        problems = preflight.problems(inventory, states)
        assert all(each.host == "h3" and "of inventory" in each.message for each in problems)
        counts.append(len(problems))
    assert counts == [of_bgp, of_evpn]


def test_a_device_with_the_same_vni_is_refused(tmp_path: Path) -> None:
    """FRR goes by the VNI alone; a device of the inventory, and other VNIs, are no problem."""
    own = (
        f"vxlan {DEVICE} 439790 provision:fabric/lan\nvxlan vx-old-x 439790 provision:fabric/old\n"
    )
    found = evpn_facts.probe().parse(f"{own}vxlan flannel.1 1 \n")
    expected = ((DEVICE, 439790, "fabric"), ("vx-old-x", 439790, "fabric"), ("flannel.1", 1, ""))
    assert found == VxlanDevices(expected)
    inventory = example(tmp_path)
    states = facts(inventory, CASE)
    states["h2"] = replace(states["h2"], of_methods={VxlanDevices: found})
    assert not preflight.problems(inventory, states)
    for device, owner in (("flannel.439790", ""), ("vx-lan-x", "other")):
        same = VxlanDevices(((device, 439790, owner),))
        states["h2"] = replace(states["h2"], of_methods={VxlanDevices: same})
        (problem,) = preflight.problems(inventory, states)
        assert problem.host == "h2" and device in problem.message


def test_flannel_with_the_same_vni_is_refused(tmp_path: Path) -> None:
    """FRR knows flannel's device by its VNI alone; without EVPN, the ports tell the two apart."""
    flannel = "  over: {method: flannel, cidr: 172.25.0.0/16}\n\ncontainers:"
    changes = (("# vni: 42 ", "vni: 1 "), ("\ncontainers:", flannel))
    with pytest.raises(InventoryError) as error:
        example(tmp_path, *changes)
    assert "have the vni 1" in "\n".join(map(str, error.value.findings))
    assert example(tmp_path, *changes, ("control: evpn", "control: static")).networks.keys() == {
        "lan",
        "over",
    }


def link(**port: bool) -> str:
    """The answer of the probe for the device, with a flood entry that FRR has made."""
    answer = {
        "ifname": DEVICE, "ifalias": "provision:fabric/lan", "address": "0a:00:e9:78:98:c4",
        "mtu": 1450, "flags": ["UP"], "master": BRIDGE, "addr_info": [],
        "linkinfo": {
            "info_kind": "vxlan",
            "info_data": {"id": 439790, "port": 4789, "local": "10.78.0.11", "learning": False},
            "info_slave_data": port,
        },
    }  # fmt: skip
    entry = f"forward {DEVICE} 00:00:00:00:00:00 dst 10.78.0.12 self permanent"
    return f"link {json.dumps([answer])}\n{entry}\n"


def test_entries_of_frr_are_no_drift_and_lost_settings_of_the_port_are(tmp_path: Path) -> None:
    """The port is set again in place, and the entries of FRR stay."""
    device = device_of(example(tmp_path))
    (found,) = Vxlan.parse(link(neigh_suppress=True, learning=False), Origin("h1", "fabric"))
    assert found.ours and found.resource == device
    (found,) = Vxlan.parse(link(neigh_suppress=False, learning=True), Origin("h1", "fabric"))
    assert found.resource != device
    (change,) = plan({device.ref: found.resource}, {device.ref: device}).changes
    assert isinstance(change, Change) and change.verb == "update"
    steps = device.update(found.resource)
    assert steps and "delete" not in repr(steps) and "neigh_suppress" in repr(steps)


def answers(host: str, **changes: Any) -> str:
    """The output of the status script on a host that knows everything; `changes` of its parts."""
    network = {name: f"10.78.0.1{name[1]}" for name in MACS}
    known: dict[str, Any] = {
        "peers": {
            a: {"state": "Established", "pfxRcd": 5} for h, a in network.items() if h != host
        },
        "vteps": [{"ip": a, "flood": "HER"} for h, a in network.items() if h != host],
        "macs": {},
        "arp": {"numArpNd": 6, "fe80::1": {"mac": "0a:00:00:00:00:01"}},
        "floods": [a for h, a in network.items() if h != host],
    }
    for name, macs in MACS.items():
        place = {} if name == host else {"remoteVtep": network[name]}
        for number, mac in enumerate(macs, 1):
            known["macs"][mac] = place
            known["arp"][f"172.24.{int(name[1]) - 1}.{number}"] = {"mac": mac, **place}
    known |= changes
    entries = {mac: each["remoteVtep"] for mac, each in known["macs"].items() if each}
    entries = changes.get("entries", entries)
    parts = (
        {"peers": known["peers"]},
        {"remoteVteps": known["vteps"]},
        {"macs": known["macs"]},
        known["arp"],
    )
    lines = [f"evpn lan {json.dumps(part)}" for part in parts]
    lines += [f"entry lan 00:00:00:00:00:00 {address}" for address in known["floods"]]
    lines += [f"entry lan {mac} {place}" for mac, place in entries.items()]
    return "\n".join(("rejected lan 0", *lines))


def errors_of(inventory: Inventory, text: str, host: str = "h1") -> dict[str, str]:
    """The errors of the three checks on a host, by name."""
    network, of_host = inventory.networks["lan"], host_facts(inventory, host)
    statuses = VxlanMethod().parse_status(inventory, host, text)
    checks = methods.checks_of(network)
    return {check.name: check.error(inventory, network, of_host, statuses) for check in checks}


def test_the_checks_pass_on_whole_tables(tmp_path: Path) -> None:
    """On a reflector and on another host; a network without EVPN has none of them."""
    inventory = example(tmp_path)
    for host in ("h1", "h3"):
        assert errors_of(inventory, answers(host), host) == dict.fromkeys(
            ("sessions", "vteps", "neighbours"), ""
        )
    plain = example(tmp_path, ("control: evpn", "control: static"))
    assert methods.checks_of(plain.networks["lan"]) == ()
    assert not VxlanMethod().status_script(plain, "h1")


def test_frr_8_names_the_vteps_by_their_number(tmp_path: Path) -> None:
    """`numRemoteVteps` is a list there."""
    text = answers("h1").replace("remoteVteps", "numRemoteVteps")
    text = text.replace('{"ip": ', "").replace(', "flood": "HER"}', "")
    assert '"numRemoteVteps": ["10.78.0.12", "10.78.0.13"]' in text
    assert errors_of(example(tmp_path), text)["vteps"] == ""


def without(part: dict[str, Any], key: str) -> dict[str, Any]:
    """A table without one entry."""
    assert key in part
    return {name: value for name, value in part.items() if name != key}


ARP: dict[str, Any] = json.loads(answers("h1").splitlines()[4].removeprefix("evpn lan "))
ENTRIES = {mac: f"10.78.0.1{host[1]}" for host in ("h2", "h3") for mac in MACS[host]}
INACTIVE = {**ARP, "172.24.1.2": {**ARP["172.24.1.2"], "state": "inactive"}}
MOVED = {**ARP, "172.24.2.2": {**ARP["172.24.2.2"], "remoteVtep": "10.78.0.12"}}


@pytest.mark.parametrize(
    ("check", "changes", "expected"),
    [
        ("sessions", {"peers": {}}, "none with h2, h3: let TCP port 179 through"),
        ("vteps", {"vteps": []}, "h2 does not announce the vni 439790"),
        ("vteps", {"floods": ["10.78.0.12"]}, "the kernel has no entry for broadcasts to h3"),
        (
            "vteps",
            {"floods": ["10.78.0.12", "10.78.0.13", "10.78.0.99"]},
            "10.78.0.99 is no host of the network",
        ),
        (
            "neighbours",
            {"arp": without(ARP, "172.24.1.2")},
            "h2 announces 1 address of 172.24.1.0/24, not those of its gateway, e2",
        ),
        ("neighbours", {"arp": INACTIVE}, "h2 announces 1 address of 172.24.1.0/24"),
        ("neighbours", {"arp": MOVED}, "172.24.2.2 of h3 is announced by h2"),
        (
            "neighbours",
            {"entries": without(ENTRIES, MACS["h2"][1])},
            f"the kernel has no entry for {MACS['h2'][1]} at h2",
        ),
        (
            "neighbours",
            {"entries": {**ENTRIES, "02:00:00:00:00:99": "10.78.0.13"}},
            "the kernel has 02:00:00:00:00:99 at h3, which FRR does not know",
        ),
    ],
)
def test_the_checks_name_what_is_wrong(
    tmp_path: Path, check: str, changes: dict[str, Any], expected: str
) -> None:
    """Sessions, hosts without the VNI, containers that are not announced, tables that differ."""
    assert expected in errors_of(example(tmp_path), answers("h1", **changes))[check]


def test_a_missing_answer_is_an_error(tmp_path: Path) -> None:
    """vtysh prints a sentence where no daemon runs."""
    inventory = example(tmp_path)
    dead = "evpn lan failed to connect to any daemons.\n" * 4
    assert set(errors_of(inventory, dead).values()) == {"failed to connect to any daemons."}
    assert set(errors_of(inventory, "").values()) == {"no answer"}


@pytest.mark.parametrize(("wait", "looks"), [(False, 0), (True, 19)])
def test_only_verify_waits_for_neighbours(tmp_path: Path, wait: bool, looks: int) -> None:
    """`show` prints what is there; `verify` waits 20 s, however long a look takes."""
    inventory, log = example(tmp_path), tmp_path / "log"
    clock = f"echo x >>{tmp_path}/clock; grep -c x {tmp_path}/clock"  # a second for each look
    programs = {
        "date": clock,
        "ss": f"echo look >>{log}",
        "sleep": "",
        "systemctl": "",
        "vtysh": "echo '{}'",
    }
    script = VxlanMethod().status_script(inventory, "h1", wait=wait)
    output = run_with(tmp_path, {**programs, "bridge": "", "nstat": ""}, script)
    assert output.splitlines() == ["rejected lan 0", *["evpn lan {}"] * 4]
    assert (log.read_text().count("look") if log.exists() else 0) == looks


def test_verify_asks_zebra_once_in_a_look_and_ends_when_all_is_known(tmp_path: Path) -> None:
    """The counts of local and remote neighbours come from one answer."""
    local = "172.24.0.1 local  active a\n172.24.0.2 local  active a\n"
    rows = local + "172.24.1.9 remote  active a\n" * 4
    log = tmp_path / "log"
    vtysh = f"case $* in *'439790') echo ask >>{log}; printf '{rows}' ;; *) echo '{{}}' ;; esac"
    programs = {"vtysh": vtysh, "ss": "echo 1; echo 2", "sleep": "", "systemctl": ""}
    script = VxlanMethod().status_script(example(tmp_path), "h1", wait=True)
    run_with(tmp_path, {**programs, "bridge": "", "nstat": ""}, script)
    assert log.read_text().splitlines() == ["ask"]


def calls_of_the_check(folder: Path, hosts: int) -> int:
    """The calls of Python functions in the check of neighbours on one of so many hosts."""
    numbers = range(hosts)
    lines = [f"  n{i}: {{address: 10.78.{i // 200}.{i % 200 + 1}}}" for i in numbers]
    members = [f"  c{i}: {{host: n{i}, network: lan}}" for i in numbers]
    network = "  lan: {method: vxlan, control: evpn, cidr: 172.16.0.0/12}"
    text = ["name: fabric", "hosts:", *lines, "networks:", network, "containers:", *members]
    (folder / "large.yml").write_text("\n".join(text) + "\n")
    inventory = load(folder / "large.yml")
    lan = inventory.networks["lan"]
    addresses = {name: str(host.address) for name, host in inventory.hosts.items()}
    known = {
        str(subnet[number]): ("02:00:00:00:00:01", "" if name == "n0" else addresses[name])
        for name, subnet in lan.subnets.items()
        for number in (1, 2)
    }
    status = EvpnStatus("n0", "lan", neighbours=known)
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    of_host = replace(host_facts(example(folder), "h1"), host="n0")
    sys.setprofile(count)
    try:
        error = evpn_status.neighbours_error(inventory, lan, of_host, (status,))
    finally:
        sys.setprofile(None)
    assert error == ""
    return calls


def test_the_check_of_neighbours_is_linear_in_hosts(tmp_path: Path) -> None:
    """80 hosts took 143 s when each of them compared each neighbour with each range."""
    assert calls_of_the_check(tmp_path, 80) < 2.5 * calls_of_the_check(tmp_path, 40)


def test_show_has_rows_for_sessions_and_neighbours(tmp_path: Path) -> None:
    """The host itself stands where a neighbour is its own."""
    inventory = example(tmp_path)
    statuses = {"h3": VxlanMethod().parse_status(inventory, "h3", answers("h3"))}
    tables = {title: rows for title, _, rows in VxlanMethod().show_tables(statuses)}
    assert tables["EVPN sessions"][0] == ("h3", "lan", "h1", "Established", "0 s", "5")
    assert tables["EVPN neighbours"][0][2:] == ("172.24.0.1", MACS["h1"][0], "10.78.0.11")
    assert tables["EVPN neighbours"][-1][2:] == ("172.24.2.2", MACS["h3"][1], "h3")
    (shown,) = VxlanMethod().show_json(statuses)["evpn"]
    assert shown["vteps"] == ["10.78.0.11", "10.78.0.12"] and len(shown["neighbours"]) == 6


def test_the_password_is_in_the_secret_file_alone(tmp_path: Path) -> None:
    """The service puts it into a file in /run, for each neighbour."""
    (tmp_path / "bgp.key").write_text("GEHEIM!\n")
    inventory = example(tmp_path, ("# asn: 64512", "password: {file: bgp.key} #"))
    resources = wanted(inventory, facts(inventory, CASE))
    assert Ref("h1", "secret_file", "lan.evpn") in resources
    assert "GEHEIM" not in repr(resources)
    program = text_of(inventory, "h3", "/etc/provision/fabric/lan.evpn.sh")
    assert "password) set -- 10.78.0.11 10.78.0.12 ;;" in program


def test_a_change_of_a_file_is_said_to_cut_the_network(tmp_path: Path) -> None:
    """The service is restarted, and its table is empty until it has learned it again."""
    before, after = example(tmp_path), example(tmp_path, ("# asn: 64512", "asn: 64513"))
    states = facts(after, CASE)
    changes = plan(wanted(before, states), wanted(after, states)).changes
    (change,) = [c for c in changes if c.ref == Ref("h3", "service", UNIT)]
    assert change.verb == "update" and change.disruption is not None
    assert "unreachable for some seconds" in change.disruption


def test_a_changed_password_is_said_to_cut_the_network(tmp_path: Path) -> None:
    """The new file restarts the service; the first one comes with the service."""
    inventories = []
    for password in ("GEHEIM!", "ANDERS!"):
        (tmp_path / "bgp.key").write_text(f"{password}\n")
        inventories.append(example(tmp_path, ("# asn: 64512", "password: {file: bgp.key} #")))
    before, after = (wanted(each, facts(each, CASE)) for each in inventories)
    ref = Ref("h3", "secret_file", "lan.evpn")
    (change,) = [c for c in plan(before, after).changes if c.ref == ref]
    assert change.disruption == "containers of other hosts are unreachable for some seconds"
    (change,) = [c for c in plan({}, after).changes if c.ref == ref]
    assert change.disruption is None
