"""Reading ssh_config: the values of `ssh -G`, precedence, jump hosts, and the plain parser."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision.model.errors import UsageError
from provision.model.inventory import Host
from provision.model.inventory import Ssh as Login
from provision.transport.ssh.connections import Connections
from provision.transport.ssh.hop import hops
from provision.transport.ssh.openssh import ClientConfig


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with ~/.ssh."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh/conf.d").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def connections(home: Path) -> Callable[..., Connections]:
    """A function that reads an ssh_config; `program=None`: without ssh."""

    def read(text: str, **options: None) -> Connections:
        (home / "config").write_text(text)
        return Connections(ClientConfig(home / "config", **options))

    return read


Read = Callable[..., Connections]


def host(name: str, login: Login | None = None) -> Host:
    """A host of an inventory, with ssh options of its own."""
    return Host(name, IPv4Address("192.0.2.1"), ssh=login or Login())


def test_a_block_in_an_included_file_counts_only_where_the_include_does(
    home: Path, connections: Read
) -> None:
    """As in OpenSSH: here only for h1, although the block is for all."""
    (home / "part").write_text("Host *\n  Port 2201\n")
    read = connections(f"Host h1\n  Include {home}/part\nHost *\n  User all\n")
    endpoints = [read.endpoint(host(name)) for name in ("h1", "h2")]
    assert [(endpoint.port, endpoint.user) for endpoint in endpoints] == [
        (2201, "all"),
        (22, "all"),
    ]


def test_an_include_of_itself_is_refused(home: Path, connections: Read) -> None:
    """OpenSSH refuses more than 16 levels."""
    with pytest.raises(UsageError, match="Too many recursive configuration includes"):
        connections(f"Include {home}/config\n").to(host("h1"))


def test_a_file_that_ssh_refuses_is_an_error_with_its_line(connections: Read) -> None:
    """The message is that of ssh, and names the command that shows it."""
    with pytest.raises(UsageError, match=r"`ssh -G .* h1`: .*config.*line 2.*bad") as error:
        connections("Host h1\n  Bad value\n").to(host("h1"))
    assert "--ssh-config" in error.value.hint


def test_a_command_of_match_that_hangs_is_an_error(
    connections: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its standard input is empty, and its time is limited."""
    monkeypatch.setattr("provision.transport.ssh.openssh.ANSWER_S", 1)
    begin = time.monotonic()
    with pytest.raises(UsageError, match=r"did not end within 1 s"):
        connections('Match exec "sleep 30"\n  Port 1\n').to(host("h1"))
    assert time.monotonic() - begin < 20
    assert connections('Match exec "cat"\n  Port 2201\n').to(host("h1")).port == 2201


def test_the_inventory_overrides_ssh_config(connections: Read) -> None:
    """In ssh_config, the options for the address come before those for the name."""
    read = connections(
        "Host h1\n  User name\n  Port 2201\n  Compression yes\n"
        "Host 192.0.2.9\n  Port 2209\n  ProxyCommand nc %h %p\n"
    )
    assert read.to(host("h1")).host == "192.0.2.1"
    target = read.to(host("h1", Login(address="192.0.2.9", user="me")))
    assert (target.host, target.port, target.user) == ("192.0.2.9", 2209, "me")
    assert target.proxy == "nc 192.0.2.9 2209"
    target = read.to(host("h1", Login(address="192.0.2.8", port=2207)))
    assert (target.host, target.port, target.user) == ("192.0.2.8", 2207, "name")


def test_every_jump_host_is_a_hop(connections: Read) -> None:
    """The last jump host of the list is next to the host."""
    text = "Host h1\n  ProxyJump me@a:2201,b\nHost b\n  HostName b.example\n"
    names = [(hop.host, hop.port) for hop in hops(connections(text).to(host("h1")))]
    assert names == [("192.0.2.1", 22), ("b.example", 22), ("a", 2201)]


