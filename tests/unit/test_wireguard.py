"""Method `wireguard`: its peers, the file of peers, its checks, and why a host cannot join."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from provision.checks import wire
from provision.checks.wire import ContainerPair
from provision.engine import preflight
from provision.engine.desired import wanted
from provision.engine.joint_changes import conflicts
from provision.engine.plan import plan
from provision.engine.rotation import renewal_file
from provision.facts.peer_routes import PeerRoutes
from provision.inventory.load import load
from provision.methods.wireguard import status
from provision.methods.wireguard.facts import WireguardFacts
from provision.methods.wireguard.method import WireguardMethod
from provision.methods.wireguard.peers import next_hop
from provision.model.errors import UsageError
from provision.model.inventory import Inventory
from provision.resources import script
from provision.resources.base import Origin, Ref, State
from provision.resources.kinds.package import Package
from provision.resources.kinds.wireguard import Wireguard
from provision.resources.kinds.wireguard_key import WireguardKey
from provision.resources.lib import wireguard_conf as conf
from provision.resources.lib.wireguard_conf import Peer
from provision.resources.on_hosts import Mark
from provision.resources.render import program_text
from provision.resources.steps import Run
from tests.cases.test_cases import facts
from tests.house.test_structure import ROOT

DOCKER = {"h1": "26.1.5", "h2": "20.10.24", "h3": "28.5.2"}
HOSTS = ["h1", "h2", "h3"]
KEYS = {"docker": DOCKER, "keys": HOSTS}
DEVICE = "wg-priva-vfdihm"


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    """The example wireguard.yml."""
    return load(ROOT / "inventories" / "wireguard.yml")


def device(inventory: Inventory, host: str, case: dict[str, Any]) -> Wireguard:
    """The planned device of a host."""
    resource = wanted(inventory, facts(inventory, case))[Ref(host, "wireguard", DEVICE)]
    assert isinstance(resource, Wireguard)
    return resource


@pytest.mark.parametrize(
    ("host", "target", "hop"),
    [
        ("h1", "h2", "h2"),
        ("h4", "h2", "h1"),
        ("h4", "h1", "h1"),
        ("h2", "h4", "h1"),
        ("h1", "h4", "h4"),
        ("h4", "h5", "h1"),
        ("h1", "h5", "h2"),
        ("h5", "h4", "h2"),
    ],
)
def test_packets_take_the_way_of_both_relays(host: str, target: str, hop: str) -> None:
    """h4 has `via: h1`, h5 `via: h2`; each step ends at the target."""
    via = {"h4": "h1", "h5": "h2"}.get
    assert next_hop(host, target, via) == hop
    steps = 0
    while host != target:
        host, steps = next_hop(host, target, via), steps + 1
        assert steps <= 3


def test_the_file_of_peers_is_read_as_it_was_written() -> None:
    """Relays, callers and preshared keys included; the file itself holds no secret."""
    networks = (IPv4Network("172.26.1.0/24"), IPv4Network("172.26.3.0/24"))
    peers = (
        Peer("h2", "AAA=", networks, "10.0.0.2:51820", 25),
        Peer("h3", "BBB=", networks[:1], "", 0, preshared=True),
    )
    text = conf.text(Mark("safe", "private"), 51820, peers, ("h4 through h2",))
    assert tuple(conf.peers(text)) == peers
    assert conf.port(text) == 51820 and conf.relayed(text) == ("h4 through h2",)
    assert "PresharedKey" not in text and "PrivateKey" not in text


def test_a_peer_that_does_not_answer_keeps_its_row(inventory: Inventory) -> None:
    """Its key is as the host knows it; a peer that never had a key has no row."""
    states = facts(inventory, {**KEYS, "unseen": ["h3"]})
    known = WireguardFacts(keys={"private": "key-of-h1="}, peers={"private": {"h3": "old="}})
    states["h1"] = replace(states["h1"], of_methods={WireguardFacts: known})
    resource = wanted(inventory, states)[Ref("h1", "wireguard", DEVICE)]
    assert isinstance(resource, Wireguard)
    assert [(peer.host, peer.public) for peer in resource.peers] == [
        ("h2", "key-of-h2="),
        ("h3", "old="),
    ]
    assert device(inventory, "h1", {"docker": DOCKER, "keys": ["h1", "h2"]}).peers[-1].host == "h2"


def test_a_key_that_is_asked_for_replaces_the_one_before(inventory: Inventory) -> None:
    """The request is a file; a rollback has the key back without the request, and loads the key."""
    text = "root 600 private key1=\nrenew private\nroot 600 other key2=\n"
    asked, plain = (found.resource for found in WireguardKey.parse(text, Origin("h1", "safe")))
    key = wanted(inventory, facts(inventory, KEYS))[Ref("h1", "wireguard_key", "private")]
    assert isinstance(asked, WireguardKey) and asked.renewal and key.update(asked) is None
    assert isinstance(plain, WireguardKey) and not plain.renewal and key.update(plain)
    request = WireguardMethod().renewal_file(inventory, inventory.networks["private"])
    assert request == "/etc/provision/safe/wireguard/private.renew"
    for steps in (key.stash("t"), key.delete()):
        assert ("rm", "-f", "--", request) in [
            step.argv[:4] for step in steps if isinstance(step, Run)
        ]
    for steps in (key.stash("t")[1:], key.unstash("t"), key.drop_stash("t")):
        assert request not in repr(steps) and "wireguard/private.key" in repr(steps)
    assert DEVICE in repr(key.unstash("t")[-1])


def test_a_rollback_that_does_not_ask_for_a_key_again_is_complete(tmp_path: Path) -> None:
    """A host compares the names of its files with those from before the change."""
    text = program_text("guard/fingerprint.sh").partition("echo '# files'\n")[2]
    assert "/etc/provision" in text and "/var/lib/provision" in text
    text = text.replace("/etc/", f"{tmp_path}/etc/").replace("/var/", f"{tmp_path}/var/")
    folder = tmp_path / "etc/provision/safe/wireguard"
    folder.mkdir(parents=True)
    for name in ("private.key", "private.renew"):
        (folder / name).touch()
    process = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    assert process.stdout.split() == [f"{folder}/private.key"]


def renewing(inventory: Inventory, **running: str) -> State:
    """The wanted state when h2 has the key `new=`, and its device another one."""
    states, known = facts(inventory, KEYS), {"private": {"h2": "key-of-h2="}}
    for host in HOSTS:
        key = "new=" if host == "h2" else f"key-of-{host}="
        used = {DEVICE: running.get(host, key)}
        found = WireguardFacts(keys={"private": key}, peers=known, running=used)
        states[host] = replace(states[host], of_methods={WireguardFacts: found})
    return wanted(inventory, states)


def test_peers_keep_the_key_that_a_host_still_uses(inventory: Inventory) -> None:
    """h2 changes its device last; when it has, no peer names the earlier key."""
    state = renewing(inventory, h2="key-of-h2=")
    refs = {host: Ref(host, "wireguard", DEVICE) for host in HOSTS}
    first, second = state[refs["h1"]], state[refs["h2"]]
    assert isinstance(first, Wireguard) and isinstance(second, Wireguard)
    assert [(p.host, p.public, p.replaces) for p in first.peers] == [
        ("h2", "new=", "key-of-h2="),
        ("h3", "key-of-h3=", ""),
    ]
    assert {refs["h1"], refs["h3"]} <= set(second.after())
    assert refs["h2"] not in first.after()
    text = conf.text(first.mark, 51820, first.peers)
    assert tuple(conf.peers(text)) == first.peers and "# replaces key-of-h2=" in text
    for used in ("new=", "damaged=", ""):
        state = renewing(inventory, h2=used)
        assert all(not p.replaces for p in state[refs["h1"]].peers)  # type: ignore[attr-defined]
        assert not {refs["h1"], refs["h3"]} & set(state[refs["h2"]].after())


def test_a_key_that_the_peers_do_not_know_is_loaded_with_them_alone(inventory: Inventory) -> None:
    """The change that drew it was confirmed by hand; a key that nobody knows is damage."""
    ref = Ref("h2", "wireguard", DEVICE)
    for old, peers in (("key-of-h2=", "h1, h3"), ("damaged=", ""), ("new=", "")):
        after = renewing(inventory, h2=old)[ref]
        assert isinstance(after, Wireguard)
        changes = plan({ref: replace(after, public=old, mtu=1000)}, {ref: after}).changes
        assert len(changes) == 1
        limited = [each.message for each in conflicts(inventory, changes, [("h2",)])]
        assert limited == ([f"{peers} would not learn its new key"] if peers else [])
        assert not tuple(conflicts(inventory, changes, [tuple(HOSTS)]))


def test_only_networks_with_keys_can_change_them(inventory: Inventory) -> None:
    """A name that does not exist, and a method without keys, are told before a host is asked."""
    with pytest.raises(UsageError, match="unknown network 'x'"):
        renewal_file(inventory, "x")
    with pytest.raises(UsageError, match="network 'core' has no keys: its method is bgp"):
        renewal_file(load(ROOT / "inventories" / "bgp.yml"), "core")


def test_a_device_goes_before_the_service_that_holds_it() -> None:
    """A rollback starts the service first, and then gives its new device the peers."""
    origin = Origin("h1", "safe", networks=(("private", IPv4Network("172.26.0.0/16")),))
    link = f'link [{{"ifname":"{DEVICE}","linkinfo":{{"info_kind":"tun"}}}}]'
    (found,) = Wireguard.parse(f"{link}\n", origin)
    service = "provision-safe-private-wireguard.service"
    assert found.resource.requires() == (Ref("h1", "service", service),)
    (kernel,) = Wireguard.parse(f"{link.replace('tun', 'wireguard')}\n", origin)
    assert kernel.resource.requires() == ()


def test_a_new_peer_does_not_change_the_script_of_the_follower(inventory: Inventory) -> None:
    """The peers are in a file that survives the reboot."""
    before = device(inventory, "h1", {"docker": DOCKER, "keys": ["h1", "h2"]})
    after = device(inventory, "h1", KEYS)
    assert before != after
    assert script.standalone([before.restore()]) == script.standalone([after.restore()])
    assert script.standalone([before.create()]) != script.standalone([after.create()])


def test_wireguard_go_is_installed_only_without_the_kernels_module(inventory: Inventory) -> None:
    """Both need the package of `wg`."""
    states = facts(inventory, {**KEYS, "kernel_wireguard": ["h2"]})
    tools = {
        host: {
            resource.tool
            for resource in wanted(inventory, states).values()
            if isinstance(resource, Package) and resource.host == host
        }
        for host in HOSTS
    }
    assert {host: "wireguard-go" in names for host, names in tools.items()} == {
        "h1": True,
        "h2": False,
        "h3": True,
    }
    assert all("wg" in names for names in tools.values())


@pytest.mark.parametrize(
    ("known", "message", "hint"),
    [
        (WireguardFacts(tun=False), "neither WireGuard nor /dev/net/tun", "modprobe tun"),
        (WireguardFacts(ports={"wg0": 51820}), "wg0 has UDP port 51820", "port: 51821"),
        (WireguardFacts(ports={"wg0": 51821, DEVICE: 51820}), "", ""),
        (WireguardFacts(kernel=True, tun=False), "", ""),
    ],
)
def test_preflight_names_the_cause(
    inventory: Inventory, known: WireguardFacts, message: str, hint: str
) -> None:
    """A host without a way to run WireGuard, or whose port another device has."""
    states = facts(inventory, KEYS)
    states["h1"] = replace(states["h1"], of_methods={WireguardFacts: known})
    problems = [p for p in preflight.problems(inventory, states) if p.host == "h1"]
    assert len(problems) == bool(message)
    assert all(message in p.message and hint in p.hint for p in problems)


def test_only_hosts_that_are_called_at_their_address_need_a_route(tmp_path: Path) -> None:
    """The endpoint of h2 is a router, and h3 is reached through h1."""
    example = (ROOT / "inventories/wireguard.yml").read_text()
    for old, new in (
        ("10.78.0.12}", '192.168.7.4, wireguard: {endpoint: "203.0.113.7:4000"}}'),
        ("10.78.0.13}", "192.168.8.5, wireguard: {endpoint: none, via: h1}}"),
    ):
        assert old in example
        example = example.replace(old, new)
    (tmp_path / "inventory.yml").write_text(example)
    inventory = load(tmp_path / "inventory.yml")
    states = facts(inventory, KEYS)
    states["h1"] = replace(states["h1"], peer_routes=PeerRoutes({}))
    assert not preflight.problems(inventory, {"h1": states["h1"]})
    states["h2"] = replace(states["h2"], peer_routes=PeerRoutes({}))
    (problem,) = preflight.problems(inventory, {"h2": states["h2"]})
    assert "no route to h1" in problem.message


STATUS = """now 1000
wireguard private up
wireguard private key2= 10.78.0.12:51820 172.26.1.0/24 {age2} 10 20
wireguard private {key3} 10.78.0.13:51820 {allowed3} {age3} 0 0
conf private # h2
conf private [Peer]
conf private PublicKey = key2=
conf private AllowedIPs = 172.26.1.0/24
conf private
conf private # h3
conf private [Peer]
conf private PublicKey = key3=
conf private AllowedIPs = 172.26.2.0/24
"""
RIGHT = {"age2": 990, "age3": 900, "key3": "key3=", "allowed3": "172.26.2.0/24"}


@pytest.mark.parametrize(
    ("change", "handshake", "peers"),
    [
        ({}, "", ""),
        ({"age2": 0}, "none with h2", ""),
        ({"age3": 700}, "the last one with h3 is 300 s old", ""),
        ({"key3": "x="}, "", "a peer x= that is no host of the network; no peer h3"),
        ({"allowed3": "172.26.2.0/24,10.0.0.0/8"}, "", "h3 may send from 10.0.0.0/8, 172.26.2"),
        ({"allowed3": "(none)"}, "", "h3 may send from nothing"),
    ],
)
def test_the_checks_read_the_peers_of_a_device(
    inventory: Inventory, change: dict[str, Any], handshake: str, peers: str
) -> None:
    """A fault of one is not reported by the other."""
    network = inventory.networks["private"]
    statuses = status.parse("h1", (network,), STATUS.format(**{**RIGHT, **change}))
    host = facts(inventory, KEYS)["h1"]
    for error, expected in (
        (status.handshake_error(inventory, network, host, statuses), handshake),
        (status.peers_error(inventory, network, host, statuses), peers),
    ):
        assert expected in error and bool(error) == bool(expected), error


def test_a_device_that_does_not_answer_fails_both_checks(inventory: Inventory) -> None:
    """The error of `wg` is the reason; without any answer, that is."""
    network = inventory.networks["private"]
    host = facts(inventory, KEYS)["h1"]
    answers = {"wireguard private error No such device": "No such device", "": "no answer"}
    for text, reason in answers.items():
        statuses = status.parse("h1", (network,), text)
        for check in WireguardMethod.checks:
            assert check.error(inventory, network, host, statuses) == reason


SEALED = "wireguard 51820 10.78.0.11 10.78.0.12 10.78.0.11 10.78.0.12 9"
READABLE = "readable 51820 10.78.0.11 10.78.0.12 10.78.0.11 10.78.0.12 1"
PLAIN = "plain 0 172.26.0.2 172.26.1.2 172.26.0.2 172.26.1.2 9"
FOUND = "udp 51820 10.78.0.11 10.78.0.12 172.26.0.2 172.26.1.2 1"
INSIDE = (f"br-x in {PLAIN}", f"wg-x out {PLAIN}")
WIRE = {
    "encrypted": ((*INSIDE, f"eth1 out {SEALED}"), ""),
    "nothing": (INSIDE, "no wireguard (port 51820) traffic leaves h1"),
    "past the tunnel": (
        (*INSIDE, f"eth1 out {SEALED}", f"eth1 out {PLAIN}"),
        "unencapsulated traffic leaves h1",
    ),
    "readable data": (
        (f"eth1 out {SEALED}", f"eth1 out {READABLE}"),
        "readable data inside the encryption leaves h1",
    ),
    "readable addresses": (
        (f"eth1 out {SEALED}", f"eth1 out {FOUND}"),
        "udp (port 51820) traffic 10.78.0.11 → 10.78.0.12 leaves h1",
    ),
}


@pytest.mark.parametrize("case", WIRE)
def test_nothing_may_be_readable_between_the_hosts(inventory: Inventory, case: str) -> None:
    """Nobody can tell the containers of an encrypted packet, so the hosts' packets count."""
    lines, expected = WIRE[case]
    pair = (inventory.containers["s1"], inventory.containers["s2"])
    ends = (IPv4Address("172.26.0.2"), IPv4Address("172.26.1.2"))
    texts = {"h1": lines, "h2": (f"eth1 in {SEALED}",)}
    captures = {
        host: wire.parse("".join(f"frame {line}\n" for line in lines) + "lost 0\n")
        for host, lines in texts.items()
    }
    assert ContainerPair(inventory, pair, ends, captures).traffic_error() == expected


