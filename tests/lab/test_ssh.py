"""SSH to booted hosts: pinned keys, sudo, jump hosts, and connections that go silent."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision.inventory.load import load
from provision.model.errors import AuthError, ConnectError, HostError, HostKeyError, TimedOut
from provision.transport.ssh.transport import SshTransport
from tests.lab.hosts import RESTART_SSHD, Hosts

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module", autouse=True)
def fresh_sshd(booted: Callable[[str], Hosts]) -> Iterator[None]:
    """Restart sshd at the end: its PerSourcePenalties would refuse the next tests' logins."""
    yield
    for host in ("h1", "h2", "h3"):
        booted("mixed").inside(host, RESTART_SSHD)


@pytest.fixture
def transport(mixed: Hosts) -> Iterator[SshTransport]:
    """A transport as `provision` creates it."""
    inventory = load(mixed.lab.folder / mixed.inventory("routes.yml"))
    ssh = SshTransport(inventory, mixed.lab.ssh_config)
    yield ssh
    ssh.close()


def changed_transport(
    mixed: Hosts, *changes: tuple[str, str], known_hosts: str | None = None
) -> SshTransport:
    """A transport with a changed inventory, or with other known hosts."""
    inventory = load(mixed.lab.folder / mixed.inventory("routes.yml", *changes, to="ssh.yml"))
    config = mixed.lab.folder / "other_ssh_config"
    text = mixed.lab.ssh_config.read_text()
    if known_hosts is not None:
        file = mixed.lab.folder / "other_known_hosts"
        file.write_text(known_hosts)
        text = text.replace(str(mixed.lab.known_hosts), str(file))
        text = text.replace("StrictHostKeyChecking yes", "StrictHostKeyChecking no")
    config.write_text(text)
    return SshTransport(inventory, config)


def test_a_long_script_runs_completely(transport: SshTransport) -> None:
    """No command in it can read the rest of it, and its status and quotes are kept."""
    script = "cat >/dev/null\n" + "".join(f": {'x' * 90} {n}\n" for n in range(5000))
    output = transport.run("h1", script + 'echo "it\'s $((6 * 7))"; exit 3', timeout_s=30)
    assert (output.status, output.stdout) == (3, "it's 42\n")
    assert transport.run("h1", "echo again", timeout_s=30).stdout == "again\n"
    assert transport.executions["h1"] == 2


def test_an_unknown_host_key_is_refused(mixed: Hosts) -> None:
    """The error has its fingerprint, and `StrictHostKeyChecking no` does not help."""
    with pytest.raises(HostKeyError, match="ssh-ed25519 SHA256:"):
        changed_transport(mixed, known_hosts="").run("h1", "true", timeout_s=30)


def test_a_changed_host_key_is_refused(mixed: Hosts, tmp_path: Path) -> None:
    """A machine in between has another key than the recorded one."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k"], check=True
    )
    key = " ".join((tmp_path / "k.pub").read_text().split()[:2])
    recorded = mixed.lab.known_hosts.read_text().splitlines()
    changed = "".join(f"{line.split()[0]} {key}\n" for line in recorded)
    with pytest.raises(HostKeyError, match="differs from the recorded one"):
        changed_transport(mixed, known_hosts=changed).run("h1", "true", timeout_s=30)


def test_a_host_key_in_the_inventory_replaces_known_hosts(mixed: Hosts) -> None:
    """With `host_key`, the transport reads no known_hosts file."""
    known = mixed.lab.known_hosts.read_text().splitlines()
    line = next(line for line in known if ".11 " in line)
    key = " ".join(line.split()[1:3])
    text = (mixed.lab.folder / mixed.inventory("routes.yml")).read_text()
    old = next(part for part in text.splitlines() if part.startswith("  h1:"))
    address = old.split("address: ")[1].split("}")[0]
    new = f'  h1: {{address: {address}, host_key: "{key}"}}'
    ssh = changed_transport(mixed, (old, new), known_hosts="")
    assert ssh.run("h1", "echo in", timeout_s=30).stdout == "in\n"
    ssh.close()


def test_a_login_with_sudo_works_without_a_password(mixed: Hosts) -> None:
    """If sudo asks for a password, the error says that sudo refused."""
    mixed.ssh("h2", "id op 2>/dev/null || useradd -m -s /bin/sh op")
    mixed.ssh("h2", "cp -r /root/.ssh /home/op/ && chown -R op /home/op/.ssh")
    change = ("name: demo", "name: demo\nssh: {user: op, sudo: true}")
    try:
        ssh = changed_transport(mixed, change)
        with pytest.raises(AuthError, match="sudo refused"):
            ssh.run("h2", "true", timeout_s=30)
        mixed.ssh("h2", "echo 'op ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/op")
        assert ssh.run("h2", "id -un", timeout_s=30).stdout == "root\n"
        ssh.close()
    finally:
        mixed.ssh("h2", "rm -f /etc/sudoers.d/op; userdel -rf op", check=False)


def test_the_key_of_a_jump_host_is_checked(mixed: Hosts) -> None:
    """A connection by h1 to h2 works only if h1's key is known."""
    recorded = mixed.lab.known_hosts.read_text()
    change = ("name: demo", "name: demo\nssh: {jump: h1}")
    ssh = changed_transport(mixed, change)
    assert ssh.run("h2", "hostname", timeout_s=30).stdout == "h2\n"
    ssh.close()
    without_h1 = "".join(line + "\n" for line in recorded.splitlines() if ".11 " not in line)
    with pytest.raises(HostError):
        changed_transport(mixed, change, known_hosts=without_h1).run("h2", "true", timeout_s=30)


def test_a_connection_that_goes_silent_is_noticed_within_10_s(
    mixed: Hosts, transport: SshTransport
) -> None:
    """The host drops our packets without an answer (half open), and later ones, too."""
    transport.run("h2", "true", timeout_s=30)
    rule = "INPUT -p tcp --dport 22 -j DROP"
    cut = f"sleep 1; iptables -I {rule}; sleep 20; iptables -D {rule}"
    mixed.ssh("h2", f"nohup sh -c '{cut}' >/dev/null 2>&1 &")
    begin = time.monotonic()
    with pytest.raises((ConnectError, TimedOut)):
        transport.run("h2", "sleep 60", timeout_s=60)
    assert time.monotonic() - begin <= 1 + 10
    begin = time.monotonic()
    with pytest.raises((ConnectError, TimedOut)):
        transport.run("h2", "true", timeout_s=60)
    assert time.monotonic() - begin <= 11
    time.sleep(12)
    assert transport.run("h2", "echo back", timeout_s=30).stdout == "back\n"


def test_a_script_that_does_not_end_times_out(transport: SshTransport) -> None:
    """The transport raises TimedOut at the limit, and runs the next script."""
    begin = time.monotonic()
    with pytest.raises(TimedOut, match="did not end within 2 s"):
        transport.run("h3", "sleep 60", timeout_s=2)
    assert time.monotonic() - begin < 5
    assert transport.run("h3", "echo next", timeout_s=30).stdout == "next\n"


def test_endless_output_is_an_error(transport: SshTransport) -> None:
    """A host that prints without end neither fills the memory nor hangs the run."""
    with pytest.raises(HostError, match="printed more than"):
        transport.run("h3", "yes", timeout_s=60)
