"""The files of two hosts' DNS servers, as dnsmasq itself understands them."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.resources.base import Ref
from provision.resources.kinds.dns_records import DnsRecords
from provision.resources.steps import Put
from tests.netns.test_kinds import Namespace, namespace
from tests.unit.test_guest_moves import records, with_guest

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
# The options of templates/names/dnsmasq.service.j2 that decide which server is asked.
SERVE = """
setsid timeout 100 "$DNSMASQ" --keep-in-foreground --conf-file=/dev/null --user= --pid-file= \
  --bind-dynamic --no-hosts --local-ttl=5 --local=// "$@" </dev/null >/dev/null 2>&1 &
echo $!
"""
ASK = """
import socket, struct, sys
server, name = sys.argv[1:3]
labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
question = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\\0" + struct.pack(">2H", 1, 1)
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.settimeout(1)
for _ in range(2):  # as a resolver that gets no answer
    link.sendto(question, (server, 53))
    try:
        answer = link.recv(512)
    except OSError:
        continue
    found = struct.unpack(">H", answer[6:8])[0]
    print(socket.inet_ntoa(answer[-4:]) if found else "none")
    sys.exit()
print("no answer")
"""


class Servers:
    """The DNS servers of hosts in one namespace, and the one that the hosts ask for other names."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.pids: list[str] = []
        addresses = "".join(f"ip address add {each}/32 dev lo\n" for each in GATEWAYS.values())
        namespace.sh(f"{addresses}mkdir -p /run/dns\necho nameserver {UPSTREAM} >/run/dns/resolv")
        self._start(UPSTREAM, "--no-resolv", "--address=/example.shop/192.0.2.80")

    def start(self, files: DnsRecords) -> None:
        """Start the server of a host with its files, and with the address of a guest of its own."""
        folder = f"/run/dns/{files.host}"
        self.namespace.sh(f"mkdir -p {folder}/live")
        for step in files.create():
            if isinstance(step, Put):
                path = f"{folder}/{step.path.rpartition('.')[2]}"
                self.namespace.sh(f"cat >{path} <<'END'\n{step.text}END\n")
        if files.here:
            self.namespace.sh(f"echo {GUEST} shop.blue shop >{folder}/live/shop")
        self._start(
            GATEWAYS[files.host],
            *(f"--addn-hosts={folder}/hosts", f"--servers-file={folder}/local"),
            *(f"--addn-hosts={folder}/live", "--resolv-file=/run/dns/resolv", "--dns-loop-detect"),
        )

    def ask(self, host: str, name: str) -> str:
        """The address that a host's server answers."""
        return self._ask(GATEWAYS[host], name)

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
    started = Servers(namespace)
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
