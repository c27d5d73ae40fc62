"""The files of two hosts' DNS servers, as dnsmasq itself understands them."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from provision.engine import desired
from provision.inventory.load import load
from provision.resources.base import Ref
from provision.resources.kinds.dns_records import DnsRecords
from provision.resources.kinds.service import Service
from provision.resources.steps import Put
from tests.cases.test_cases import facts
from tests.netns.test_kinds import Namespace, namespace
from tests.unit.test_guest_moves import DOCKER, FILE, records, with_guest

# Another release's dnsmasq can be tried, too.
DNSMASQ = os.environ.get("DNSMASQ", "dnsmasq")
pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(shutil.which(DNSMASQ) is None, reason="dnsmasq is not installed"),
]
__all__ = ["namespace"]
GATEWAYS = {"h1": "172.20.0.1", "h2": "172.20.1.1", "h3": "172.20.2.1"}
UPSTREAM = "127.0.0.53"
GUEST = "172.20.0.77"
ODD = {
    # Ranges and subnets of hosts that do not end at a byte.
    "172.20.48.0/23, subnet_size: 25": {
        "h1": "172.20.48.1",
        "h2": "172.20.48.129",
        "h3": "172.20.49.1",
    },
    "172.20.16.0/20, subnet_size: 22": {
        "h1": "172.20.16.1",
        "h2": "172.20.20.1",
        "h3": "172.20.24.1",
    },
    "172.20.9.128/26, subnet_size: 28": {
        "h1": "172.20.9.129",
        "h2": "172.20.9.145",
        "h3": "172.20.9.161",
    },
}
# The options of templates/names/dnsmasq.service.j2 that decide which server is asked.
SERVE = """
setsid timeout 100 "$DNSMASQ" --keep-in-foreground --conf-file=/dev/null --user= --pid-file= \
  --bind-dynamic --no-hosts --local-ttl=5 --local=// "$@" </dev/null >/dev/null 2>&1 &
echo $!
"""
ASK = """
import socket, struct, sys
server, name = sys.argv[1:3]
kind = 12 if name.endswith(".in-addr.arpa") else 1
labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
question = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\\0" + struct.pack(">2H", kind, 1)
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.settimeout(1)
for _ in range(2):  # as a resolver that gets no answer
    link.sendto(question, (server, 53))
    try:
        answer = link.recv(512)
    except OSError:
        continue
    if answer[6:8] == b"\\0\\0":  # the number of answers
        print("none")
        sys.exit()
    record, text = answer[len(question) + 12:], socket.inet_ntoa(answer[-4:])
    if kind == 12:
        labels = []
        while record[0]:
            labels.append(record[1 : 1 + record[0]].decode())
            record = record[1 + record[0] :]
        text = ".".join(labels)
    print(text)
    sys.exit()
print("no answer")
"""


class Servers:
    """The DNS servers of hosts in one namespace, and the one that the hosts ask for other names.

    That one has a name for each of `others`, which are addresses.
    """

    def __init__(
        self, namespace: Namespace, gateways: Mapping[str, str], others: tuple[str, ...] = ()
    ) -> None:
        self.namespace, self.gateways = namespace, gateways
        self.pids: list[str] = []
        addresses = "".join(f"ip address add {each}/32 dev lo\n" for each in gateways.values())
        namespace.sh(f"{addresses}mkdir -p /run/dns\necho nameserver {UPSTREAM} >/run/dns/resolv")
        records = (f"--host-record=other{k}.example,{each}" for k, each in enumerate(others))
        self._start(UPSTREAM, "--no-resolv", "--address=/example.shop/192.0.2.80", *records)

    def start(self, files: DnsRecords, *local: str, guest: str = GUEST) -> None:
        """Start the server of a host with its files, and with the address of a guest of its own.

        `local` are options with zones that are asked of nobody.
        """
        folder = f"/run/dns/{files.host}"
        self.namespace.sh(f"mkdir -p {folder}/live")
        for step in files.create():
            if isinstance(step, Put):
                path = f"{folder}/{step.path.rpartition('.')[2]}"
                self.namespace.sh(f"cat >{path} <<'END'\n{step.text}END\n")
        if files.here:
            self.namespace.sh(f"echo {guest} shop.blue shop >{folder}/live/shop")
        self._start(
            self.gateways[files.host],
            *local,
            *(f"--addn-hosts={folder}/hosts", f"--servers-file={folder}/local"),
            *(f"--addn-hosts={folder}/live", "--resolv-file=/run/dns/resolv", "--dns-loop-detect"),
        )

    def ask(self, host: str, name: str) -> str:
        """The address, or the name of PTR, that a host's server answers."""
        return self._ask(self.gateways[host], name)

    def _ask(self, server: str, name: str) -> str:
        return self.namespace.sh(f"python3 - {server} {name} <<'END'\n{ASK}END\n").strip()

    def _start(self, address: str, *options: str) -> None:
        arguments = " ".join(("--listen-address=" + address, *options))
        self.pids.append(self.namespace.sh(f"DNSMASQ={DNSMASQ}\nset -- {arguments}\n{SERVE}"))
        deadline = time.monotonic() + 30
        while self._ask(address, "nothing") == "no answer":  # a name without a dot is answered here
            assert time.monotonic() < deadline, f"no server at {address}"

    def packets(self) -> int:
        """The packets that the servers have sent since the namespace was made."""
        return int(self.namespace.sh("cat /sys/class/net/lo/statistics/tx_packets"))

    def end(self) -> None:
        """End all of them."""
        self.namespace.sh(f"kill {' '.join(pid.strip() for pid in self.pids)}")


