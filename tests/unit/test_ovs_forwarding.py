"""VLANs and flags of ports, and flows of bridges of Open vSwitch, in captured output of probes."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.engine import preflight
from provision.inventory.load import load
from provision.methods._shared import ovs_facts
from provision.methods._shared.ovs_facts import OvsFacts
from provision.resources import kinds
from provision.resources.base import Origin, Resource
from provision.resources.kinds.lan_bridge_ovs import LanBridgeOvs
from provision.resources.lib import ovsdb
from provision.resources.lib.ovs_forwarding import FLOW, repairs, set_vlans
from provision.resources.render import program_text
from provision.resources.script import commands
from tests.cases.test_cases import facts
from tests.house.test_structure import ROOT

PROBES = Path("tests/probes")
KINDS = {kind.kind: kind for kind in kinds.all_kinds()}
MESH, LAN, VLANS = "ovs-trixie tunnel", "ovslan-trixie ovslan", "vlans-trixie vlans"
NORMAL, NO_VLANS = "priority=0 actions=NORMAL", ["set", []]


def found(capture: str, kind: str, text: str = "") -> dict[str, Resource]:
    """The resources of ours in a capture, or in another text."""
    inventory = capture.split()[1]
    entries = KINDS[kind].parse(text or probe(capture, kind), Origin("h1", inventory))
    return {entry.resource.name: entry.resource for entry in entries if entry.ours}


def probe(capture: str, kind: str) -> str:
    """What the probe of a kind has printed."""
    return (PROBES / kind / f"{capture.split()[0]}.txt").read_text()


def with_column(text: str, table: str, name: str, column: str, value: Any) -> str:
    """The text with another value in one row of a table; all rows have the column then."""
    lines = []
    for line in text.splitlines():
        key, _, printed = line.partition(" ")
        if key == table:
            rows = json.loads(printed)
            if column not in rows["headings"]:
                rows["headings"].append(column)
                rows["data"] = [[*row, NO_VLANS] for row in rows["data"]]
            at, named = rows["headings"].index(column), rows["headings"].index("name")
            for row in rows["data"]:
                if row[named] == name:
                    row[at] = value
            line = f"{key} {json.dumps(rows)}"
        lines.append(line)
    return "\n".join(lines)


def of_port(text: str, port: str, **columns: Any) -> str:
    """The text with settings of VLANs at a port."""
    for column, value in columns.items():
        text = with_column(text, "ovs_ports", port, column, value)
    return text


PORTS = {
    "ovs_tunnel": (MESH, "gre-h2-y4rqzi", "gre-h2-y4rqzi"),
    "ovs_veth": (MESH, "oi-tun-h4afpi", "oo-tun-h4afpi"),
    "ovs_uplink": (MESH, "eth1", "eth1"),
    "lan_bridge_ovs": (LAN, "ovsbr0", "eth1"),
    "attachment": (LAN, "o1/eth1", "pw-o1-zqu5k5"),
}
"""By kind: the capture, the name of the resource, and its port."""


@pytest.mark.parametrize("columns", [{"tag": 10}, {"trunks": ["set", [3, 4]]}])
@pytest.mark.parametrize("kind", PORTS)
def test_a_port_with_vlans_is_drift(kind: str, columns: dict[str, Any]) -> None:
    """The steps of the update clear the settings, or make the port anew; others stay equal."""
    capture, name, port = PORTS[kind]
    wanted = found(capture, kind)
    damaged = found(capture, kind, of_port(probe(capture, kind), port, **columns))
    assert damaged[name] != wanted[name]
    assert {key for key in wanted if damaged[key] != wanted[key]} == {name}
    steps = wanted[name].update(damaged[name])
    assert steps
    clears = "del-port" if kind in ("ovs_tunnel", "attachment") else f"clear port {port} tag"
    assert clears in commands(steps)


@pytest.mark.parametrize("bridge", ["ovs_uplink phy-eth1", "lan_bridge_ovs ovsbr0"])
def test_the_port_of_the_bridge_itself_is_compared(bridge: str) -> None:
    """The host's own packets pass it, where the bridge has the addresses of a NIC."""
    kind, name = bridge.split()
    capture, resource, _ = PORTS[kind]
    text = of_port(probe(capture, kind), name, tag=10)
    damaged, wanted = found(capture, kind, text)[resource], found(capture, kind)[resource]
    steps = wanted.update(damaged)
    assert damaged != wanted and steps
    assert f"clear port {name} tag" in commands(steps)


