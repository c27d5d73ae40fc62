"""Logins to a real sshd: `provision` connects wherever `ssh` does, and where it does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.model.errors import AuthError, HostKeyError, NoAnswerError, UsageError
from tests.sshd import USER, Sshd, block, certify, client, keygen, login, serving, transport


@pytest.fixture(autouse=True, params=["paramiko", "openssh"])
def by_client(request: pytest.FixtureRequest) -> Iterator[str]:
    """The client that logs in: each test of this file runs with both."""
    token = client.set(request.param)
    yield request.param
    client.reset(token)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server with three host keys, as Debian's package makes them."""
    folder = tmp_path_factory.mktemp("sshd")
    with serving(folder, kinds=("rsa", "ecdsa", "ed25519")) as server:
        yield server


@pytest.fixture
def known(tmp_path: Path, server: Sshd) -> Path:
    """A known_hosts file with the server's key."""
    path = tmp_path / "known_hosts"
    path.write_text(f"{server.name} {server.host_key()}\n")
    return path


def test_a_login_works(tmp_path: Path, server: Sshd, known: Path) -> None:
    """The login that the other tests of this file vary."""
    assert login(transport(tmp_path, block(server, known))) == "in\n"


def test_the_address_of_a_host_is_not_looked_up_as_a_name(
    tmp_path: Path, server: Sshd, known: Path
) -> None:
    """A block for the address that HostName gives does not count for the name, as for ssh."""
    config = block(server, known) + "Host 127.0.0.*\n  User nobody\n"
    assert login(transport(tmp_path, config)) == "in\n"


RELAY = """
import os, socket, sys, threading
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def send():
    while chunk := os.read(0, 65536):
        connection.sendall(chunk)
threading.Thread(target=send, daemon=True).start()
while chunk := connection.recv(65536):
    os.write(1, chunk)
"""


def test_a_proxy_command_gets_the_address_and_the_port(
    tmp_path: Path, server: Sshd, known: Path
) -> None:
    """Those of the inventory; the command is one for a shell, as for ssh."""
    log = tmp_path / "arguments"
    relay = tmp_path / "relay.py"
    relay.write_text(RELAY)
    command = f"""sh -c 'echo "$@" >{log}; exec {sys.executable} {relay} "$@"' sh %h %p %n %r %%"""
    config = (
        f"Host *\n  ProxyCommand {command}\n  IdentityFile {server.folder}/id\n"
        f"  User {USER}\n  UserKnownHostsFile {known}\n"
    )
    hosts = f"  h1: {{address: 192.0.2.1, ssh: {{address: 127.0.0.1, port: {server.port}}}}}\n"
    assert login(transport(tmp_path, config, hosts)) == "in\n"
    assert log.read_text() == f"127.0.0.1 {server.port} h1 {USER} %\n"


def test_canonicalize_hostname_alone_is_harmless(tmp_path: Path, server: Sshd, known: Path) -> None:
    """paramiko raises KeyError where CanonicalDomains is missing."""
    config = block(server, known, more="  CanonicalizeHostname yes\n")
    assert login(transport(tmp_path, config)) == "in\n"


def test_a_bastion_without_a_jump_of_its_own(tmp_path: Path, server: Sshd, known: Path) -> None:
    """`ProxyCommand none` for the bastion comes before `ProxyJump` for all."""
    config = block(server, known, host="bastion", more="  ProxyCommand none\n")
    config += block(server, known) + "Host *\n  ProxyJump bastion\n"
    before = server.log.count("Accepted publickey")
    assert login(transport(tmp_path, config)) == "in\n"
    assert server.log.count("Accepted publickey") == before + 2


def test_jump_hosts_that_lead_back_are_refused(tmp_path: Path, known: Path, server: Sshd) -> None:
    """ssh would start processes without end."""
    config = "Host h1\n  ProxyJump a\nHost a\n  ProxyJump b\nHost b\n  ProxyJump a\n"
    with pytest.raises(UsageError, match="the jump hosts of h1 lead back to a"):
        login(transport(tmp_path, config + block(server, known)))