def test_the_sniffer_finds_a_header_and_the_checks_data(tmp_path: Path) -> None:
    """`unseal` reads a packet at a sealed port; a header with a wrong checksum is random data."""
    program = (ROOT / "templates/checks/wire.pl").read_text()
    functions = program[program.index("sub ip_ends") : program.index("sub decapsulate")]
    test = tmp_path / "unseal.pl"
    test.write_text(f"""use strict; use warnings; use Socket;
my @nets = ([unpack('N', inet_aton('172.26.0.0')), 0xffff0000]);
{functions}
my $outer = pack('C4 n2 C2 n a4 a4', 0x45, 0, 0, 0, 0, 0, 64, 17, 0,
  inet_aton('10.78.0.11'), inet_aton('10.78.0.12'));
sub header {{
  my ($from, $to) = @_;
  my $header = pack('C2 n n2 C2 n a4 a4', 0x45, 0, 84, 0, 0, 64, 1, 0,
    inet_aton($from), inet_aton($to));
  my $sum = unpack('%32n*', $header); $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
  substr($header, 10, 2) = pack('n', ~$sum & 0xffff);
  return $header;
}}
my $good = header('172.26.0.2', '172.26.1.2');
my $bad = $good; substr($bad, 11, 1) ^= "\\x01";
my $udp = pack('n4', 51820, 51820, 0, 0);
my $type = pack('V', 4);
my $other = header('10.0.0.1', '172.26.1.2');
for my $data ($type . 'x' x 40 . $good, $type . $bad, $type . $other, $type . 'u' x 40,
    pack('V', 9), pack('V', 1)) {{
  print join(' ', unseal($udp . $data, 51820, $outer)), "\\n";
}}
""")
    done = subprocess.run(["perl", str(test)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    hosts = "10.78.0.11 10.78.0.12"
    assert done.stdout.splitlines() == [
        "udp 51820 172.26.0.2 172.26.1.2",
        f"wireguard 51820 {hosts}",
        f"wireguard 51820 {hosts}",
        f"readable 51820 {hosts}",
        "",
        f"wireguard 51820 {hosts}",
    ]
