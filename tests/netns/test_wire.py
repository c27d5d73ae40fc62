"""The sniffer of `verify` counts what tells the way of packets, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from provision.checks import wire
from provision.resources.render import program_text
from provision.resources.script import quoted

pytestmark = pytest.mark.netns
NEAR, FAR = IPv4Address("10.9.0.1"), IPv4Address("10.9.0.2")
# A ping of each size, then a TCP connection that carries data.
_TALK = r"""
ping -q -c 1 -s 56 10.9.0.2; ping -q -c 1 -s 1000 10.9.0.2
nsenter -t "$1" -n perl -MIO::Socket::INET -e '
  $s = IO::Socket::INET->new(LocalAddr => "10.9.0.2:7000", Listen => 1) or die;
  print "ready\n"; close STDOUT; $c = $s->accept; 1 while read $c, $b, 65536' | {
  read -r ready
  perl -MIO::Socket::INET -e '
    $s = IO::Socket::INET->new("10.9.0.2:7000") or die; print $s "x" x 500000; close $s'
}
"""


@pytest.fixture
def spaces() -> Iterator[tuple[int, int]]:
    """Two network namespaces, joined by a veth."""
    argv = ("unshare", "-n", "sh", "-c", "echo up; exec sleep 300")
    processes = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
    near, far = (process.pid for process in processes)
    _inside(near, f"ip link add v0 type veth peer name v0 netns {far}")
    for pid, address in ((near, NEAR), (far, FAR)):
        _inside(pid, f"ip address add {address}/24 dev v0; ip link set v0 up")
    yield near, far
    for process in processes:
        process.kill()
        process.wait()


def _inside(pid: int, script: str, *arguments: str) -> str:
    argv = ("nsenter", "-t", str(pid), "-n", "sh", "-c", script, "sh", *arguments)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _sniffer(*arguments: str) -> str:
    return quoted(("perl", "-e", program_text("checks/wire.pl"), *arguments))


def test_small_packets_and_new_connections_are_counted(spaces: tuple[int, int]) -> None:
    """Of a large ping and the data of a connection nothing is counted, so nothing is missed."""
    near, far = spaces
    pid = wire.parse_pid(_inside(near, _sniffer("start", "60", "net=10.9.0.0/24", "port=4789")))
    assert pid is not None
    _inside(near, _TALK, str(far))
    capture = wire.parse(_inside(near, wire.stop_script(pid)))
    assert (capture.missed, capture.error) == (0, "")
    counts = {
        (frame.outgoing, frame.protocol, frame.inner): frame.count for frame in capture.frames
    }
    # The small ping and SYN; their answers.
    assert counts == {
        (True, "plain", (NEAR, FAR)): 2,
        (False, "plain", (FAR, NEAR)): 2,
    }
