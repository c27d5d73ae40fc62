"""One command at a time on a connection: sshd may allow no more (MaxSessions 1)."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from provision.inventory.load import load
from provision.transport.base import Output
from provision.transport.ssh.connections import Connections
from provision.transport.ssh.transport import SshTransport
from tests.house.test_structure import ROOT


class Connection:
    """A connection that calls `work` for each command, and answers with the mark of its script."""

    is_connected = True

    def __init__(self, work: Callable[[str], None]) -> None:
        self._work = work

    def open(self) -> None:
        """Nothing to open."""

    def execute(
        self, host: str, command: str, data: bytes | Iterator[bytes], timeout_s: float
    ) -> Output:
        """Do the work."""
        del command, timeout_s
        self._work(host)
        assert isinstance(data, bytes)
        nonce = re.findall(rb"[0-9a-f]{16}", data)[-1].decode()
        return Output(0, f"\n@{nonce} 0\n", "")

    def close(self) -> None:
        """Nothing to close."""


def transport(patch: pytest.MonkeyPatch, work: Callable[[str], None]) -> SshTransport:
    """A transport whose connections do `work`."""
    patch.setattr(Connections, "to", lambda *_: Connection(work))
    return SshTransport(load(ROOT / "inventories/routes.yml"))


def test_a_host_runs_one_command_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three threads ask the same host: the second command begins when the first has ended."""
    running, most = set[int](), []

    def work(_host: str) -> None:
        running.add(threading.get_ident())
        most.append(len(running))
        threading.Event().wait(0.05)  # time for another thread to begin
        running.remove(threading.get_ident())

    hosts = transport(monkeypatch, work)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(hosts.run, "h1", ":", timeout_s=9) for _ in range(3)]
        for call in calls:
            assert call.result().status == 0
    assert most == [1, 1, 1]


def test_hosts_run_their_commands_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for the other two, which would never come if they had to wait for it."""
    meeting = threading.Barrier(3, timeout=60)

    def work(_host: str) -> None:
        meeting.wait()

    hosts = transport(monkeypatch, work)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(hosts.run, host, ":", timeout_s=9) for host in ("h1", "h2", "h3")]
        for call in calls:
            assert call.result().status == 0