@pytest.fixture
def servers(namespace: Namespace) -> Iterator[Servers]:
    """Servers that end with the test."""
    started = Servers(namespace, GATEWAYS)
    yield started
    started.end()


def of_host(folder: Path, host: str, home: str) -> DnsRecords:
    """The files of a host while the guest `shop` is on another one."""
    files = records(with_guest(folder, home))[Ref(host, "dns_records", "blue")]
    assert isinstance(files, DnsRecords)
    return files


def test_a_guest_does_not_take_a_top_level_domain(servers: Servers, tmp_path: Path) -> None:
    """Its plain name is asked of its host, and the names of others below `shop` are not."""
    servers.start(of_host(tmp_path, "h2", "h1"))
    assert servers.ask("h2", "example.shop") == "192.0.2.80"  # also while h1 is down
    servers.start(of_host(tmp_path, "h1", "h1"))
    assert servers.ask("h1", "shop") == servers.ask("h2", "shop") == GUEST
    assert servers.ask("h2", "shop.blue") == GUEST
    assert servers.ask("h1", "example.shop") == servers.ask("h2", "example.shop") == "192.0.2.80"


def test_servers_with_files_of_one_move_do_not_ask_each_other(
    servers: Servers, tmp_path: Path
) -> None:
    """The files of two moves would: `joint_change` is what keeps them from being together."""
    moved, stale = of_host(tmp_path, "h1", "h2"), of_host(tmp_path, "h2", "h1")
    joint = moved.joint_change(of_host(tmp_path, "h1", "h1"))
    assert joint is not None and {*map(str, joint.gateways or ())} == {GATEWAYS["h2"]}
    servers.start(moved)
    servers.start(stale)
    assert servers.ask("h1", "shop.blue") == "no answer"
    sent, deadline = servers.packets(), time.monotonic() + 60
    while servers.packets() < sent + 2000:
        assert time.monotonic() < deadline, "dnsmasq asks each other no longer without an end"


@pytest.mark.parametrize("cidr", ODD)
def test_addresses_of_the_range_are_asked_of_its_hosts_alone(
    namespace: Namespace, tmp_path: Path, cidr: str
) -> None:
    """Also where ranges do not end at a byte. Other addresses are asked as the host does it."""
    path = tmp_path / "odd.yml"
    guest = "shop: {host: h1, container: app, network: blue}"
    path.write_text(FILE.format(guests=guest).replace("172.20.0.0/16", cidr))
    loaded = load(path)
    state = desired.wanted(loaded, facts(loaded, {"docker": DOCKER}))
    whole, gateways = IPv4Network(cidr.partition(",")[0]), ODD[cidr]
    guest_address = str(IPv4Address(gateways["h1"]) + 7)
    free = str(IPv4Address(gateways["h2"]) + 3)
    outside = (str(whole[0] - 1), str(whole[-1] + 1))
    servers = Servers(namespace, gateways, (guest_address, free, *outside))
    try:
        for host in gateways:
            files = state[Ref(host, "dns_records", "blue")]
            service = state[Ref(host, "service", "provision-demo-blue-dns.service")]
            assert isinstance(files, DnsRecords) and isinstance(service, Service)
            local = re.findall(r"--local=\S+", service.text)
            servers.start(files, *local, guest=guest_address)
        records = state[Ref("h3", "dns_records", "blue")]
        assert isinstance(records, DnsRecords)
        (web,) = (str(row.address) for row in records.rows)
        for host in gateways:
            asked = {each: servers.ask(host, reverse(each)) for each in (guest_address, web, free)}
            assert asked == {guest_address: "shop.blue", web: "web.blue", free: "none"}, host
            names = [servers.ask(host, reverse(each)) for each in outside]
            assert names == ["other2.example", "other3.example"], host
    finally:
        servers.end()


def reverse(address: str) -> str:
    """The name of the PTR record of an address."""
    return IPv4Address(address).reverse_pointer
