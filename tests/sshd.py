"""A real sshd on loopback, in which the user of the tests logs in by a key."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.inventory.load import load
from provision.transport.ssh.transport import SshTransport

USER = getpass.getuser()


def keygen(path: Path, kind: str = "ed25519", *, passphrase: str = "") -> str:
    """Create a key pair; the kind and base64 of its public key."""
    size = ("-b", "2048") if kind == "rsa" else ()
    argv = ("ssh-keygen", "-q", "-t", kind, *size, "-N", passphrase, "-f", str(path))
    subprocess.run(argv, check=True)
    return public(path)


def public(path: Path) -> str:
    """The kind and base64 of the public key beside a private one."""
    return " ".join(path.with_name(f"{path.name}.pub").read_text().split()[:2])


def certify(authority: Path, key: Path, *options: str) -> None:
    """Sign a public key as a host's; `options` are those of ssh-keygen."""
    argv = ("ssh-keygen", "-q", "-s", str(authority), "-I", "host", "-h", *options)
    subprocess.run((*argv, str(key.with_name(f"{key.name}.pub"))), check=True)


@dataclass(frozen=True)
class Sshd:
    """A server at `address` and `port`; `folder` has its files, and `id`, the key to log in by."""

    folder: Path
    port: int
    address: str = "127.0.0.1"

    def host_key(self, kind: str = "ed25519") -> str:
        """Kind and base64 of one of its host keys."""
        return public(self.folder / f"host_{kind}")

    @property
    def name(self) -> str:
        """Its name in known_hosts."""
        return f"[{self.address}]:{self.port}"

    @property
    def log(self) -> str:
        """The lines that sshd has logged."""
        return (self.folder / "log").read_text()


@contextmanager
def serving(
    folder: Path,
    *,
    kinds: Sequence[str] = ("ed25519",),
    more: str = "",
    address: str = "127.0.0.1",
) -> Iterator[Sshd]:
    """Serve in `folder` with host keys of these kinds, and `more` lines of sshd_config."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("needs sshd (openssh-server)")
    folder.mkdir(exist_ok=True)
    for kind in kinds:
        if not (folder / f"host_{kind}").exists():
            keygen(folder / f"host_{kind}", kind)
    (folder / "authorized_keys").write_text(keygen(folder / "id") + "\n")
    if os.getuid() == 0:  # the folder in which sshd locks up its process before a login
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as free:
        port = free.getsockname()[1]
    listen = f"[{address}]" if ":" in address else address
    keys = "".join(f"HostKey {folder}/host_{kind}\n" for kind in kinds)
    (folder / "sshd_config").write_text(
        f"{more}\nListenAddress {listen}:{port}\n{keys}PidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPermitRootLogin yes\nLogLevel VERBOSE\n"
    )
    argv = (program, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log"))
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    try:
        server = Sshd(folder, port, address)
        _wait_for(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(server: Sshd, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection((server.address, server.port), 1) as connection:
                assert connection.recv(4) == b"SSH-"
                return
        except OSError:
            assert process.poll() is None and time.monotonic() < until, server.log
            time.sleep(0.05)


client: ContextVar[str] = ContextVar("client", default="auto")
"""`ssh.client` of the inventories that `transport` writes."""


def transport(
    folder: Path, config: str, hosts: str = "  h1: {address: 192.0.2.1}\n", **options: str
) -> SshTransport:
    """A transport by an ssh_config and hosts of an inventory, both as text."""
    folder.mkdir(exist_ok=True)
    (folder / "ssh_config").write_text(config)
    ssh = options.get("ssh", "").strip("{}")
    options["ssh"] = f"{{client: {client.get()}{', ' if ssh else ''}{ssh}}}"
    lines = "".join(f"{key}: {value}\n" for key, value in options.items())
    (folder / "demo.yml").write_text(f"name: demo\n{lines}hosts:\n{hosts}")
    return SshTransport(load(folder / "demo.yml"), folder / "ssh_config")


def login(ssh: SshTransport, host: str = "h1") -> str:
    """The output of a script on a host, over a connection that is closed again."""
    try:
        return ssh.run(host, "echo in", timeout_s=30).stdout
    finally:
        ssh.close()


def block(server: Sshd, known: Path, *, host: str = "h1", more: str = "") -> str:
    """The block of ssh_config for a host that this server serves."""
    return (
        f"Host {host}\n  HostName {server.address}\n  Port {server.port}\n  User {USER}\n"
        f"  IdentityFile {server.folder}/id\n  UserKnownHostsFile {known}\n"
        f"  GlobalKnownHostsFile none\n{more}"
    )