def test_the_wanted_tag_of_a_container_is_no_drift() -> None:
    """Its port has the tag of the interface's `vlan`; what is set besides is drift."""
    text = probe(VLANS, "attachment")
    wanted = found(VLANS, "attachment", text)
    red = wanted["red1/eth1"]
    port = "pw-red1-mvekpj"
    same = of_port(text, port, tag=10, vlan_mode="access")
    assert found(VLANS, "attachment", same)["red1/eth1"] == red
    for columns in ({"tag": 11}, {"tag": NO_VLANS}, {"vlan_mode": "trunk"}):
        assert found(VLANS, "attachment", of_port(text, port, **columns))["red1/eth1"] != red


@pytest.mark.parametrize(
    ("columns", "settings"),
    [
        ({"tag": NO_VLANS, "vlan_mode": "trunk"}, ""),
        ({"tag": 0}, "tag=0"),
        ({"tag": 10, "vlan_mode": "access"}, "tag=10"),
        ({"tag": 10, "trunks": 4}, "tag=10"),
        ({"trunks": 4}, "trunks=4"),
        ({"tag": 10, "trunks": ["set", [3, 4]], "vlan_mode": "native-tagged"},
         "tag=10 trunks=3,4 vlan_mode=native-tagged"),
        ({"vlan_mode": "x --db=evil"}, ""),
    ],
)  # fmt: skip
def test_settings_without_effect_are_left_out(columns: dict[str, Any], settings: str) -> None:
    """By ovs-vswitchd.conf.db(5), VLAN Configuration."""
    text = of_port(probe(MESH, "ovs_tunnel"), "gre-h2-y4rqzi", **columns)
    assert ovsdb.port_vlans(text, "gre-h2-y4rqzi") == (
        (("gre-h2-y4rqzi", settings),) if settings else ()
    )


def test_a_rollback_gives_the_vlans_back() -> None:
    """Of a port that stays, and of a tunnel that is made again."""
    tag = (("oo-x", "tag=10 trunks=3"),)
    (step,) = set_vlans(tag, before=())
    cleared = "clear port oo-x tag trunks vlan_mode"
    assert commands((step,)).endswith(f"{cleared} -- --if-exists set port oo-x tag=10 trunks=3")
    assert commands(set_vlans((), before=tag)).endswith(cleared)
    assert set_vlans(tag, before=tag) == ()
    for kind in ("ovs_tunnel", "ovs_veth", "lan_bridge_ovs"):
        capture, name, port = PORTS[kind]
        wanted = found(capture, kind)[name]
        before = found(capture, kind, of_port(probe(capture, kind), port, tag=10))[name]
        assert "tag=10" in commands(wanted.undo(before, ours=True))


BRIDGES = {
    "ovs_bridge": (MESH, "ov-tun-h4afpi", "ov-tun-h4afpi"),
    "ovs_uplink": (MESH, "eth1", "phy-eth1"),
    "lan_bridge_ovs": (LAN, "ovsbr0", "ovsbr0"),
}
"""By kind: the capture, the name of the resource, and its bridge."""


