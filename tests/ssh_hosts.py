"""Hosts in memory behind real SSH servers on loopback, and `provision` as a process on them.

What a signal or a lost terminal does to a run shows only in a process of its own, with threads in
real connections. `python -m tests.ssh_hosts ARGUMENTS` is `provision ARGUMENTS` that wants one toy
on each host.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko

from tests.fakes import KINDS, Hosts, Toy, _verb

ROOT = Path(__file__).parents[1]
NAMES = ("h1", "h2", "h3")


class SlowHosts(Hosts):
    """Hosts that note each script in `begun`, and make those of `slow` wait for seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: dict[tuple[str, str], float] = {}
        self.begun: list[tuple[str, str]] = []

    def run(self, host: str, script: str, *, timeout_s: float) -> Any:
        verb = _verb(script)
        self.begun.append((host, verb))
        time.sleep(self.slow.get((host, verb), 0))
        return super().run(host, script, timeout_s=timeout_s)

    def wait_for(self, host: str, verb: str, *, within_s: float = 30) -> None:
        """Wait until a host has been sent a script of this verb."""
        until = time.monotonic() + within_s
        while (host, verb) not in self.begun:
            assert time.monotonic() < until, self.begun
            time.sleep(0.02)

    @property
    def states(self) -> dict[str, str]:
        """The state of each host's guard."""
        return {host: guard["state"] for host, guard in sorted(self.guards.items())}


class _Server(paramiko.ServerInterface):
    """Accepts any key, and gives each script to `hosts`."""

    def __init__(self, hosts: Hosts, host: str) -> None:
        self.hosts, self.host = hosts, host

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:  # noqa: ARG002
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:  # noqa: ARG002
        threading.Thread(target=self._execute, args=(channel,), daemon=True).start()
        return True

    def _execute(self, channel: paramiko.Channel) -> None:
        script = channel.makefile("rb").read().decode()
        try:
            output = self.hosts.run(self.host, script, timeout_s=60)
            channel.sendall((output.stdout + _mark(script, output.status)).encode())
            channel.sendall_stderr(output.stderr.encode())
            channel.send_exit_status(output.status)
            channel.close()
        except OSError:
            pass  # the controller has closed the connection


def _mark(script: str, status: int) -> str:
    """The mark that the last line of a script prints after it ran to its end."""
    nonce = re.search(r"printf '\\n@%s %s\\n' (\w+) \$status; exit \$status\n$", script)
    assert nonce is not None, "the script prints no mark"
    return f"\n@{nonce[1]} {status}\n"


@contextmanager
def serve(
    hosts: Hosts, folder: Path, *, accept: Callable[[str], None] = lambda _host: None
) -> Iterator[Path]:
    """Serve `hosts` on 127.0.0.1 to 127.0.0.3; yield an inventory. `accept` may delay a host."""
    server_key, user_key = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    user_key.write_private_key_file(str(folder / "key"))
    (folder / "key").chmod(0o600)
    listeners = []
    # Loopback addresses cannot be those of hosts, but SSH may reach hosts by others.
    lines = ["name: demo", "ssh: {user: root, key: key}", "hosts:"]
    ssh_config = ""
    for number, host in enumerate(NAMES, 1):
        listener = socket.create_server((f"127.0.0.{number}", 0))
        listeners.append(listener)
        arguments = (listener, hosts, host, server_key, accept)
        threading.Thread(target=_listen, args=arguments, daemon=True).start()
        pin = f"{server_key.get_name()} {server_key.get_base64()}"
        port = listener.getsockname()[1]
        ssh_config += f"Host {host}\n HostName 127.0.0.{number}\n Port {port}\n"
        lines.append(f'  {host}: {{address: 192.0.2.{number}, host_key: "{pin}"}}')
    (folder / "ssh_config").write_text(ssh_config)
    path = folder / "inventory.yml"
    path.write_text("\n".join(lines) + "\n")
    try:
        yield path
    finally:
        for listener in listeners:
            listener.close()


def _listen(
    listener: socket.socket,
    hosts: Hosts,
    host: str,
    key: paramiko.PKey,
    accept: Callable[[str], None],
) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        accept(host)
        transport = paramiko.Transport(connection)
        transport.add_server_key(key)
        try:
            transport.start_server(server=_Server(hosts, host))
        except (paramiko.SSHException, EOFError, OSError):
            connection.close()


def start(
    inventory: Path, *arguments: str, redirect: str = "", **options: Any
) -> subprocess.Popen[str]:
    """Start `provision` in the folder of the inventory; `redirect` is for the shell."""
    folder = inventory.parent
    env: Mapping[str, str] = os.environ | {
        "XDG_STATE_HOME": str(folder),
        "PYTHONPATH": str(ROOT),
    }
    pipes: dict[str, Any] = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    shell = ("sh", "-c", f'exec "$@" {redirect}', "sh")
    argv = (*shell, sys.executable, "-m", "tests.ssh_hosts", *arguments)
    settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "text": True, **pipes, **options}
    return subprocess.Popen(argv, cwd=folder, env=env, **settings)


def main() -> None:
    """Run the command line with toys as the kinds and one toy wanted on each host."""
    from provision.cli.main import main
    from provision.engine import desired
    from provision.resources import kinds

    toys = [Toy(host, "a") for host in NAMES]
    vars(kinds)["all_kinds"] = lambda: tuple(KINDS[name] for name in sorted(KINDS))
    vars(desired)["wanted"] = lambda _inventory, facts, *_: {
        toy.ref: toy for toy in toys if toy.host in facts
    }
    main()


if __name__ == "__main__":
    main()