AUTHORITY = "@cert-authority *.corp.example.com {key}\n"


@pytest.mark.parametrize(
    "line",
    [
        AUTHORITY,
        "other.example {key}\n".replace("{key}", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILaa"),
        "other.example ssh-ed25519 AAA\n",
        "other.example ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7\n",
        "oth\xe9r {key}\n",
        "@strange other {key}\n",
        "other 1024 65537 123456789\n",
        "|1|notbase64|x {key}\n",
        "\x00\x01\n",
    ],
)
def test_lines_of_others_do_no_harm(tmp_path: Path, server: Sshd, known: Path, line: str) -> None:
    """Damaged lines, and those that paramiko cannot read, stand before the host's line."""
    other = keygen(tmp_path / "other")
    good = f"{server.name}\t {server.host_key()}   comment\n"
    known.write_bytes(line.format(key=other).encode("latin-1") + good.encode())
    ssh = transport(tmp_path, block(server, known))
    remarks = ssh.warnings(("h1",))
    assert login(ssh) == "in\n"
    readable = line.startswith(("@cert", "oth\xe9r", "|1|"))
    expected = () if readable else (f"{known}: passed over damaged lines: 1",)
    assert len(remarks) == len(expected)
    assert all(found.startswith(text) for found, text in zip(remarks, expected, strict=True))


@pytest.mark.parametrize(
    "hosts",
    [
        "127.0.0.1",  # ssh accepts the key of the name without the port
        "*.0.1",
        "10.0.0.?,[127.0.0.1]:*",
        "h1",
        "[127.0.0.1]:{port},other",
    ],
)
def test_patterns_match_as_in_openssh(
    tmp_path: Path, server: Sshd, known: Path, hosts: str
) -> None:
    """The key is accepted for each of these forms of the host's name."""
    known.write_text(f"{hosts.format(port=server.port)} {server.host_key()}\n")
    assert login(transport(tmp_path, block(server, known))) == "in\n"


@pytest.mark.parametrize(
    "hosts", ["127.0.0.2", "![127.0.0.1]:*,[127.*", "![127.0.0.1]:*,*", "!h1,h1", "x127.*", "127"]
)
def test_patterns_that_do_not_match(tmp_path: Path, server: Sshd, known: Path, hosts: str) -> None:
    """The host's key is not recorded then."""
    known.write_text(f"{hosts} {server.host_key()}\n")
    with pytest.raises(HostKeyError, match="not recorded"):
        login(transport(tmp_path, block(server, known)))


def test_hashed_names_and_several_files(tmp_path: Path, server: Sshd, known: Path) -> None:
    """The second file has the hashed name; the first one's path has a blank."""
    subprocess.run(("ssh-keygen", "-q", "-H", "-f", str(known)), check=True, capture_output=True)
    assert "127.0.0.1" not in known.read_text()
    first = tmp_path / "a b"
    first.write_text("other ssh-ed25519 AAA\n")
    config = block(server, known).replace(f"File {known}", f'File "{first}" {known}')
    assert login(transport(tmp_path, config)) == "in\n"


def test_tokens_in_the_name_of_the_file(tmp_path: Path, server: Sshd) -> None:
    """`%k` is HostKeyAlias, and the alias is the host's name in known_hosts."""
    named = tmp_path / "keys-of-alias"
    named.write_text(f"alias {server.host_key()}\n")
    config = block(server, tmp_path / "keys-of-%k", more="  HostKeyAlias alias\n")
    assert login(transport(tmp_path, config)) == "in\n"
    named.write_text(f"{server.name} {server.host_key()}\n")
    with pytest.raises(HostKeyError, match="not recorded"):
        login(transport(tmp_path, config))
    named.write_text(f"alias {keygen(tmp_path / 'other')}\n")
    with pytest.raises(HostKeyError, match="differs from the recorded one"):
        login(transport(tmp_path, config))


def test_a_second_key_of_the_same_kind_is_accepted(
    tmp_path: Path, server: Sshd, known: Path
) -> None:
    """Two machines behind one name have a line each."""
    other = keygen(tmp_path / "other")
    for order in (f"{other}\n{server.host_key()}", f"{server.host_key()}\n{other}"):
        known.write_text("".join(f"{server.name} {key}\n" for key in order.splitlines()))
        assert login(transport(tmp_path, block(server, known))) == "in\n"


def test_a_changed_key_is_refused_with_its_line(tmp_path: Path, server: Sshd, known: Path) -> None:
    """The hint names file and line, also when the other key is of another kind."""
    for kind in ("ed25519", "rsa"):
        other = keygen(tmp_path / f"other_{kind}", kind)
        known.write_text(f"# mine\n{server.name} {other}\n")
        with pytest.raises(HostKeyError, match="differs from the recorded one") as error:
            login(transport(tmp_path, block(server, known)))
        assert f"{known}:2" in error.value.hint
        (offer,) = transport(tmp_path, block(server, known)).offers("h1")
        assert (offer.status, offer.recorded_in) == ("changed", (f"{known}:2",))


def test_only_the_host_key_of_the_inventory_counts(
    tmp_path: Path, server: Sshd, known: Path
) -> None:
    """Where there is one; known_hosts has the right key here, and does not help."""
    other = keygen(tmp_path / "other")
    hosts = '  h1: {{address: 192.0.2.1, host_key: "{key}"}}\n'
    config = block(server, known)
    assert login(transport(tmp_path, config, hosts.format(key=server.host_key()))) == "in\n"
    with pytest.raises(HostKeyError, match="differs") as error:
        login(transport(tmp_path, config, hosts.format(key=other)))
    assert "hosts.h1.host_key in the inventory" in error.value.hint


def test_trust_says_that_it_cannot_record(tmp_path: Path, server: Sshd, known: Path) -> None:
    """One line, and status 2."""
    known.unlink()
    transport(tmp_path, block(server, known))
    (tmp_path / ".provision").touch()
    program = str(Path(sys.executable).with_name("provision"))
    argv = (program, "trust", "demo.yml", "--ssh-config", "ssh_config", "--yes")
    process = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)
    assert (process.returncode, "Traceback" in process.stderr) == (2, False), process.stderr
    assert ".provision/known_hosts cannot be written" in process.stderr


