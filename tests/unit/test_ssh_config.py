"""Reading ssh_config: `Include` as in OpenSSH, precedence, jump hosts, and refused options."""

from __future__ import annotations

import io
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision.model.errors import UsageError
from provision.model.inventory import Host
from provision.model.inventory import Ssh as Login
from provision.transport.ssh.connections import Connections, hops


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with ~/.ssh."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh/conf.d").mkdir(parents=True)
    return tmp_path


def host(name: str, login: Login | None = None) -> Host:
    """A host of an inventory, with ssh options of its own."""
    return Host(name, IPv4Address("192.0.2.1"), ssh=login or Login())


INCLUDED = {
    ".ssh/conf.d/one": "Host h1\n  Port 2201\nHost *\n  User included\n",
    ".ssh/conf.d/two": "Host h2\n  Port 2202\n",
    "config": (
        "Host h1 h2 h3\n  HostName %h.example\n  Include conf.d/*\n  ServerAliveInterval 7\n"
        "Host h3\n  Port 2203\n  User own\n"
    ),
}


@pytest.mark.parametrize("name", ["h1", "h2", "h3"])
def test_include_works_as_in_openssh(home: Path, name: str) -> None:
    """Host, port and user are those that `ssh -G` prints."""
    for path, text in INCLUDED.items():
        (home / path).write_text(text.replace("conf.d/*", str(home / ".ssh/conf.d/*")))
    argv = ("ssh", "-G", "-F", str(home / "config"), name)
    stdout = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    expected = dict(line.split(" ", 1) for line in stdout.splitlines())
    target = Connections(home / "config").to(host(name))
    assert (target.host, str(target.port)) == (expected["hostname"], expected["port"])
    assert target.user == expected["user"]


def test_an_include_of_itself_is_refused(home: Path) -> None:
    """OpenSSH also refuses more than 16 levels."""
    (home / "config").write_text(f"Include {home}/config\n")
    with pytest.raises(UsageError, match="nested deeper than 16"):
        Connections(home / "config")


@pytest.mark.parametrize(
    "line", ["Match localnetwork 10.0.0.0/8", "Match !tagged x", "Match host h1 sessiontype shell"]
)
def test_an_unknown_match_is_refused(home: Path, line: str) -> None:
    """Paramiko would treat it as one that matches."""
    (home / "config").write_text(f"Host h1\n  Port 22\n{line}\n  Port 23\n")
    with pytest.raises(UsageError, match=r"config:3: Match '\w+' is not supported"):
        Connections(home / "config")


def test_a_match_that_paramiko_supports_is_followed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paramiko supports `originalhost` and `exec`, for example."""
    monkeypatch.setattr("sys.stdin", io.StringIO())  # the command of `exec` would read it
    text = 'Match originalhost h1 exec "true"\n  Port 2201\nMatch exec "false"\n  Port 1\n'
    (home / "config").write_text(text)
    assert Connections(home / "config").to(host("h1")).port == 2201


def test_the_inventory_overrides_ssh_config(home: Path) -> None:
    """In ssh_config, the options for the address come before those for the name."""
    (home / "config").write_text(
        "Host h1\n  User name\n  Port 2201\nHost 192.0.2.9\n  Port 2209\n  ProxyCommand nc %h %p\n"
    )
    connections = Connections(home / "config")
    assert connections.to(host("h1")).host == "192.0.2.1"
    target = connections.to(host("h1", Login(address="192.0.2.9", user="me")))
    assert (target.host, target.port, target.user) == ("192.0.2.9", 2209, "me")
    assert target.gateway == "nc 192.0.2.9 2209"


def test_every_jump_host_is_a_hop(home: Path) -> None:
    """The last jump host of the list is next to the host."""
    (home / "config").write_text("Host h1\n  ProxyJump me@a:2201,b\nHost b\n  HostName b.example\n")
    names = [(hop.host, hop.port) for hop in hops(Connections(home / "config").to(host("h1")))]
    assert names == [("192.0.2.1", 22), ("b.example", 22), ("a", 2201)]


def test_ignored_options_are_named(home: Path) -> None:
    """Some of them would change which host keys are trusted."""
    (home / "config").write_text("Host h1\n  CertificateFile ~/c\n  KnownHostsCommand none\n")
    connections = Connections(home / "config")
    assert connections.ignored_options(host("h1")) == ("certificatefile",)
    assert connections.ignored_options(host("h2")) == ()


def test_connections_share_no_settings(tmp_path: Path) -> None:
    """Fabric changes the settings of a new connection while another thread may read its own."""
    (tmp_path / "config").touch()
    connections = Connections(tmp_path / "config")
    both = [connections.to(host(name)) for name in ("h1", "h2")]
    assert both[0].config is not both[1].config