@pytest.mark.parametrize(
    ("flows", "lacks"),
    [
        ([NORMAL], False),
        ([], True),
        (["actions=drop", NORMAL], True),
        (["priority=0 actions=drop"], True),
        (["priority=9 actions=NORMAL", "priority=0 actions=drop"], False),
        (["actions=resubmit(,1)", NORMAL], False),
        (None, False),
    ],
)
@pytest.mark.parametrize("kind", BRIDGES)
def test_a_bridge_without_its_flow_is_drift(
    kind: str, flows: list[str] | None, *, lacks: bool
) -> None:
    """None: the probe printed no flows, because ovs-vswitchd does not answer."""
    capture, name, bridge = BRIDGES[kind]
    wanted, text = found(capture, kind)[name], probe(capture, kind)
    assert flows is None or f"flows {bridge}" not in text
    if flows is not None:
        text += "".join(f"\n{line}" for line in (f"flows {bridge}", *_lines(bridge, flows)))
    damaged = found(capture, kind, text)[name]
    assert (damaged == replace(wanted, lacks=FLOW)) is lacks  # type: ignore[call-arg]
    assert (damaged == wanted) is not lacks
    steps = wanted.update(damaged)
    assert steps is not None and ("add-flow" in commands(steps)) is lacks
    controlled = with_column(text, "ovs_bridges", bridge, "controller", ["uuid", "1-2"])
    assert found(capture, kind, controlled)[name] == wanted


def _lines(bridge: str, flows: list[str]) -> list[str]:
    return [f"flow {bridge} {flow}" for flow in flows]


def test_only_what_is_lost_is_repaired_of_a_bridge_with_a_nic() -> None:
    """The host's addresses do not move, neither by the repair nor by its rollback."""
    wanted = found(LAN, "lan_bridge_ovs")["ovsbr0"]
    assert isinstance(wanted, LanBridgeOvs)
    before = replace(wanted, lacks=FLOW, port_vlans=(("eth1", "tag=10"),))
    for steps in (wanted.update(before), wanted.undo(before, ours=True)):
        assert steps is not None and "add-br" not in commands(steps)
    assert wanted.undo(replace(wanted, lacks=FLOW), ours=True) == ()
    assert "add-br" in commands(wanted.undo(replace(before, mtu=1400), ours=True))


FLAGS = {
    "ovs_bridge": (MESH, "ov-tun-h4afpi", "ov-tun-h4afpi", ("gre-h2-y4rqzi", "oo-tun-h4afpi")),
    "ovs_uplink": (MESH, "eth1", "phy-eth1", ("eth1", "phy-eth1")),
    "lan_bridge_ovs": (LAN, "ovsbr0", "ovsbr0", ("eth1", "ovsbr0", "pw-o1-zqu5k5")),
}
"""By kind: the capture, the name of the resource, its bridge, and ports of that."""


def flagged(kind: str, *lines: str) -> tuple[str, str]:
    """The resource's name, and the capture with flags of ports of its bridge."""
    capture, name, bridge, _ = FLAGS[kind]
    text, key = probe(capture, kind), f"\nmute {bridge} "
    if "ovs_ports" not in text:  # the capture is from before the flags were asked for
        tables = probe(capture, "ovs_tunnel").splitlines()
        text += "".join(f"\n{line}" for line in tables if not line.startswith("ovs_bridges"))
    return name, text + "".join(key + line for line in lines)


@pytest.mark.parametrize("kind", FLAGS)
def test_flags_that_stop_packets_are_drift(kind: str) -> None:
    """At the ports of ours: the update takes them away, and a rollback sets them again."""
    capture, _, bridge, ports = FLAGS[kind]
    name, text = flagged(kind)
    wanted = found(capture, kind, text)[name]
    for port in ports:
        for flags, words in (
            ("NO_STP NO_RECV NO_RECV_STP NO_FWD", "receive forward"),
            ("NO_FLOOD", "flood"),
        ):
            damaged = found(capture, kind, flagged(kind, f"{port} {flags}")[1])[name]
            set_words = " ".join(f"no-{word}" for word in words.split())
            assert damaged == replace(wanted, port_flags=((port, set_words),))  # type: ignore[call-arg]
            steps = wanted.update(damaged)
            assert steps and f"{bridge} {port} {words}" in commands(steps)
            if kind != "ovs_uplink":  # an uplink that was ours stays as it is wanted
                assert f"{bridge} {port} {set_words}" in commands(wanted.undo(damaged, ours=True))