def test_trust_records_the_key_that_a_login_needs(
    tmp_path: Path, server: Sshd, known: Path
) -> None:
    """By HostKeyAlias, if there is one; a changed key is not replaced."""
    known.unlink()
    config = block(server, known, more="  HostKeyAlias alias\n")
    transport(tmp_path, config)
    program = str(Path(sys.executable).with_name("provision"))
    argv = (program, "trust", "demo.yml", "--ssh-config", "ssh_config", "--yes")
    options = {"cwd": tmp_path, "capture_output": True, "text": True}
    process = subprocess.run(argv, **options)
    assert (process.returncode, process.stdout) == (0, "0 known, 1 recorded.\n"), process.stderr
    project = tmp_path / ".provision/known_hosts"
    assert project.read_text().startswith("alias ssh-ed25519 ")
    assert subprocess.run(argv, **options).stdout == "1 known, 0 recorded.\n"
    project.write_bytes("# Zoë\n".encode("latin-1"))
    process = subprocess.run(argv, **options)
    assert (process.returncode, process.stdout) == (0, "0 known, 1 recorded.\n"), process.stderr
    assert project.read_bytes().startswith("# Zoë\nalias ".encode("latin-1"))
    project.write_text(f"alias {keygen(tmp_path / 'other')}\n")
    process = subprocess.run(argv, **options)
    assert process.returncode == 4
    assert f"{project}:1" in process.stderr