def test_the_jump_hosts_of_the_inventory_replace_those_of_ssh_config(connections: Read) -> None:
    """And its ProxyCommand, as `ssh -J` does; `none` replaces them by nothing."""
    read = connections("Host h1\n  ProxyJump a\nHost h2\n  ProxyCommand nc %h %p\n")
    for name in ("h1", "h2"):
        target = read.to(host(name, Login(jump="me@[2001:db8::1]:2201,b")))
        assert [hop.host for hop in hops(target)] == ["192.0.2.1", "b", "2001:db8::1"]
    assert not read.to(host("h1", Login(jump="none"))).proxy


def test_ignored_options_are_named(connections: Read) -> None:
    """Some of them would change which host keys are trusted."""
    read = connections("Host h1\n  CertificateFile ~/c\n  KnownHostsCommand none\n")
    assert read.endpoint(host("h1")).ignored == ("certificatefile",)
    assert read.endpoint(host("h2")).ignored == ()


def test_connections_share_no_settings(connections: Read) -> None:
    """Fabric changes the settings of a new connection while another thread may read its own."""
    read = connections("")
    both = [read.to(host(name)) for name in ("h1", "h2")]
    assert both[0].config is not both[1].config


def test_each_destination_is_asked_for_once(home: Path, connections: Read) -> None:
    """Twenty hosts behind one bastion; a command in ssh_config counts the readings."""
    log = home / "log"
    command = f'Match exec "echo %n >>{log}"\n'
    read = connections(f"Host h*\n  ProxyJump bastion\n{command}")
    names = [f"h{number}" for number in range(20)]
    read.client_config.start(host(name) for name in names)
    for _ in range(2):
        for name in names:
            read.to(host(name))
    assert sorted(log.read_text().split()) == sorted([*names, "bastion"])


def test_a_file_called_none_is_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ssh -F none` would read no file."""
    monkeypatch.chdir(home)
    (home / "none").write_text("Port 2201\n")
    assert Connections(ClientConfig(Path("none"))).to(host("h1")).port == 2201


def test_the_home_of_the_environment_counts(home: Path) -> None:
    """ssh itself asks the user database; all other programs ask HOME."""
    (home / ".ssh/config").write_text("Host h1\n  Port 2201\n  IdentityFile ~/.ssh/id\n")
    (home / ".ssh/known_hosts").touch()
    endpoint = Connections(ClientConfig(None)).endpoint(host("h1"))
    assert (endpoint.port, endpoint.key_files) == (2201, (home / ".ssh/id",))
    assert home / ".ssh/known_hosts" in endpoint.known_hosts_files
    endpoint = Connections(ClientConfig(home / ".ssh/config")).endpoint(host("h1"))
    assert (endpoint.port, endpoint.known_hosts_files[0]) == (2201, home / ".ssh/known_hosts")


def test_without_ssh_the_plain_parser_reads_the_file(connections: Read) -> None:
    """There is a remark, and what paramiko cannot parse is no traceback."""
    text = "Host h1\n  HostName %h.example\n  ProxyJump me@a:2201\nHost *\n  User all\n"
    read = connections(text, program=None)
    target = read.to(host("h1"))
    assert (target.host, target.user, target.proxy.connection.host) == ("h1.example", "all", "a")
    assert target.endpoint.key_files[-1].name == "id_ed25519"
    assert "there is no ssh program" in str(read.client_config.remark)
    login = Login(user="me", port=2207, address="192.0.2.9", jump="b")
    target = read.to(host("h1", login))
    assert (target.host, target.port, target.user) == ("192.0.2.9", 2207, "me")
    assert [hop.host for hop in hops(target)] == ["192.0.2.9", "b"]
    with pytest.raises(UsageError, match="config: "):
        connections("CanonicalizeHostname yes\n", program=None).to(host("h3"))
    assert connections("").client_config.remark is None
