"""The programs of verify with more peers than a process may usually have open files."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision.checks import probe
from provision.checks.limits import USUAL_FILES, Limits
from provision.checks.probe import Endpoint

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
    first = IPv4Address("127.1.0.1")
    source = Endpoint("source", "h1", "blue", namespace, first, 1500)
    targets = [Endpoint(f"t{n}", "h2", "blue", namespace, first + n, 1500) for n in (1, 2, 3)]
    listening = output(probe.combined(probe.listen_script([source], LIMITS)))
    listener = probe.parse_listeners(listening)["source"]
    try:
        listeners = {target.container: listener.port for target in targets}
        call = probe.call_script({source: targets}, listeners, LIMITS)
        answers = probe.parse_answers(output(probe.combined(call)))
    finally:
        output(probe.combined(probe.stop_script([listener.pid])))
    failed = {key: answer.text for key, answer in answers.items() if answer.status}
    assert failed == {
        ("ping", "source", "t2"): "0 of 3 packets of 84 bytes came back",
        ("mtu", "source", "t2"): "0 of 2 packets of 1500 bytes came back",
        ("tcp", "source", "t2"): "failed: no connection within 2.5 s",
    }
    assert len(answers) == 9
