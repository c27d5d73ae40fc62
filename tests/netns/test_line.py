"""The commands of `lab link` on the kernel of this machine: loss, rate, and back."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Iterable, Iterator

import pytest

from provision.lab import line
from provision.lab.line import Command, Line

pytestmark = pytest.mark.netns
PING = "ping -n -q -i 0.01 -W 1 -c {} 10.9.0.2 || true"
SEND = """perl -MIO::Socket::INET -e '
  $l = IO::Socket::INET->new(LocalAddr => "10.9.0.1", Listen => 1) or die;
  print $l->sockport, "\\n"; close STDOUT; $s = $l->accept; print $s "x" x 100000; close $s'"""
RECEIVE = """perl -MIO::Socket::INET -e '
  $s = IO::Socket::INET->new("{address}:{port}") or die; $n += length $_ while <$s>; print $n'"""


class Pair:
    """A lab's namespace with the outer end v0 of a NIC, and a host's with the NIC."""

    def __init__(self) -> None:
        argv = ("unshare", "-n", "sh", "-c", "echo up; exec sleep 600")
        self.processes = [
            subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(2)
        ]
        for process in self.processes:
            assert process.stdout is not None and process.stdout.readline() == "up\n"
        self.lab, self.host = (process.pid for process in self.processes)
        # A transfer over a veth has segments of 64 KiB, as over the tap of a guest.
        self.run(self.lab, f"ip link add v0 type veth peer name nic netns {self.host}")
        self.run(self.lab, "ip address add 10.9.0.1/24 dev v0; ip link set v0 up")
        self.run(self.host, "ip address add 10.9.0.2/24 dev nic; ip link set nic up")
        # Lost ARP requests would hold up to three seconds of pings.
        self._know(self.lab, "v0", "10.9.0.2", self._mac(self.host, "nic"))
        self._know(self.host, "nic", "10.9.0.1", self._mac(self.lab, "v0"))

    def _mac(self, pid: int, device: str) -> str:
        return self.run(pid, f"ip -br link show dev {device}").split()[2]

    def _know(self, pid: int, device: str, address: str, mac: str) -> None:
        self.run(pid, f"ip neigh replace {address} lladdr {mac} dev {device} nud permanent")

    def run(self, pid: int, script: str) -> str:
        """Run shell text in one of the namespaces; its output."""
        argv = ("nsenter", "-t", str(pid), "-n", "sh", "-c", script)
        process = subprocess.run(argv, capture_output=True, text=True, timeout=300)
        assert process.returncode == 0, process.stderr
        return process.stdout

    def give(self, given: Line) -> None:
        """Give the host this line, instead of the one that it has."""
        self.clear()
        self._all(line.commands("v0", "f0", given), "set -e; ")

    def clear(self) -> None:
        """Make the line good again."""
        self._all(line.undo("v0", "f0"), "exec 2>/dev/null; ")

    def _all(self, commands: Iterable[Command], head: str) -> None:
        self.run(self.lab, head + "; ".join(map(shlex.join, commands)) + "; true")

    def received(self, count: int) -> int:
        """How many of this many pings were answered."""
        answer = re.search(r"(\d+) received", self.run(self.lab, PING.format(count)))
        assert answer
        return int(answer[1])

    def seconds(self, sender: int, receiver: int, address: str) -> float:
        """The time in which 100,000 bytes arrive."""
        argv = ("nsenter", "-t", str(sender), "-n", "sh", "-c", SEND.replace("10.9.0.1", address))
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            begin = time.monotonic()
            receive = RECEIVE.replace("{address}", address).replace("{port}", port)
            assert self.run(receiver, receive) == "100000"
            return time.monotonic() - begin


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two namespaces that are joined by a veth."""
    pair = Pair()
    yield pair
    for process in pair.processes:
        process.kill()
        process.wait()


def test_packets_are_lost_in_both_directions(pair: Pair) -> None:
    """With 30 % in each direction, 49 % of the pings are answered; 100 % is a cut cable."""
    pair.give(Line(loss_percent=30))
    assert 55 <= pair.received(200) <= 141
    drops = pair.run(pair.lab, "tc -s filter show dev v0 ingress; tc -s filter show dev v0 egress")
    assert drops.count("bytecode") == 3
    pair.give(Line(loss_percent=100))
    assert pair.received(3) == 0
    pair.clear()
    assert pair.received(20) == 20


def test_the_rate_is_limited_in_both_directions(pair: Pair) -> None:
    """At 400 kbit/s, 100,000 bytes take 2 s; of them the bucket lets 5000 pass at once."""
    pair.give(Line(rate_kbit=400))
    assert pair.seconds(pair.lab, pair.host, "10.9.0.1") > 1.7
    assert pair.seconds(pair.host, pair.lab, "10.9.0.2") > 1.7


def test_nothing_is_left_of_a_bad_line(pair: Pair) -> None:
    """Queues, filters and the additional interface are removed; another line replaces all."""
    state = "tc qdisc show; tc filter show dev v0 ingress; ip -br link | cut -d' ' -f1"
    before = pair.run(pair.lab, state)
    pair.give(Line(loss_percent=1, rate_kbit=1000))
    pair.give(Line(rate_kbit=64))
    qdiscs = pair.run(pair.lab, "tc qdisc show")
    assert qdiscs.count("rate 64Kbit") == 2 and "1Mbit" not in qdiscs
    pair.clear()
    assert pair.run(pair.lab, state) == before


def test_packets_from_the_host_are_delayed(pair: Pair) -> None:
    """A ping takes the delay once, also with a rate."""
    pair.run(pair.lab, "ip link add probe type ifb")
    probe = shlex.join(line.delay("probe", Line(delay_ms=1)))
    if "works" not in pair.run(pair.lab, f"if {probe} 2>/dev/null; then echo works; fi"):
        pytest.skip("the kernel of this machine has no netem")
    for given in (Line(delay_ms=300), Line(delay_ms=300, rate_kbit=1000)):
        pair.give(given)
        pair.run(pair.lab, shlex.join(line.delay("f0", given)))
        times = re.search(r"= ([\d.]+)/", pair.run(pair.lab, PING.format(3)))
        assert times and float(times[1]) >= 300
