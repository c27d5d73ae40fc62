"""The programs of verify with more peers than a process may usually have open files."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision.checks import probe, wire
from provision.checks.limits import USUAL_FILES, Limits
from provision.checks.probe import Answer, Endpoint
from provision.inventory.load import load
from tests.lab.hosts import INVENTORIES

pytestmark = pytest.mark.netns

PEERS = 1200
LIMITS = Limits(PEERS)


@pytest.fixture
def namespace() -> Iterator[int]:
    """The process id of a network namespace whose loopback has all of 127.0.0.0/8."""
    here = Path("/proc/self/ns/net").readlink()
    with subprocess.Popen(("unshare", "-n", "sleep", "600")) as process:
        try:
            while Path(f"/proc/{process.pid}/ns/net").readlink() == here:
                time.sleep(0.05)  # unshare has not yet made its namespace
            argv = ("nsenter", "-t", str(process.pid), "-n", "ip", "link", "set", "lo", "up")
            subprocess.run(argv, check=True)
            yield process.pid
        finally:
            process.kill()


def output(script: str) -> str:
    """The output of a script whose processes may have as many open files as on most hosts."""
    # As provision's transport runs it: the shell reads the whole script before it runs any of it.
    argv = ("sh", "-c", f'ulimit -Sn {USUAL_FILES}; eval "$(cat)"')
    process = subprocess.run(argv, input=script, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_a_container_checks_more_peers_than_the_usual_limit_of_files(namespace: int) -> None:
    """Every ping, every full-size packet and all bytes of every connection come back."""
    first = IPv4Address("127.1.0.1")
    source = Endpoint("source", "h1", "blue", namespace, first, 1500)
    targets = [
        Endpoint(f"t{n}", "h2", "blue", namespace, first + n, 1500) for n in range(1, PEERS + 1)
    ]
    listening = output(probe.combined(probe.listen_script([source], LIMITS)))
    listener = probe.parse_listeners(listening)["source"]
    try:
        listeners = {target.container: listener.port for target in targets}
        call = probe.call_script({source: targets}, listeners, LIMITS)
        answers = probe.parse_answers(output(probe.combined(LIMITS.files, call)))
    finally:
        output(probe.combined(probe.stop_script([listener.pid])))
    failed = {answer.text for answer in answers.values() if answer.status}
    assert not failed
    assert Counter(check for check, _, _ in answers) == dict.fromkeys(("ping", "mtu", "tcp"), PEERS)


def test_a_silent_peer_does_not_delay_the_others(namespace: int) -> None:
    """All checks of it fail; it gets less time than one that answers, whose checks all pass."""
    drop = ("iptables", "-A", "INPUT", "-d", "127.1.0.3", "-j", "DROP")
    subprocess.run(("nsenter", "-t", str(namespace), "-n", *drop), check=True)
    answers = checked(namespace, 3)
    failed = {key: answer.text for key, answer in answers.items() if answer.status}
    assert failed == {
        ("ping", "source", "t2"): "0 of 3 packets of 84 bytes came back",
        ("mtu", "source", "t2"): "0 of 2 packets of 1500 bytes came back",
        ("tcp", "source", "t2"): "failed: no connection within 2.5 s",
        ("udp", "source", "t2"): "no answer to datagrams of 1500 bytes",
    }
    assert len(answers) == 12


def test_a_peer_that_answers_no_ping_may_still_take_connections(namespace: int) -> None:
    """Only its pings fail: a port that is refused, and one that accepts, are answers, too."""
    drop = ["INPUT", "-d", "127.1.0.3", "-p", "icmp", "--icmp-type", "echo-request", "-j", "DROP"]
    subprocess.run(("nsenter", "-t", str(namespace), "-n", "iptables", "-A", *drop), check=True)
    answers = checked(namespace, 2)
    failed = {(check, target) for (check, _, target), each in answers.items() if each.status}
    assert failed == {("ping", "t2"), ("mtu", "t2")}


def checked(namespace: int, number: int) -> dict[tuple[str, str, str], Answer]:
    """The answers of all checks from one container to so many others, on loopback."""
    inventory = load(INVENTORIES / "routes.yml")
    first = IPv4Address("127.1.0.1")
    source = Endpoint("source", "h1", "", namespace, first, 1500)
    targets = [
        Endpoint(f"t{n}", "h2", "", namespace, first + n, 1500) for n in range(1, number + 1)
    ]
    listening = output(
        probe.combined(probe.listen_script([replace(source, segment="any")], LIMITS))
    )
    listener = probe.parse_listeners(listening)["source"]
    try:
        listeners = {target.container: listener.port for target in targets}
        call = probe.call_script({source: targets}, listeners, LIMITS)
        datagrams = wire.send_script(inventory, {source: targets})
        return probe.parse_answers(output(probe.combined(call, datagrams)))
    finally:
        output(probe.combined(probe.stop_script([listener.pid])))