def test_a_revoked_key_is_refused(tmp_path: Path, server: Sshd, known: Path) -> None:
    """Although another line, before it, has the same key for the host."""
    known.write_text(known.read_text() + f"@revoked * {server.host_key()}\n")
    with pytest.raises(HostKeyError, match="is revoked"):
        login(transport(tmp_path, block(server, known)))


def test_one_recorded_kind_is_enough(tmp_path: Path, server: Sshd, known: Path) -> None:
    """Only ssh-rsa is recorded for a host with three keys: `trust` calls it known."""
    known.write_text(f"{server.name} {server.host_key('rsa')}\n")
    ssh = transport(tmp_path, block(server, known))
    assert [(offer.kind, offer.status) for offer in ssh.offers("h1")] == [("ssh-rsa", "known")]
    assert login(ssh) == "in\n"


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """The key of a certificate authority."""
    keygen(tmp_path / "authority")
    return tmp_path / "authority"


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("signer", ["ed25519", "ecdsa", "rsa"])
def test_a_host_certificate_is_accepted(tmp_path: Path, kind: str, signer: str) -> None:
    """The authority is recorded for the host, the host's own key is not."""
    authority, folder = tmp_path / "authority", tmp_path / "sshd"
    line = keygen(authority, signer)
    folder.mkdir()
    keygen(folder / f"host_{kind}", kind)
    certify(authority, folder / f"host_{kind}", "-n", "h1,127.0.0.1")
    known = tmp_path / "known_hosts"
    known.write_text(f"@cert-authority 127.0.0.*,[127.0.0.*]:* {line}\n")
    more = f"HostCertificate {folder}/host_{kind}-cert.pub"
    with serving(folder, kinds=(kind,), more=more) as server:
        assert login(transport(tmp_path, block(server, known))) == "in\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-n", "h2"), "it is for 'h2', not for 127.0.0.1 or h1"),
        ((), "it is for no name"),
        (
            ("-n", "h1", "-V", "20200101:20210101"),
            r"not valid at|invalid: expired",
        ),
        (("-n", "h1", "-O", "critical:x"), "critical options"),
    ],
)
def test_a_host_certificate_for_something_else_is_refused(
    tmp_path: Path, authority: Path, options: tuple[str, ...], message: str, by_client: str
) -> None:
    """By paramiko even if its plain key is recorded."""
    folder = tmp_path / "sshd"
    folder.mkdir()
    own = keygen(folder / "host_ed25519")
    certify(authority, folder / "host_ed25519", *options)
    known = tmp_path / "known_hosts"
    line = " ".join((tmp_path / "authority.pub").read_text().split()[:2])
    more = f"HostCertificate {folder}/host_ed25519-cert.pub"
    with serving(folder, more=more) as server:
        config = block(server, known)
        # ssh takes the plain key of the host instead, where that is recorded, too.
        plain = f"{server.name} {own}\n" if by_client == "paramiko" else ""
        known.write_text(f"@cert-authority * {line}\n{plain}")
        with pytest.raises(HostKeyError, match=message):
            login(transport(tmp_path, config))
        # A certificate of an authority that is not recorded counts as its plain key.
        known.write_text(f"@cert-authority other {line}\n{server.name} {own}\n")
        assert login(transport(tmp_path, config)) == "in\n"


