"""Containers on the hosts' LAN whose packets pass the host: published ports, and their own way out.

The rules beside ours are those that Docker makes; the kernel is this machine's.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.engine import desired
from provision.inventory.load import load
from provision.model.names import interface_name
from provision.resources.base import Origin
from provision.resources.kinds.iptables_chain import IptablesChain
from tests.cases.test_cases import facts
from tests.netns.test_kinds import Namespace, namespace

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

FILE = """
name: lan
hosts: {{h1: {{address: 10.78.0.11}}, h2: {{address: 10.78.0.12}}}}
networks:
  lan: {{method: pipework, cidr: 10.78.0.0/24, pool: 10.78.0.224/28, {keys}}}
containers:
  web: {{host: h1, network: lan, address: 10.78.0.225{ports}}}
  c2: {{host: h2, network: lan}}
"""
# The container has the router as its gateway; `far` is a client by another NIC of the host.
LINKS = r"""
mkdir -p /run/netns
for name in web lan far; do ip netns add $name; ip -n $name link set lo up; done
ip link add bri0 type bridge; ip link set bri0 up
for name in web lan; do
  ip link add $name type veth peer name eth0 netns $name; ip link set $name master bri0 up
  ip -n $name link set eth0 up
done
ip link add far type veth peer name eth0 netns far; ip link set far up; ip -n far link set eth0 up
ip address add 198.51.100.1/24 dev far; ip -n far address add 198.51.100.2/24 dev eth0
ip -n far route add default via 198.51.100.1
ip -n lan address add 10.78.0.20/24 dev eth0; ip -n lan address add 10.78.0.254/24 dev eth0
ip -n web address add 10.78.0.225/24 dev eth0
ip -n web route add default via $ROUTER
sysctl -q -w net.ipv4.ip_forward=1
# With br_netfilter, connections from the LAN go to Docker's proxy, which is not here.
sysctl -q -w net.bridge.bridge-nf-call-iptables=0 2>/dev/null || :
if [ $HOLDER != bri0 ]; then
  ip link add $HOLDER type veth peer name peer
  ip link set peer master bri0 up; ip link set $HOLDER up
  echo 8 >/proc/sys/net/ipv4/conf/bri0/arp_ignore
fi
ip address add 10.78.0.11/24 dev $HOLDER
"""
DOCKER = r"""
iptables -P FORWARD DROP
iptables -N DOCKER-PORTS
iptables -A FORWARD -o bri0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A FORWARD -o bri0 -j DOCKER-PORTS
iptables -A FORWARD -i bri0 ! -o bri0 -j ACCEPT
iptables -A FORWARD -i bri0 -o bri0 -j ACCEPT
iptables -A DOCKER-PORTS -d 10.78.0.225/32 ! -i bri0 -o bri0 -p tcp --dport 80 -j ACCEPT
iptables -t nat -N DOCKER
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A DOCKER ! -i bri0 -p tcp --dport 8080 -j DNAT --to-destination 10.78.0.225:80
"""
SERVER = r"""
ip netns exec web perl -MIO::Socket::INET -e '
  my $s = IO::Socket::INET->new(LocalPort => 80, Listen => 5, ReuseAddr => 1) or die;
  open my $f, ">", "/run/ready"; close $f;
  while (my $c = $s->accept) { print $c "web\n"; close $c }' </dev/null >/dev/null 2>&1 &
until [ -e /run/ready ]; do sleep 0.05; done
"""
CALL = r"""
timeout 3 {enter} perl -MIO::Socket::INET -e '
  my $s = IO::Socket::INET->new(PeerAddr => "{address}", PeerPort => 8080, Timeout => 2) or exit 1;
  print scalar <$s>' || echo no answer
"""
LAN, FAR, OWN = (
    ("ip netns exec lan", "10.78.0.11"),
    ("ip netns exec far", "198.51.100.1"),
    ("", "198.51.100.1"),
)


def answered(namespace: Namespace, *callers: tuple[str, str]) -> list[str]:
    """What each caller, a command prefix and the address that it calls, is answered."""
    calls = (CALL.format(enter=enter, address=address) for enter, address in callers)
    return [namespace.sh(call).strip() for call in calls]


@pytest.mark.parametrize(
    ("keys", "router", "callers"),
    [
        ("gateway: 10.78.0.254", "10.78.0.254", (FAR, OWN)),
        ("gateway: 10.78.0.254, host_port: veth", "10.78.0.254", (LAN, FAR, OWN)),
        ("host_port: veth", "10.78.0.11", (LAN, FAR)),
    ],
)
def test_a_published_port_of_a_container_on_the_lan_answers(
    namespace: Namespace,
    tmp_path: Path,
    keys: str,
    router: str,
    callers: tuple[tuple[str, str], ...],
) -> None:
    """To clients on the LAN, behind another NIC, and on the host itself."""
    chains = chains_of(tmp_path, keys, ', ports: ["8080:80"]')
    holder = interface_name("host-", "lan", "lan") if "veth" in keys else "bri0"
    namespace.sh(f"ROUTER={router} HOLDER={holder}\n{LINKS}\n{DOCKER}\n{SERVER}")
    for chain in chains_of(tmp_path, keys, ""):
        namespace.do(chain.create())
    assert answered(namespace, *callers) == ["no answer"] * len(callers)
    for chain in chains:
        namespace.do(chain.update(chain))
    assert answered(namespace, *callers) == ["web"] * len(callers)
    found = namespace.existing(IptablesChain, "lan", origin=Origin("h1", "lan"))
    assert [found[chain.name] for chain in chains] == [(chain, True) for chain in chains]


@pytest.mark.parametrize(
    ("keys", "answer"),
    [("", ", 0% packet loss"), (", egress: none", ", 100% packet loss")],
    ids=["egress", "no egress"],
)
def test_a_container_leaves_by_a_host_whose_address_is_on_a_veth(
    namespace: Namespace, tmp_path: Path, keys: str, answer: str
) -> None:
    """Docker accepts packets that come by the bridge, and these come by the veth."""
    (crossing, *_) = chains = chains_of(tmp_path, f"host_port: veth{keys}", "")
    holder = interface_name("host-", "lan", "lan")
    namespace.sh(f"ROUTER=10.78.0.11 HOLDER={holder}\n{LINKS}\n{DOCKER}")
    for chain in chains:
        namespace.do(chain.create())
    assert answer in namespace.sh("ip netns exec web ping -c 1 -W 1 198.51.100.2 || :")
    found = namespace.existing(IptablesChain, "lan", origin=Origin("h1", "lan"))
    assert found[crossing.name] == (crossing, True)


def chains_of(folder: Path, keys: str, ports: str) -> list[IptablesChain]:
    """The chains of h1."""
    path = folder / "lan.yml"
    path.write_text(FILE.format(keys=keys, ports=ports))
    inventory = load(path)
    wanted = desired.wanted(
        inventory, facts(inventory, {"docker": dict.fromkeys(("h1", "h2"), "26.1.5")})
    )
    return [r for r in wanted.values() if isinstance(r, IptablesChain) and r.host == "h1"]