@pytest.mark.parametrize("kind", FLAGS)
def test_other_flags_are_no_drift(kind: str) -> None:
    """Those without an effect, of ports and bridges of others, and those of a controller."""
    capture, _, bridge, ports = FLAGS[kind]
    name, text = flagged(kind)
    wanted = found(capture, kind, text)[name]
    others = (f"{ports[0]} NO_STP NO_RECV_STP NO_PACKET_IN", "tap0 NO_FLOOD", "we ird NO_RECV")
    text = flagged(kind, *others)[1] + f"\nmute br9 {ports[0]} NO_RECV"
    assert found(capture, kind, text)[name] == wanted
    text = flagged(kind, f"{ports[0]} NO_RECV")[1]
    assert found(capture, kind, text)[name] != wanted
    controlled = with_column(text, "ovs_bridges", bridge, "controller", ["uuid", "1-2"])
    assert found(capture, kind, controlled)[name] == wanted


def test_only_flags_are_set_at_a_bridge_with_a_nic() -> None:
    """The host's addresses do not move."""
    wanted = found(LAN, "lan_bridge_ovs")["ovsbr0"]
    before = replace(wanted, port_flags=(("eth1", "no-forward"),))  # type: ignore[call-arg]
    for steps in (wanted.update(before), wanted.undo(before, ours=True)):
        assert steps is not None and "add-br" not in commands(steps)


@pytest.mark.parametrize(
    ("example", "bridges"),
    [("ovs-gre", ["ov-tun-h4afpi", "phy-eth1"]), ("pipework-ovs", ["ovsbr0"]), ("routes", [])],
)
def test_a_controller_is_named(example: str, bridges: list[str]) -> None:
    """Of the bridges of ours, not of others."""
    inventory = load(ROOT / f"inventories/{example}.yml")
    of_hosts = facts(inventory, {"docker": dict.fromkeys(inventory.hosts, "26.1.5")})
    assert not [*preflight.warnings(inventory, of_hosts)]
    rows = [[bridge, ["set", [["uuid", "1-2"]]]] for bridge in (*bridges, "br9")]
    rows.append(["br10", ["set", []]])
    printed = json.dumps({"headings": ["name", "controller"], "data": rows})
    read = ovs_facts.PROBE.parse(f"datapath kernel\novs_bridges {printed}")
    assert read == OvsFacts(kernel_datapath=True, controlled=frozenset((*bridges, "br9")))
    ours = OvsFacts(controlled=frozenset((*bridges, "br9")))
    host = replace(of_hosts["h1"], of_methods={**of_hosts["h1"].of_methods, OvsFacts: ours})
    warnings = [str(each) for each in preflight.warnings(inventory, {**of_hosts, "h1": host})]
    assert len(warnings) == len(bridges)
    for warning, bridge in zip(warnings, bridges, strict=True):
        assert f"h1: an OpenFlow controller governs {bridge}: " in warning


# As Open vSwitch 3.1 to 4.0 print them with --no-stats.
DUMPED = """ priority=0 actions=NORMAL
 actions=drop
 in_port=1 actions=drop
 priority=7,ip actions=NORMAL
 cookie=0x5, reset_counts priority=9 actions=drop
"""
# Those of a port with a name of 15 letters, of a tunnel, and of the bridge itself.
PORTS_DUMPED = """OFPST_PORT_DESC reply (xid=0x2):
 1(oo-tun-h4afpi-x): addr:b2:4e:15:ec:46:9a
     config:     NO_STP NO_RECV NO_RECV_STP NO_FWD
     state:      0
     current:    10GB-FD COPPER
     speed: 10000 Mbps now, 0 Mbps max
 2(gre-h2-y4rqzi): addr:46:db:ee:4b:e7:73
     config:     NO_FLOOD
     state:      0
     speed: 0 Mbps now, 0 Mbps max
 3(quiet): addr:46:db:ee:4b:e7:74
     config:     NO_RECV_STP NO_PACKET_IN
     state:      0
 LOCAL(br): addr:2a:af:63:90:5a:45
     config:     PORT_DOWN NO_RECV
     state:      LINK_DOWN
"""
OFCTL = """#!/bin/sh
echo "$*" >>"$0.log"
case $* in
*"-O OpenFlow10 "*) [ ! -e "$0.only13" ] || exit 1 ;;
esac
case $* in
*dump-flows*) cat "$0.flows" ;;
*dump-ports-desc*) cat "$0.ports" ;;
esac
"""
VSCTL = """#!/bin/sh
echo "$*" >>"$0.log"
case $* in
*" get bridge br fail_mode") echo secure ;;
*" port-to-br gre-h2-y4rqzi") echo br ;;
*port-to-br*) exit 1 ;;
esac
"""


