"""ssh_config as one text: Include as OpenSSH has it, and what is refused."""

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
def test_include_is_openssh_s(home: Path, name: str) -> None:
    """The same host, port and user as `ssh -G` finds."""
    for path, text in INCLUDED.items():
        (home / path).write_text(text.replace("conf.d/*", str(home / ".ssh/conf.d/*")))
    argv = ("ssh", "-G", "-F", str(home / "config"), name)
    printed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    wanted = dict(line.split(" ", 1) for line in printed.splitlines())
    found = Connections(home / "config").to(host(name))
    assert (found.host, str(found.port)) == (wanted["hostname"], wanted["port"])
    assert found.user == wanted["user"]


def test_an_include_that_names_itself_ends(home: Path) -> None:
    """With a word, as OpenSSH's own."""
    (home / "config").write_text(f"Include {home}/config\n")
    with pytest.raises(UsageError, match="nested deeper than 16"):
        Connections(home / "config")


@pytest.mark.parametrize(
    "line", ["Match localnetwork 10.0.0.0/8", "Match !tagged x", "Match host h1 sessiontype shell"]
)
def test_an_unknown_match_is_refused(home: Path, line: str) -> None:
    """Paramiko would take it for one that holds."""
    (home / "config").write_text(f"Host h1\n  Port 22\n{line}\n  Port 23\n")
    with pytest.raises(UsageError, match=r"config:3: Match '\w+' is not supported"):
        Connections(home / "config")


def test_match_that_paramiko_knows(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Host, user, exec and final."""
    monkeypatch.setattr("sys.stdin", io.StringIO())  # what paramiko runs would read it
    text = 'Match originalhost h1 exec "true"\n  Port 2201\nMatch exec "false"\n  Port 1\n'
    (home / "config").write_text(text)
    assert Connections(home / "config").to(host("h1")).port == 2201


def test_the_inventory_s_words_come_first(home: Path) -> None:
    """Then those for its address, then those for its name."""
    (home / "config").write_text(
        "Host h1\n  User name\n  Port 2201\nHost 192.0.2.9\n  Port 2209\n  ProxyCommand nc %h %p\n"
    )
    connections = Connections(home / "config")
    assert connections.to(host("h1")).host == "192.0.2.1"
    found = connections.to(host("h1", Login(address="192.0.2.9", user="me")))
    assert (found.host, found.port, found.user) == ("192.0.2.9", 2209, "me")
    assert found.gateway == "nc 192.0.2.9 2209"


def test_every_jump_host_is_a_hop(home: Path) -> None:
    """The last of the list is the nearest to the host."""
    (home / "config").write_text("Host h1\n  ProxyJump me@a:2201,b\nHost b\n  HostName b.example\n")
    names = [(hop.host, hop.port) for hop in hops(Connections(home / "config").to(host("h1")))]
    assert names == [("192.0.2.1", 22), ("b.example", 22), ("a", 2201)]


def test_what_is_not_used_is_named(home: Path) -> None:
    """Options that would change who is trusted."""
    (home / "config").write_text("Host h1\n  CertificateFile ~/c\n  KnownHostsCommand none\n")
    connections = Connections(home / "config")
    assert connections.ignored_options(host("h1")) == ("certificatefile",)
    assert connections.ignored_options(host("h2")) == ()


def test_connections_share_no_settings(tmp_path: Path) -> None:
    """Fabric empties and refills those of one that is made, while another may be read."""
    (tmp_path / "config").touch()
    connections = Connections(tmp_path / "config")
    made = [connections.to(host(name)) for name in ("h1", "h2")]
    assert made[0].config is not made[1].config
