"""The check `udp` passes only by the target's own answer, not by that of a firewall."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from provision.checks import probe, wire
from provision.checks.probe import Answer, Endpoint
from provision.inventory.load import load
from provision.resources.script import quoted
from tests.lab.hosts import INVENTORIES

pytestmark = pytest.mark.netns
ROUTED, BRIDGED = IPv4Address("10.9.2.2"), IPv4Address("10.9.1.3")
MTU = 1500
ARRIVED = Answer(0, f"a datagram of {MTU} bytes arrived whole")
# The middle routes between near and far, and bridges near with a second interface of far.
_JOIN = r"""
for end in near far peer; do ip link add name "$end" type veth peer name p netns "$1"; shift
  ip link set dev "$end" up
done
ip link add name br0 type bridge; ip link set dev br0 up
ip link set dev near master br0; ip link set dev peer master br0
ip address add 10.9.1.254/24 dev br0; ip address add 10.9.2.254/24 dev far
sysctl -qw net.ipv4.ip_forward=1
"""
_ROUTED = "ip address add {}/24 dev p; ip link set p up; ip route add default via {}.254"
# What nft_reject_bridge does (net/ipv4/netfilter/nf_reject_ipv4.c), which this kernel may lack: an
# answer in the target's name, with 536 bytes of the datagram.
_FORGER = r"""
use strict; use warnings; use Socket;
socket(my $tap, 17, SOCK_DGRAM, unpack('S', pack('n', 0x0800))) or die;
socket(my $raw, PF_INET, SOCK_RAW, 255) or die;
exit if fork();
close STDOUT; close STDERR; alarm 60;
sub sum {
  my $sum = unpack '%32n*', shift;
  $sum = ($sum & 65535) + ($sum >> 16) while $sum >> 16;
  return ~$sum & 65535;
}
while (recv($tap, my $packet, 65535, 0)) {
  next if ord(substr $packet, 9, 1) != 17 || substr($packet, 16, 4) ne inet_aton($ARGV[0]);
  my $icmp = pack('CCnN', 3, 3, 0, 0) . substr $packet, 0, 536;
  substr($icmp, 2, 2) = pack('n', sum($icmp));
  my ($source, $target) = (substr($packet, 12, 4), substr($packet, 16, 4));
  my $head = pack('CCnnnCCn', 0x45, 0, 20 + length $icmp, 0, 0, 64, 1, 0);
  send($raw, $head . $target . $source . $icmp, 0, scalar sockaddr_in(0, $source));
}
"""
_UDP = f"FORWARD -d {ROUTED} -p udp"
_NFT = f"ip daddr {ROUTED} ip protocol udp"
REJECTS = {
    "iptables": f"iptables -A {_UDP} -j REJECT",
    "admin": f"iptables -A {_UDP} -j REJECT --reject-with icmp-admin-prohibited",
    "nft": "nft add table ip x; nft 'add chain ip x f { type filter hook forward priority 0; }'"
    f"; nft add rule ip x f {_NFT} reject",
    "forged": f"iptables -A {_UDP} -j DROP; " + quoted(("perl", "-e", _FORGER, str(ROUTED))),
}
WORDS = {
    "iptables": "10.9.1.254 rejects datagrams on their way",
    "admin": "receive: No route to host",
    "nft": "10.9.1.254 rejects datagrams on their way",
    "forged": "a bridge rejects datagrams on their way",
}


@pytest.fixture
def spaces() -> Iterator[tuple[int, int]]:
    """The namespace of a source, and of the machine between it and its two targets."""
    argv = ("unshare", "-n", "sh", "-c", "echo up; exec sleep 300")
    processes = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == "up\n"
        near, middle, far, peer = (process.pid for process in processes)
        _inside(middle, _JOIN, *map(str, (near, far, peer)))
        for pid, address in ((near, "10.9.1.2"), (far, str(ROUTED)), (peer, str(BRIDGED))):
            _inside(pid, _ROUTED.format(address, address.rpartition(".")[0]))
        yield near, middle
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _inside(pid: int, script: str, *arguments: str) -> str:
    argv = ("nsenter", "-t", str(pid), "-n", "sh", "-ec", script, "sh", *arguments)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _udp(near: int) -> dict[str, Answer]:
    source = Endpoint("source", "h1", "", near, IPv4Address("10.9.1.2"), MTU)
    targets = [
        Endpoint(name, "h2", "", near, address, MTU)
        for name, address in (("routed", ROUTED), ("bridged", BRIDGED))
    ]
    script = wire.send_script(load(INVENTORIES / "routes.yml"), {source: targets})
    argv = ("sh", "-c", probe.combined(script))
    process = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    return {
        target: answer for (_, _, target), answer in probe.parse_answers(process.stdout).items()
    }


def test_the_answer_of_the_target_itself_passes(spaces: tuple[int, int]) -> None:
    """Through a router and through a bridge."""
    assert _udp(spaces[0]) == {"routed": ARRIVED, "bridged": ARRIVED}


@pytest.mark.parametrize("reject", REJECTS)
def test_the_answer_of_a_firewall_on_the_way_does_not(spaces: tuple[int, int], reject: str) -> None:
    """A router's has its own address; a bridge forges that of the target."""
    near, middle = spaces
    _inside(middle, REJECTS[reject])
    assert _udp(near) == {"routed": Answer(1, WORDS[reject]), "bridged": ARRIVED}