@pytest.fixture
def ofctl(tmp_path: Path) -> Iterator[Path]:
    """A fake ovs-ofctl, and the socket of a bridge `br`."""
    program = tmp_path / "ovs-ofctl"
    program.write_text(OFCTL)
    program.chmod(0o755)
    (tmp_path / "ovs-ofctl.flows").write_text(DUMPED)
    (tmp_path / "ovs-ofctl.ports").write_text(PORTS_DUMPED)
    (tmp_path / "ovs-vsctl").write_text(VSCTL)
    (tmp_path / "ovs-vsctl").chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "br.mgmt"))
        yield program


def run(ofctl: Path, text: str) -> str:
    """Run shell text with the fake command; its stdout."""
    environment = {"PATH": f"{ofctl.parent}:/usr/bin:/bin"}
    argv = ("sh", "-c", text)
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_probe_prints_the_flows_that_take_all_packets(ofctl: Path) -> None:
    """Those with a match are left out, and so are bridges that are not there.

    Of the ports, the probe prints those with a flag that stops packets.
    """
    text = program_text("look/prelude.sh")
    for _ in ("a bridge that speaks OpenFlow 1.0", "one that does not"):
        printed = run(ofctl, f"{text}\nflows {ofctl.parent}/br.mgmt {ofctl.parent}/x-*.mgmt")
        assert printed.splitlines() == [
            "flows br",
            "flow br priority=0 actions=NORMAL",
            "flow br actions=drop",
            "flow br priority=9 actions=drop",
            "mute br oo-tun-h4afpi-x NO_STP NO_RECV NO_RECV_STP NO_FWD",
            "mute br gre-h2-y4rqzi NO_FLOOD",
            "mute br br PORT_DOWN NO_RECV",
        ]
        Path(f"{ofctl}.only13").touch()
    ofctl.write_text("#!/bin/sh\nexit 1\n")
    assert run(ofctl, f"{text}\nflows {ofctl.parent}/br.mgmt") == ""


def test_a_repair_deletes_flows_that_drop_all_packets(ofctl: Path) -> None:
    """Flows for some packets stay. The flow would be lost again in the mode `secure`."""
    run(ofctl, commands(repairs("br", lacks=FLOW)))
    log = Path(f"{ofctl}.log").read_text().splitlines()
    assert [line.split(" ", 4)[4] for line in log] == [
        "--no-stats dump-flows br table=0",
        "--strict del-flows br table=0",
        "--strict del-flows br table=0,priority=9",
        "add-flow br table=0,priority=0,actions=NORMAL",
    ]
    log = (ofctl.parent / "ovs-vsctl.log").read_text().splitlines()
    assert log[-1] == "-t 30 set bridge br fail_mode=standalone"


def test_a_repair_sets_flags_of_ports_that_are_there(ofctl: Path) -> None:
    """Also of a bridge that does not speak OpenFlow 1.0; the bridge itself is a port, too."""
    ports = ("gre-h2-y4rqzi", "gone", "br")
    steps = repairs("br", flags=tuple((port, "no-receive no-flood") for port in ports))
    run(ofctl, commands(steps))
    expected = [
        f"-t 10 -O OpenFlow10 mod-port br {port} {word}"
        for port in ("br", "gre-h2-y4rqzi")
        for word in ("receive", "flood")
    ]
    assert Path(f"{ofctl}.log").read_text().splitlines() == expected
    Path(f"{ofctl}.only13").touch()
    run(ofctl, commands(steps))
    log = Path(f"{ofctl}.log").read_text().splitlines()[len(expected) :]
    assert log[1] == "-t 10 -O OpenFlow13,OpenFlow14,OpenFlow15 mod-port br br receive"
