"""The watch of `provision explain` sees a probe, and removes its rules however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision.checks.explain import scripts
from provision.checks.explain.evidence import HostEvidence, parse
from provision.checks.explain.model import Probe
from provision.checks.explain.scripts import Marks, Watch

pytestmark = pytest.mark.netns
_TARGET = IPv4Address("127.0.0.1")
_MARKS = Marks("0011223344556677", 4711, 61234)


@dataclass(frozen=True)
class Space:
    """A network namespace with nothing but lo, held by a process."""

    pid: int

    def run(self, script: str) -> str:
        """Run a script in it; its stdout."""
        argv = ("nsenter", "-t", str(self.pid), "-n", "sh", "-c", script)
        return subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout

    def start(self) -> int:
        """Start a watch that traces pings to lo; the PID of its guardian."""
        watch = Watch({"host": self.pid}, (_TARGET,))
        text = self.run(scripts.start_script(watch, Probe(), _MARKS))
        guardian = scripts.parse_watch(text)
        assert guardian is not None, text
        return guardian

    def stop(self, guardian: int) -> HostEvidence:
        """The evidence of a watch."""
        return parse(self.run(scripts.stop_script(guardian, {"host": self.pid}, (), 0)))

    def rules(self) -> int:
        """The number of rules that trace."""
        return self.run("iptables-nft -t raw -S").count("-j TRACE")

    def wait_for_no_rule(self, within_s: float = 60) -> None:
        """Wait until no rule traces any more."""
        deadline = time.monotonic() + within_s
        while self.rules():
            assert time.monotonic() < deadline, "the rules stay"
            time.sleep(0.3)


@pytest.fixture
def space() -> Iterator[Space]:
    """A namespace in which lo is up."""
    argv = ("unshare", "-n", "sh", "-c", "ip link set lo up; echo up; exec sleep 300")
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    yield Space(process.pid)
    process.kill()
    process.wait()


def test_a_probe_is_seen_traced_and_answered(space: Space) -> None:
    """Sniffers, trace and state of one namespace; afterwards nothing is left."""
    before = space.run("iptables-nft-save; ip addr; ip rule; ip route show table all")
    guardian = space.start()
    assert space.rules() == 4
    sent = scripts.parse_sent(
        space.run(scripts.send_script(space.pid, Probe(), _MARKS, _TARGET, large=9000))
    )
    assert sent.complete and sent.answered == {scripts.SMALL, 9000}
    evidence = space.stop(guardian)
    assert not evidence.problems
    assert {packet.kind for packet in evidence.packets} == {"request", "reply"}
    assert {packet.device for packet in evidence.packets} == {"lo"}
    assert {(step.table, step.chain) for step in evidence.verdicts} >= {
        ("raw", "PREROUTING"),
        ("raw", "OUTPUT"),
    }
    assert evidence.space("host").link("lo") is not None
    space.wait_for_no_rule()
    after = space.run("iptables-nft-save; ip addr; ip rule; ip route show table all")
    kept = [line for line in after.splitlines() if line.startswith("-A")]
    assert not kept and "-A" not in before


def test_a_dropping_rule_is_traced(space: Space) -> None:
    """The last step of the lost packet is the rule, in full."""
    space.run("iptables-nft -A INPUT -p icmp -j DROP")
    guardian = space.start()
    space.run(scripts.send_script(space.pid, Probe(), _MARKS, _TARGET, large=9000))
    drops = [step for step in space.stop(guardian).verdicts if step.verdict == "DROP"]
    assert drops and all(step.rule == "-A INPUT -p icmp -j DROP" for step in drops)
    assert all(step.packet["LEN"] == str(scripts.SMALL) for step in drops)


def test_tcp_and_udp_are_known_by_the_client_port(space: Space) -> None:
    """A port without a listener refuses both."""
    for probe, kinds in ((Probe("tcp", 9), {"request", "reset"}), (Probe("udp", 9), {"request"})):
        watch = Watch({"host": space.pid}, (_TARGET,))
        guardian = scripts.parse_watch(space.run(scripts.start_script(watch, probe, _MARKS)))
        assert guardian is not None
        text = space.run(scripts.send_script(space.pid, probe, _MARKS, _TARGET, large=0))
        assert scripts.parse_sent(text).refused, text
        packets = space.stop(guardian).packets
        assert {p.kind for p in packets if not p.kind.startswith("error")} == kinds


def test_a_killed_watch_leaves_no_rule(space: Space) -> None:
    """The guardian removes the rules of a killed watch; the watch outlives its guardian."""
    guardian = space.start()
    children = Path(f"/proc/{guardian}/task/{guardian}/children").read_text().split()
    assert space.rules() == 4
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    space.wait_for_no_rule()
    guardian = space.start()
    os.kill(guardian, signal.SIGKILL)
    assert space.rules() == 4
    space.wait_for_no_rule(within_s=scripts.WATCH_S + 60)
