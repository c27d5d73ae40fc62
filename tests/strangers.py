"""For each kind, something of a stranger that has the place of one of its resources.

A stranger's thing appears between a snapshot and the change that was planned from it. The tests in
tests/netns make those that this machine's kernel and files can hold, tests/lab the others.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from provision.engine.plan import Operation, operations, plan
from provision.engine.undo import inverse
from provision.resources import script
from provision.resources.base import Resource
from provision.resources.kinds.arp_ignore import ArpIgnore
from provision.resources.kinds.attachment import Attachment
from provision.resources.kinds.binary import Binary
from provision.resources.kinds.certificate import Certificate
from provision.resources.kinds.connection import NetworkConnection
from provision.resources.kinds.container import DockerContainer
from provision.resources.kinds.dns_records import DnsRecords
from provision.resources.kinds.docker0 import DAEMON_JSON, Docker0
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.etcd_config import EtcdConfig
from provision.resources.kinds.etcd_data import EtcdData
from provision.resources.kinds.etcd_lease import EtcdLease
from provision.resources.kinds.file import File
from provision.resources.kinds.firewall_rule import FirewallRule
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.follower_unit import FollowerUnit
from provision.resources.kinds.guest import GuestConnection
from provision.resources.kinds.image import DockerImage
from provision.resources.kinds.image_archive import ImageArchive
from provision.resources.kinds.iptables_chain import IptablesChain, comment
from provision.resources.kinds.lan_bridge import LanBridge
from provision.resources.kinds.lan_bridge_ovs import LanBridgeOvs
from provision.resources.kinds.nft_table import OwnNftTable
from provision.resources.kinds.nic_drop_rule import NicDropRule
from provision.resources.kinds.ovs_bridge import OvsBridge
from provision.resources.kinds.ovs_daemon import OvsDaemon
from provision.resources.kinds.ovs_tunnel import OvsTunnel
from provision.resources.kinds.ovs_uplink import OvsUplink
from provision.resources.kinds.ovs_veth import OvsVeth
from provision.resources.kinds.routes import Routes, row
from provision.resources.kinds.secret_file import SecretFile
from provision.resources.kinds.service import Service
from provision.resources.kinds.shared_namespace import SharedNamespace
from provision.resources.kinds.sysctl import Sysctl
from provision.resources.kinds.tls_file import TlsFile
from provision.resources.kinds.tls_request import TlsRequest
from provision.resources.kinds.vxlan import Vxlan
from provision.resources.kinds.wireguard import USERSPACE, Wireguard
from provision.resources.kinds.wireguard_key import WireguardKey
from provision.resources.kinds.wireguard_psk import WireguardPsk
from provision.resources.lib.nic_records import OriginalNic
from provision.resources.on_hosts import Mark

HOST, NAME = "here", "demo"
MARK = Mark(NAME, "blue")
TXN = "0a"
ETC, WAS = f"/etc/provision/{NAME}", f"/var/lib/provision/was/{NAME}"


@dataclass(frozen=True)
class Stranger:
    """`make` puts something of others in the place of `resource`, `show` prints it.

    `claims` is what an earlier apply of ours has left, in spite of which it is not ours; `clean`
    removes everything.
    """

    resource: Resource
    make: str
    show: str
    claims: str = ":"
    clean: str = ":"


def _file(resource: Resource, path: str, *, claims: str = ":") -> Stranger:
    make = f"mkdir -p {path.rpartition('/')[0]}; echo 'of somebody else' >{path}"
    return Stranger(resource, make, f"cat {path}", claims, f"rm -f {path}")


def _link(resource: Resource, link: str, *, claims: str = ":") -> Stranger:
    make = f"ip link add {link} type bridge"
    return Stranger(resource, make, f"ip -o link show {link}", claims, f"ip link del {link}")


_NIC = OriginalNic("up0", "02:00:00:00:00:01", 1500, "", (), (), (), ())
_RULE = ("-s", "172.20.0.0/16", *comment(MARK), "-j", "ACCEPT")
_UNIT = f"/etc/systemd/system/provision-{NAME}"

KERNEL = (
    Stranger(
        Routes.of(HOST, "blue", NAME, [row("172.20.2.0/24", "192.0.2.9", "up0")]),
        "ip route add 172.20.2.0/24 via 192.0.2.8",
        "ip route show 172.20.2.0/24",
    ),
    Stranger(
        Routes.of(HOST, "old", NAME, [row("172.20.3.0/24", "192.0.2.9", "up0")]),
        "ip route add 172.20.3.0/24 via 192.0.2.8 proto 240; "
        "mkdir -p /etc/provision/other/routes; : >/etc/provision/other/routes/172.20.3.0_24",
        "ip route show 172.20.3.0/24",
    ),
    Stranger(
        Routes.of(HOST, "table", NAME, [row("172.20.4.0/24", "192.0.2.9", "up0")]),
        "ip route add 172.20.4.0/24 via 192.0.2.8 proto 240; mkdir -p /etc/provision/other/routes; "
        "echo 172.20.4.0/24 via 192.0.2.8 dev up0 >/etc/provision/other/routes/blue",
        "ip route show 172.20.4.0/24",
    ),
    Stranger(
        IptablesChain(HOST, "filter", "PROV-demo-blue-x", "DOCKER-USER", (_RULE,), MARK),
        "iptables -N PROV-demo-blue-x; iptables -A PROV-demo-blue-x -s 10.0.0.0/8 -j DROP",
        "iptables -S PROV-demo-blue-x",
    ),
    Stranger(
        OwnNftTable(HOST, "PROV-demo-blue-x", ('iifname "up0" drop',), MARK),
        "nft add table inet PROV-demo-blue-x; nft add chain inet PROV-demo-blue-x theirs",
        "nft list table inet PROV-demo-blue-x",
    ),
    Stranger(
        NicDropRule(HOST, "up0", MARK),
        "iptables -t raw -I PREROUTING -i up0 -j DROP",
        "iptables -t raw -S | grep up0 | grep -v provision",
    ),
    _link(
        Vxlan(
            HOST, "vx-blue-x", 42, 4789, IPv4Address("192.0.2.1"), "0a:00:00:00:00:01", 1450,
            True, "", None, (), MARK,
        ),
        "vx-blue-x",
    ),
    _link(
        Wireguard(HOST, "blue", "wg-blue-x", USERSPACE, 51820, 1420, "", (), MARK),
        "wg-blue-x",
    ),
    _link(OvsVeth(HOST, "oo-blue-x", "ov-blue-x", "oi-blue-x", "br0", 1450, MARK), "oi-blue-x"),
    _link(
        LanBridge(
            HOST, "bri0", "up0", _NIC.mac, 1500, "bri0", False, (), (), MARK,
            original=_NIC,
        ),
        "bri0",
    ),
    Stranger(
        ArpIgnore(HOST, "bri1", NAME),
        "ip link add bri1 type bridge; echo 8 >/proc/sys/net/ipv4/conf/bri1/arp_ignore",
        "cat /proc/sys/net/ipv4/conf/bri1/arp_ignore",
    ),
    _link(
        Attachment(
            HOST, "web", "eth1", "bridge", "br0", "pw-web-x", "", 0, 0, (), (), (), NAME,
        ),
        "pw-web-x",
        claims=f"mkdir -p {ETC}/attachments/web; echo 'bridge pw-web-x br0 - - - -' "
        f">{ETC}/attachments/web/eth1",
    ),
    _link(
        Flannel(HOST, "over", "vxlan", "flannel.7", IPv4Network("172.20.0.0/16"), True, NAME),
        "flannel.7",
        claims=f"mkdir -p {ETC}/flannel; echo '{{}}' >{ETC}/flannel/over",
    ),
    Stranger(
        Sysctl(HOST, "net.ipv4.ip_forward", "1", NAME, original="1"),
        "sysctl -qw net.ipv4.ip_forward=0",
        "sysctl net.ipv4.ip_forward",
    ),
    Stranger(
        FirewallRule(
            HOST, "ufw", "", "allow proto udp from 192.0.2.0/24 to any port 4789", NAME,
        ),
        "mkdir -p /etc/ufw; echo '### tuple ### allow udp 4789 0.0.0.0/0 any 192.0.2.0/24 in' "
        ">/etc/ufw/user.rules",
        "cat /etc/ufw/user.rules",
    ),
    _file(File(HOST, f"{ETC}/a", "ours\n", "0644"), f"{ETC}/a"),
    _file(Binary(HOST, "/var/lib/provision/bin/demo/blue/flanneld", "0" * 64, Path("/bin/true")),
          "/var/lib/provision/bin/demo/blue/flanneld"),
    _file(TlsFile(HOST, f"{ETC}/pki/blue.external.key", "0" * 64, source=Path("/bin/true")),
          f"{ETC}/pki/blue.external.key"),
    _file(TlsRequest(HOST, "blue", "member", NAME), f"{ETC}/pki/blue.member.csr"),
    _file(WireguardPsk(HOST, "blue", NAME, "", ("h2",)), f"{ETC}/wireguard/blue.psk"),
    _file(SecretFile(HOST, "blue", "bgp", NAME, (("password", "x"),)), f"{ETC}/secrets/blue.bgp"),
    _file(DnsRecords(HOST, "blue", NAME, ()), f"{ETC}/names/blue.hosts"),
    _file(WireguardKey(HOST, "blue", NAME), f"{ETC}/wireguard/blue.key"),
    _file(
        Certificate(
            HOST, "blue", "member", NAME, (), True, "", "", files=((f"{ETC}/pki/x.crt", "ours"),),
        ),
        f"{ETC}/pki/blue.member.crt",
    ),
    _file(
        EtcdData(HOST, "blue", "ab12", NAME, "provision-demo-blue-etcd.service"),
        "/var/lib/private/provision-etcd/demo/blue.ab12/precious",
    ),
    _file(
        Service(HOST, "provision-demo-blue-etcd.service", MARK, f"# {MARK.tag}\n"),
        f"{_UNIT}-blue-etcd.service",
    ),
    _file(
        FollowerUnit(HOST, "provision-demo-follow.service", NAME, f"# provision:{NAME}\n"),
        f"{_UNIT}-follow.service",
    ),
)  # fmt: skip
"""Strangers in a network and mount namespace."""


_NETWORK = DockerNetwork(
    HOST, "blue", IPv4Network("172.29.7.0/24"), IPv4Address("172.29.7.1"), (), MARK
)
_CONTAINER = DockerContainer(HOST, "web", "lab:1", (), "none", None, "no", MARK)
_INTERFACE = Attachment(
    HOST, "web", "eth1", "macvlan", "eth1", "pw-web-x", "", 0, 0, (), (), (), NAME,
)  # fmt: skip
_SHOW_BLUE = "docker network inspect --format '{{.Id}} {{json .Containers}}' blue"
_DOCKER_RUN = "docker run -d --pull never --network none --name web {0} sleep 1000"
IMAGE = "strange:1"
_OVS = "ovs-vsctl --timeout=20 "


def _lab(image: str) -> tuple[Stranger, ...]:
    web = Stranger(
        _CONTAINER,
        _DOCKER_RUN.format(image),
        "docker inspect --format '{{.Id}} {{.State.Status}}' web",
        clean="docker rm -f web",
    )
    tagged = f"docker tag {image} {IMAGE}"
    show_image = f"docker image inspect --format '{{{{.Id}}}}' {IMAGE}"
    return (
        Stranger(
            _NETWORK,
            "docker network create -d macvlan --subnet 172.29.8.0/24 -o parent=eth1 blue",
            "docker network inspect --format '{{.Id}} {{.Driver}}' blue",
            clean="docker network rm blue",
        ),
        web,
        Stranger(SharedNamespace(HOST, "web", "other", NAME), web.make, web.show, clean=web.clean),
        Stranger(
            GuestConnection(
                HOST, "guest", "blue", "container web", IPv4Address("172.29.9.77"), None, NAME
            ),
            "docker network create --subnet 172.29.9.0/24 blue; "
            f"docker run -d --name web --network blue {image} sleep 1000",
            "docker inspect --format '{{.Id}} {{json .NetworkSettings.Networks}}' web",
            clean="docker rm -f web; docker network rm blue",
        ),
        # A network of others has the name of ours.
        Stranger(
            GuestConnection(HOST, "guest", "blue", "container web", None, None, NAME),
            "docker network create --subnet 172.29.9.0/24 blue; "
            f"docker run -d --name web {image} sleep 1000",
            _SHOW_BLUE,
            clean="docker rm -f web; docker network rm blue",
        ),
        Stranger(
            NetworkConnection(HOST, "web", "blue", "blue", None, None, "red", NAME),
            "docker network create --subnet 172.29.9.0/24 blue; "
            f"docker run -d --label provision={MARK} --name web {image} sleep 1000",
            _SHOW_BLUE,
            clean="docker rm -f web; docker network rm blue",
        ),
        Stranger(
            replace(_CONTAINER, container="mine", image=image, network="blue"),
            "docker network create --subnet 172.29.9.0/24 blue",
            _SHOW_BLUE,
            clean="docker rm -f mine; docker network rm blue",
        ),
        # And a container that of ours, or an id that begins with it.
        Stranger(
            _INTERFACE,
            web.make,
            "nsenter -n -t $(docker inspect -f '{{.State.Pid}}' web) ip -o link",
            clean=web.clean,
        ),
        Stranger(
            NetworkConnection(
                HOST, "web", "red", "red", IPv4Address("172.29.9.77"), None, "blue", NAME
            ),
            "docker network create --subnet 172.29.9.0/24 red; "
            f"docker run -d --name web --network red {image} sleep 1000",
            "docker inspect --format '{{.Id}} {{json .NetworkSettings.Networks}}' web",
            clean="docker rm -f web; docker network rm red",
        ),
        Stranger(
            DockerImage(HOST, IMAGE, NAME), tagged, show_image, clean=f"docker image rm {IMAGE}"
        ),
        Stranger(
            ImageArchive(HOST, IMAGE, ("sha256:0",), Path("/bin/true"), NAME),
            tagged, show_image, clean=f"docker image rm {IMAGE}",
        ),
        Stranger(
            Docker0(HOST, (), (), NAME, text=None, original_text="@absent", bip="172.17.0.1/16"),
            f"echo '{{\"debug\": false}}' >{DAEMON_JSON}",
            f"cat {DAEMON_JSON}",
            clean=f"rm {DAEMON_JSON}",
        ),
    )  # fmt: skip


def _ovs() -> tuple[Stranger, ...]:
    bridge = f"{_OVS} add-br {{0}} -- set bridge {{0}} datapath_type=netdev"
    show, clean = (
        f"{_OVS} list-ports {{0}}; {_OVS} br-exists {{0}} && echo {{0}}",
        (f"{_OVS} del-br {{0}}"),
    )

    def stranger(resource: Resource, name: str, claims: str = ":") -> Stranger:
        return Stranger(
            resource, bridge.format(name), show.format(name), claims, clean.format(name)
        )

    tunnel = OvsTunnel(HOST, "gre-h2-x", "ov-blue-x", "gre", (), True, MARK)
    lan = LanBridgeOvs(
        HOST, "bri0", "up0", _NIC.mac, 1500, "bri0", False, (), (), MARK, original=_NIC,
    )  # fmt: skip
    return (
        stranger(OvsBridge(HOST, "ov-blue-x", "netdev", False, MARK), "ov-blue-x"),
        Stranger(
            tunnel,
            f"{bridge.format('strange')} -- add-port strange gre-h2-x -- set interface gre-h2-x "
            "type=internal",
            show.format("strange"),
            clean=clean.format("strange"),
        ),
        stranger(OvsUplink(HOST, "up0", "phy-up0", "phy-up0", NAME), "phy-up0"),
        stranger(lan, "bri0", claims=f"mkdir -p {WAS}/uplink; : >{WAS}/uplink/bri0"),
        stranger(OvsDaemon(HOST, NAME, original="disabled inactive new"), "theirs"),
    )


def _etcd(ctl: str, inventory: str, network: str, prefix: str) -> tuple[Stranger, ...]:
    config = EtcdConfig(HOST, network, f"{prefix}-x", "{}", "c", (), inventory)
    subnet = IPv4Network("172.30.250.0/24")
    lease = EtcdLease(HOST, network, prefix, subnet, "192.0.2.1", "vxlan", "c", inventory)
    settings, key = f"{prefix}-x/config", f"{prefix}/subnets/172.30.250.0-24"
    owner = f"/provision/{inventory}/{network}/config"
    return (
        Stranger(
            config,
            f"{ctl} put -- {settings} theirs; {ctl} get --print-value-only {owner} >/run/owner; "
            f"{ctl} del {owner}",
            f"{ctl} get --print-value-only -- {settings}",
            clean=f'{ctl} del {settings}; {ctl} put -- {owner} "$(cat /run/owner)"',
        ),
        Stranger(
            lease,
            f'{ctl} put -- {key} \'{{"PublicIP":"192.0.2.99"}}\'',
            f"{ctl} get --print-value-only -- {key}",
            clean=f"{ctl} del {key}",
        ),
    )


def docker_strangers(image: str) -> tuple[Stranger, ...]:
    """Strangers on a booted host with Docker and this image."""
    return _lab(image)


def ovs_strangers() -> tuple[Stranger, ...]:
    """Strangers on a booted host with Open vSwitch."""
    return _ovs()


def etcd_strangers(inventory: str, network: str, prefix: str) -> tuple[Stranger, ...]:
    """Strangers in the etcd of a flannel network."""
    return _etcd(f"/etc/provision/{inventory}/etcdctl-{network}", inventory, network, prefix)


Shell = Callable[[str], str]
"""Runs a script on the host of the strangers; its stdout. Raises nothing if the script fails."""


def run(sh: Shell, *groups: Operation) -> list[script.OperationResult | None]:
    """Carry operations out as a change does; the result of each."""
    nonce = secrets.token_hex(4)
    text = script.render(
        [operation.steps for operation in groups],
        nonce=nonce,
        lock="/run/provision-demo.lock",
        last=True,
        journal='echo "$1" >>/run/begun',
    )
    return list(script.read(sh(f"rm -f /run/begun\n{text}"), nonce=nonce, count=len(groups)))


def assert_survives(sh: Shell, stranger: Stranger) -> None:
    """A creation is refused and a removal leaves the thing; so do the rollbacks of both."""
    resource = stranger.resource
    sh(stranger.make)
    before = sh(stranger.show)
    assert before.strip(), (resource.ref, "the stranger could not be made")
    if not resource.edits or resource.kind in ("image", "image_archive"):
        (create,) = operations(plan({}, {resource.ref: resource}), txn=TXN)
        (result,) = run(sh, create)
        # A rule without our comment is another rule: both can be there.
        fits = resource.kind == "nic_drop_rule"
        assert fits or (result is not None and result.status != 0), (resource.ref, result)
        _roll_back(sh, create)
        assert sh(stranger.show) == before, (resource.ref, "creation")
    sh(stranger.claims)
    (remove,) = operations(plan({resource.ref: resource}, {}), txn=TXN)
    run(sh, remove)
    assert sh(stranger.show) == before, (resource.ref, "removal")
    if not resource.edits or sh("cat /run/begun").strip():  # else it was refused
        _roll_back(sh, remove)
    assert sh(stranger.show) == before, (resource.ref, "rollback of the removal")
    run(sh, *operations(plan({resource.ref: resource}, {})))
    assert sh(stranger.show) == before, (resource.ref, "destroy")
    sh(script.standalone([resource.drop_stash(TXN)]))
    assert sh(stranger.show) == before, (resource.ref, "the end of the change")


def _roll_back(sh: Shell, operation: Operation) -> None:
    sh(script.standalone([inverse(operation, txn=TXN)]))