def test_a_host_certificate_is_refused_if_its_authority_is(tmp_path: Path, authority: Path) -> None:
    """Revoked, or recorded for other hosts only."""
    folder = tmp_path / "sshd"
    folder.mkdir()
    keygen(folder / "host_ed25519")
    certify(authority, folder / "host_ed25519", "-n", "h1")
    known = tmp_path / "known_hosts"
    line = " ".join((tmp_path / "authority.pub").read_text().split()[:2])
    other = keygen(tmp_path / "other")
    with serving(folder, more=f"HostCertificate {folder}/host_ed25519-cert.pub") as server:
        config = block(server, known)
        for lines, message in (
            (f"@cert-authority * {line}\n@revoked * {line}\n", "authority is revoked"),
            (f"@cert-authority *.corp.example {line}\n", "not recorded"),
            (f"@cert-authority * {other}\n", "not recorded"),
        ):
            known.write_text(lines)
            with pytest.raises(HostKeyError, match=message):
                login(transport(tmp_path, config))


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An agent of its own, without keys."""
    sock = tmp_path / "agent.sock"
    process = subprocess.Popen(
        ("ssh-agent", "-D", "-a", str(sock)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
    while not sock.exists():
        assert process.poll() is None
    yield
    process.terminate()
    process.wait(10)


@pytest.mark.usefixtures("agent")
def test_identities_only_limits_the_keys_of_the_agent(
    tmp_path: Path, server: Sshd, known: Path
) -> None:
    """With nine keys in the agent, only that of the public key file is offered."""
    names = [f"k{number}" for number in range(8)]
    for name in names:
        keygen(tmp_path / name)
    lab = tmp_path / "lab"
    lab.write_bytes((server.folder / "id").read_bytes())
    lab.chmod(0o600)
    keys = [str(tmp_path / name) for name in names]
    subprocess.run(("ssh-add", "-q", *keys, str(lab)), check=True)
    (tmp_path / "lab.pub").write_text((server.folder / "id.pub").read_text())
    lab.unlink()
    config = block(server, known, more="  IdentitiesOnly yes\n")
    config = config.replace(f"{server.folder}/id", f"{tmp_path}/lab.pub")
    assert login(transport(tmp_path, config)) == "in\n"
    # A locked key has its public part in clear, so that the agent's is found without a .pub file.
    locked = tmp_path / "locked"
    locked.write_bytes((server.folder / "id").read_bytes())
    locked.chmod(0o600)
    argv = ("ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(locked))
    subprocess.run(argv, check=True, capture_output=True)
    assert login(transport(tmp_path, config.replace("lab.pub", "locked"))) == "in\n"
    every = block(server, known).replace(f"{server.folder}/id", f"{tmp_path}/none")
    with pytest.raises(AuthError, match=r"after 6 keys|Too many authentication failures"):
        login(transport(tmp_path, every))


def test_the_words_of_a_forced_command_are_quoted(
    tmp_path: Path, server: Sshd, known: Path
) -> None:
    """Images of clouds let root log in only to print which user to log in as."""
    keys = server.folder / "authorized_keys"
    before = keys.read_text()
    keys.write_text(f"""command="echo 'Please login as debian'; exit 142" {before}""")
    try:
        with pytest.raises(NoAnswerError, match="Please login as debian") as error:
            login(transport(tmp_path, block(server, known)))
        assert "exit status 142" in error.value.message
        assert error.value.hint == "write ssh: {user: debian, sudo: true} in the inventory"
    finally:
        keys.write_text(before)


@pytest.mark.usefixtures("agent")
def test_a_locked_key_is_used_by_the_agent(
    tmp_path: Path, server: Sshd, known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the inventory; if the agent does not have it, the error says that it is locked."""
    monkeypatch.setenv("HOME", str(tmp_path))  # without the keys of the user who runs the tests
    key = tmp_path / "locked"
    key.write_bytes((server.folder / "id").read_bytes())
    key.chmod(0o600)
    subprocess.run(("ssh-add", "-q", str(key)), check=True)
    argv = ("ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(key))
    subprocess.run(argv, check=True, capture_output=True)
    config = block(server, known).replace(f"  IdentityFile {server.folder}/id\n", "")
    assert login(transport(tmp_path, config, ssh="{key: locked}")) == "in\n"
    subprocess.run(("ssh-add", "-q", "-D"), check=True)
    with pytest.raises(AuthError, match="the key is locked by a passphrase"):
        login(transport(tmp_path, config, ssh="{key: locked}"))
    key.unlink()
    with pytest.raises(AuthError, match="there is no key to offer"):
        login(transport(tmp_path, config))
