"""The two clients: when ssh connects instead of paramiko, and what both say when they cannot."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from provision.model.errors import AuthError, ConnectError, HostKeyError, TimedOut, UsageError
from provision.transport.ssh.openssh import ClientConfig
from provision.transport.ssh.proxy_command import ProxyCommand
from tests.sshd import USER, Sshd, block, client, keygen, login, serving, transport

BOTH = pytest.mark.parametrize("by_client", ["paramiko", "openssh"], indirect=True)
FIRST = "provision-ssh-"


@pytest.fixture(autouse=True)
def by_client(request: pytest.FixtureRequest) -> Iterator[str]:
    """The client of the inventory: `auto` unless a test names others."""
    name = getattr(request, "param", "auto")
    token = client.set(name)
    yield name
    client.reset(token)


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files, in which ssh leaves nothing; its path is short, as /tmp's."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)
        assert not list(Path(folder).iterdir())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server that also takes certificates of users, signed by `ca` in its folder."""
    folder = tmp_path_factory.mktemp("sshd")
    keygen(folder / "ca")
    with serving(folder, more=f"TrustedUserCAKeys {folder}/ca.pub") as server:
        yield server


@pytest.fixture
def known(tmp_path: Path, server: Sshd) -> Path:
    """A known_hosts file with the server's key."""
    path = tmp_path / "known_hosts"
    path.write_text(f"{server.name} {server.host_key()}\n")
    return path


def sign_user(server: Sshd, key: Path) -> Path:
    """A certificate for the user of the tests, signed by the server's authority."""
    sign = ("ssh-keygen", "-q", "-s", str(server.folder / "ca"), "-I", "u", "-n", USER)
    subprocess.run((*sign, str(key.with_name(f"{key.name}.pub"))), check=True)
    return key.with_name(f"{key.name}-cert.pub")


def test_a_certificate_apart_from_its_key(tmp_path: Path, server: Sshd, known: Path) -> None:
    """CertificateFile is for ssh; with `client: paramiko`, a note says that it is ignored."""
    keygen(tmp_path / "mine")
    sign_user(server, tmp_path / "mine").rename(tmp_path / "elsewhere.pub")
    config = block(server, known, more=f"  CertificateFile {tmp_path}/elsewhere.pub\n")
    config = config.replace(f"{server.folder}/id", f"{tmp_path}/mine")
    ssh = transport(tmp_path, config)
    assert ssh.warnings(("h1",)) == ()
    assert login(ssh) == "in\n"
    token = client.set("paramiko")
    ssh = transport(tmp_path, config)
    client.reset(token)
    assert ssh.warnings(("h1",)) == ("certificatefile in ssh_config is ignored (h1)",)
    with pytest.raises(AuthError):
        login(ssh)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_a_key_in_pkcs8(tmp_path: Path, server: Sshd, known: Path, kind: str) -> None:
    """OpenSSL writes keys so; that of the inventory, too."""
    key = tmp_path / "pkcs8"
    line = keygen(key, kind)
    argv = ("ssh-keygen", "-q", "-p", "-m", "PKCS8", "-N", "", "-f", str(key))
    subprocess.run(argv, check=True, capture_output=True)
    assert key.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    with authorized(server, line):
        config = block(server, known).replace(f"{server.folder}/id", str(key))
        assert login(transport(tmp_path, config)) == "in\n"
        config = block(server, known).replace(f"  IdentityFile {server.folder}/id\n", "")
        assert login(transport(tmp_path, config, ssh="{key: pkcs8}")) == "in\n"


@contextmanager
def authorized(server: Sshd, lines: str) -> Iterator[None]:
    """The server accepts only the keys of these lines meanwhile."""
    path = server.folder / "authorized_keys"
    before = path.read_text()
    path.write_text(f"{lines}\n")
    try:
        yield
    finally:
        path.write_text(before)


def test_keys_of_a_known_hosts_command(tmp_path: Path, server: Sshd, known: Path) -> None:
    """KnownHostsCommand prints the only record of the host's key, or that of another host."""
    known.unlink()
    for key, works in ((server.host_key(), True), (keygen(tmp_path / "other"), False)):
        command = f"/bin/echo {server.name} {key}"
        config = block(server, known, more=f"  KnownHostsCommand {command}\n")
        if works:
            assert login(transport(tmp_path, config)) == "in\n"
        else:
            with pytest.raises(HostKeyError):
                login(transport(tmp_path, config))


def test_a_key_revoked_by_a_file(tmp_path: Path, server: Sshd, known: Path) -> None:
    """RevokedHostKeys: a list of keys, although known_hosts has the key."""
    (tmp_path / "revoked").write_text(server.host_key() + "\n")
    config = block(server, known, more=f"  RevokedHostKeys {tmp_path}/revoked\n")
    with pytest.raises(HostKeyError, match="is revoked"):
        login(transport(tmp_path, config))


def test_algorithms_that_paramiko_lacks(tmp_path: Path) -> None:
    """Those of ssh_config are known beforehand, those of the server only once it has answered."""
    kex = "sntrup761x25519-sha512@openssh.com"
    with serving(tmp_path / "sshd", more=f"KexAlgorithms {kex}") as server:
        known = tmp_path / "known_hosts"
        known.write_text(f"{server.name} {server.host_key()}\n")
        assert login(transport(tmp_path, block(server, known))) == "in\n"
        config = block(server, known, more=f"  KexAlgorithms {kex}\n")
        assert login(transport(tmp_path, config)) == "in\n"
        assert server.log.count("no matching key exchange method") == 1
        known.write_text(f"{server.name} {keygen(tmp_path / 'other')}\n")
        with pytest.raises(HostKeyError, match="differs from the recorded one"):
            login(transport(tmp_path, block(server, known)))


@contextmanager
def agent(folder: Path, *keys: Path) -> Iterator[Path]:
    """An agent with these keys; its socket."""
    path = folder / "agent.sock"
    argv = ("ssh-agent", "-D", "-a", str(path))
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.01)
    try:
        env = os.environ | {"SSH_AUTH_SOCK": str(path)}
        subprocess.run(("ssh-add", "-q", *map(str, keys)), check=True, env=env)
        yield path
    finally:
        process.terminate()
        process.wait(10)


def test_a_certificate_in_the_agent(
    tmp_path: Path, server: Sshd, known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of Vault or step-ca: paramiko cannot use it, ssh can."""
    monkeypatch.setenv("HOME", str(tmp_path))
    keygen(tmp_path / "mine")
    sign_user(server, tmp_path / "mine")
    config = block(server, known).replace(f"  IdentityFile {server.folder}/id\n", "")
    with agent(tmp_path, tmp_path / "mine") as sock:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
        assert login(transport(tmp_path, config)) == "in\n"


@BOTH
def test_the_agent_of_identity_agent(
    tmp_path: Path, server: Sshd, known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path, one with a variable, a variable; `none` for no agent."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "dead"))
    monkeypatch.setenv("AGENTS", str(tmp_path))
    config = block(server, known).replace(f"  IdentityFile {server.folder}/id\n", "")
    with agent(tmp_path, server.folder / "id") as sock:
        monkeypatch.setenv("MY_AGENT", str(sock))
        for value in (str(sock), "${AGENTS}/agent.sock", "$MY_AGENT"):
            assert login(transport(tmp_path, f"{config}  IdentityAgent {value}\n")) == "in\n"
        for value in ("none", "SSH_AUTH_SOCK"):
            with pytest.raises(AuthError, match="there is no key to offer"):
                login(transport(tmp_path, f"{config}  IdentityAgent {value}\n"))


@BOTH
def test_an_absent_key_file_is_named(
    tmp_path: Path, server: Sshd, known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of ssh_config; OpenSSH's default files need not exist."""
    monkeypatch.setenv("HOME", str(tmp_path))
    config = block(server, known, more="  IdentityAgent none\n")
    config = config.replace(f"{server.folder}/id", f"{tmp_path}/nowhere")
    with pytest.raises(AuthError, match="nowhere does not exist"):
        login(transport(tmp_path, config))
    config = config.replace(f"  IdentityFile {tmp_path}/nowhere\n", "")
    with pytest.raises(AuthError) as error:
        login(transport(tmp_path, config))
    assert "not exist" not in error.value.message


def test_one_connection_per_host_and_nothing_left(
    tmp_path: Path, server: Sshd, known: Path, own_folder: Path
) -> None:
    """Commands share the connection of ssh; its folder is only for this user."""
    before = server.log.count("Accepted publickey")
    token = client.set("openssh")
    ssh = transport(tmp_path, block(server, known))
    client.reset(token)
    for number in range(3):
        assert ssh.run("h1", f"echo {number}", timeout_s=30).stdout == f"{number}\n"
    assert server.log.count("Accepted publickey") == before + 1
    (folder,) = own_folder.iterdir()
    assert folder.name.startswith(FIRST) and folder.stat().st_mode & 0o777 == 0o700
    ssh.close()
    assert not list(own_folder.iterdir())
    assert ssh.run("h1", "echo again", timeout_s=30).stdout == "again\n"
    ssh.close()


HOLD = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from provision.inventory.load import load
from provision.transport.ssh.transport import SshTransport
ssh = SshTransport(load(Path("demo.yml")), Path("ssh_config"))
ssh.run("h1", "true", timeout_s=30)
print("in", flush=True)
time.sleep(60)
"""


@pytest.fixture
def deaf_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ssh that misses SIGTERM, as OpenSSH before 9.3 does now and then: its file of ids."""
    folder, ids = tmp_path / "bin", tmp_path / "ids"
    folder.mkdir()
    ssh = shutil.which("ssh")
    text = f"#!/bin/sh\n[ $1 = -G ] || echo $$ >>{ids}\ntrap '' TERM\nexec {ssh} \"$@\"\n"
    (folder / "ssh").write_text(text)
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return ids


def has_ended(ids: Path) -> bool:
    """True once all processes of a file of ids are gone, or dead and not yet waited for."""
    states = [Path(f"/proc/{number}/stat") for number in ids.read_text().split()]
    return all(not path.exists() or ") Z " in path.read_text() for path in states)


@pytest.mark.parametrize("by_client", ["openssh"], indirect=True)
def test_an_ssh_that_misses_its_signal_ends(
    tmp_path: Path, server: Sshd, known: Path, deaf_ssh: Path
) -> None:
    """A close comes back, and a second connection has its files."""
    ssh = transport(tmp_path, block(server, known))
    ssh._connections.client_config.program = str(tmp_path / "bin" / "ssh")
    for _ in range(2):
        assert ssh.run("h1", "echo in", timeout_s=30).stdout == "in\n"
        ssh.close()
        assert has_ended(deaf_ssh)


@pytest.mark.parametrize("misses", [False, True])
def test_ssh_ends_with_provision(
    tmp_path: Path,
    server: Sshd,
    known: Path,
    own_folder: Path,
    misses: bool,
    request: pytest.FixtureRequest,
) -> None:
    """Even if provision is killed: neither a process nor a file is left."""
    ids = request.getfixturevalue("deaf_ssh") if misses else None
    token = client.set("openssh")
    transport(tmp_path, block(server, known))
    client.reset(token)
    program = HOLD.format(root=str(Path(__file__).parents[2]))
    argv = (sys.executable, "-c", program)
    with subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"in\n"
        assert list(own_folder.iterdir())
        process.send_signal(signal.SIGKILL)
    until = time.monotonic() + 20
    # Its files go first; an ssh that misses the signal is killed some seconds later.
    while not (gone := ids is None or has_ended(ids)) or list(own_folder.iterdir()):
        assert time.monotonic() < until, (gone, list(own_folder.iterdir()))
        time.sleep(0.05)


@BOTH
def test_long_input_and_long_output(tmp_path: Path, server: Sshd, known: Path) -> None:
    """Both are whole; a command that reads nothing, a status, and a limit of time are kept."""
    ssh = transport(tmp_path, block(server, known))
    text = "".join(f": {'x' * 90} {number}\n" for number in range(20000))
    output = ssh.run("h1", f"{text}head -c 3000000 /dev/zero | tr '\\0' x; exit 3", timeout_s=60)
    assert (output.status, len(output.stdout)) == (3, 3_000_000)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(5_000_000))
    ssh.send("h1", source, str(target), timeout_s=60)
    assert target.read_bytes() == source.read_bytes() and target.stat().st_mode & 0o777 == 0o600
    assert ssh.run("h1", "exit 255", timeout_s=30).status == 255
    with pytest.raises(TimedOut, match="did not end within 1 s"):
        ssh.run("h1", f"sleep 30; touch {target}.late", timeout_s=1)
    assert not Path(f"{target}.late").exists()  # the limit is not that of the script
    assert ssh.run("h1", "echo next >&2", timeout_s=30).stderr == "next\n"
    with pytest.raises(Exception, match="printed more than"):
        ssh.run("h1", "yes", timeout_s=60)
    ssh.close()


KILL_SSHD = """
number=$$
until grep -q ^sshd /proc/$number/comm; do
  number=$(awk '/^PPid/ {print $2}' /proc/$number/status)
done
kill -9 $number
sleep 5
"""


@BOTH
def test_a_connection_that_breaks(tmp_path: Path, server: Sshd, known: Path) -> None:
    """The script's connection is cut by the server; the next script has a new one."""
    ssh = transport(tmp_path, block(server, known))
    with pytest.raises(ConnectError, match="broke"):
        ssh.run("h1", KILL_SSHD, timeout_s=60)
    assert ssh.run("h1", "echo back", timeout_s=30).stdout == "back\n"
    ssh.close()


@pytest.mark.parametrize("by_client", ["openssh"], indirect=True)
def test_an_ssh_that_takes_its_time_to_end(
    tmp_path: Path, server: Sshd, known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command of the ssh program sees the end before that of its master can be seen."""
    monkeypatch.setattr("provision.transport.ssh.master._has_ended", lambda _: False)
    ssh = transport(tmp_path, block(server, known))
    assert ssh.run("h1", "exit 255", timeout_s=30).status == 255
    with pytest.raises(ConnectError, match="broke"):
        ssh.run("h1", KILL_SSHD, timeout_s=60)
    assert ssh.run("h1", "echo back", timeout_s=30).stdout == "back\n"
    ssh.close()


@BOTH
def test_host_keys_are_checked_on_every_hop(tmp_path: Path, server: Sshd, known: Path) -> None:
    """Whatever StrictHostKeyChecking says, and whatever the name of the hop is."""
    trusting = "  StrictHostKeyChecking no\n  NoHostAuthenticationForLocalhost yes\n"
    bastion = block(server, known, host="bastion", more=trusting)
    config = block(server, known, more=f"  ProxyJump bastion\n{trusting}")
    assert login(transport(tmp_path, config + bastion)) == "in\n"
    other = tmp_path / "other_known_hosts"
    other.write_text(f"{server.name} {keygen(tmp_path / 'other')}\n")
    for text, start in (
        (config + bastion.replace(str(known), str(other)), "jump host bastion: its host key diff"),
        (config + bastion.replace(str(known), "/dev/null"), "jump host bastion: its host key is n"),
        (config.replace(str(known), str(other)) + bastion, "its host key differs"),
    ):
        with pytest.raises(HostKeyError) as error:
            login(transport(tmp_path, text))
        assert error.value.message.startswith(start)


@BOTH
def test_a_bastion_that_forbids_forwarding(tmp_path: Path, server: Sshd, known: Path) -> None:
    """The message names the bastion and the option; other reasons are quoted, too."""
    with serving(tmp_path / "bastion", more="AllowTcpForwarding no") as bastion:
        keys = tmp_path / "keys"
        keys.write_text(f"{bastion.name} {bastion.host_key()}\n")
        config = block(server, known, more="  ProxyJump bastion\n")
        config += block(bastion, keys, host="bastion")
        with pytest.raises(ConnectError, match="dministratively prohibited") as error:
            login(transport(tmp_path, config))
        assert "refuses to forward" in error.value.message
        assert "AllowTcpForwarding yes" in error.value.hint
    config = block(server, known, more="  ProxyJump bastion\n  Port 1\n")
    config = config.replace(f"  Port {server.port}\n", "")
    config += block(server, known, host="bastion")
    with pytest.raises(ConnectError, match=r"cannot connect to it: .*[Cc]onnect"):
        login(transport(tmp_path, config))


@BOTH
def test_a_host_that_refuses_sessions(tmp_path: Path) -> None:
    """MaxSessions 0 is for bastions."""
    with serving(tmp_path / "sshd", more="MaxSessions 0") as server:
        known = tmp_path / "known_hosts"
        known.write_text(f"{server.name} {server.host_key()}\n")
        with pytest.raises(ConnectError, match="refuses a session") as error:
            login(transport(tmp_path, block(server, known)))
        assert "MaxSessions 10" in error.value.hint


@contextmanager
def logging_in(server: Sshd) -> Iterator[None]:
    """A client that has connected and does not go on, once the server has room for it."""
    while True:
        with socket.create_connection((server.address, server.port)) as connection:
            if connection.recv(4) == b"SSH-":
                yield
                return
            time.sleep(0.05)


@BOTH
def test_a_full_sshd_is_quoted(tmp_path: Path) -> None:
    """MaxStartups: other clients are in the middle of a login; that of a jump host, too."""
    with serving(tmp_path / "sshd", more="MaxStartups 1:100:1") as server:
        known = tmp_path / "known_hosts"
        known.write_text(f"{server.name} {server.host_key()}\n")
        jump = block(server, known, more="  ProxyJump bastion\n")
        jump += block(server, known, host="bastion")
        with logging_in(server):
            for config, start in (
                (block(server, known), "unreachable ("),
                (jump, "jump host bastion: unreachable ("),
            ):
                with pytest.raises(ConnectError) as error:
                    login(transport(tmp_path, config))
                assert error.value.message.startswith(start)
                assert "Exceeded MaxStartups" in error.value.message
                assert "--jobs 2" in error.value.hint


@BOTH
def test_many_hosts_share_the_connection_to_their_bastion(tmp_path: Path) -> None:
    """`MaxStartups 3:100:3` of the bastion, and 20 names behind it that log in at the same time."""
    with (
        serving(tmp_path / "bastion", more="MaxStartups 3:100:3") as bastion,
        serving(tmp_path / "server", more="MaxStartups 100") as server,
    ):
        known = tmp_path / "known_hosts"
        lines = (f"{each.name} {each.host_key()}\n" for each in (server, bastion))
        known.write_text("".join(lines))
        config = block(bastion, known, host="bastion")
        config += block(server, known, host="n*", more="  ProxyJump bastion\n")
        names = [f"n{number}" for number in range(1, 21)]
        hosts = "".join(f"  n{k}: {{address: 192.0.2.{k}}}\n" for k in range(1, 21))
        ssh = transport(tmp_path, config, hosts)
        ssh.dial(names, jobs=64)
        with ThreadPoolExecutor(20) as pool:
            outputs = pool.map(lambda name: ssh.run(name, "echo in", timeout_s=60).stdout, names)
            assert set(outputs) == {"in\n"}
        ssh.close()
        assert bastion.log.count("Accepted publickey") == 1
        assert "MaxStartups" not in bastion.log


@BOTH
def test_the_words_of_a_proxy_command(tmp_path: Path, server: Sshd, known: Path) -> None:
    """Its standard error says why there is no connection; control characters are escaped."""
    script = tmp_path / "proxy"
    script.write_text("printf 'gate\\033 is closed\\n' >&2; exit 1\n")
    config = block(server, known, more=f"  ProxyCommand sh {script}\n")
    with pytest.raises(ConnectError, match=r"it printed: gate\\x1b is closed") as error:
        login(transport(tmp_path, config))
    assert "no SSH server" in error.value.hint


@BOTH
def test_a_web_server_is_no_full_sshd(tmp_path: Path, server: Sshd, known: Path) -> None:
    """A wrong port: fewer connections at a time would not help."""
    script = tmp_path / "proxy"
    # The client's greeting is read first: a pipe that is closed before is another error.
    script.write_text("read -r _; printf 'HTTP/1.1 400 Bad Request\\r\\n\\r\\n'\n")
    config = block(server, known, more=f"  ProxyCommand sh {script}\n")
    with pytest.raises(ConnectError) as error:
        login(transport(tmp_path, config))
    assert "check HostName, Port" in error.value.hint


@BOTH
def test_an_empty_line_before_the_end_is_no_greeting(
    tmp_path: Path, server: Sshd, known: Path
) -> None:
    """As from a transparent proxy that accepts every connection."""
    config = block(server, known, more="  ProxyCommand printf '\\n'\n")
    with pytest.raises(ConnectError, match=r"unreachable \("):
        login(transport(tmp_path, config))


def test_the_end_of_a_proxy_command_is_seen() -> None:
    """Its last bytes are read at once, then nothing; it can be closed when it is gone."""
    proxy = ProxyCommand("printf last")
    assert [proxy.recv(100), proxy.recv(100)] == [b"last", b""]
    proxy.process.wait()
    proxy.close()
    waiting = ProxyCommand("sleep 60")
    waiting.settimeout(0.1)
    with pytest.raises(TimeoutError):
        waiting.recv(100)
    waiting.close()
    assert waiting.process.wait() == -signal.SIGTERM


@contextmanager
def slow(server: Sshd, wait_s: float) -> Iterator[int]:
    """A port that passes the server's greeting on only after `wait_s`, as reverse DNS does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def pass_on(source: socket.socket, target: socket.socket, delay_s: float) -> None:
            time.sleep(delay_s)
            try:
                while chunk := source.recv(65536):
                    target.sendall(chunk)
                target.shutdown(socket.SHUT_WR)
            except OSError:
                target.close()

        def accept() -> None:
            while True:
                try:
                    near, _ = listener.accept()
                except OSError:
                    return
                far = socket.create_connection(("127.0.0.1", server.port))
                for pair in ((near, far, 0.0), (far, near, wait_s)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


def test_a_late_greeting_is_waited_for(tmp_path: Path, server: Sshd, known: Path) -> None:
    """Both clients at the same time, 20 s; with less --timeout they give up."""
    with slow(server, 20) as port:
        known.write_text(f"[127.0.0.1]:{port} {server.host_key()}\n")
        hosts = "".join(
            f"  {name}: {{address: 192.0.2.{k}, ssh: {{client: {name}}}}}\n"
            for k, name in enumerate(("paramiko", "openssh"), 1)
        )
        config = block(server, known, host="*").replace(f"Port {server.port}", f"Port {port}")
        ssh, hasty = (transport(tmp_path, config, hosts) for _ in range(2))
        hasty.dial(("paramiko", "openssh"), jobs=2, timeout_s=2)
        with ThreadPoolExecutor(4) as pool:
            names = ("paramiko", "openssh")
            outputs = pool.map(lambda name: ssh.run(name, "echo in", timeout_s=60).stdout, names)
            for name in names:
                with pytest.raises(ConnectError):
                    hasty.run(name, "echo in", timeout_s=60)
            assert list(outputs) == ["in\n", "in\n"]
        ssh.close()
        hasty.close()


@BOTH
def test_the_time_for_a_connection(tmp_path: Path, server: Sshd, known: Path) -> None:
    """ConnectTimeout counts; the address does not answer, since the queue of a listener is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = []
        for _ in range(4):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(address)
        config = block(server, known, more="  ConnectTimeout 1\n")
        config = config.replace(f"Port {server.port}", f"Port {address[1]}")
        place = rf"{address[0]} port {address[1]}"
        with pytest.raises(ConnectError, match=rf"unreachable \({place}: no answer in 1 s\)"):
            login(transport(tmp_path, config))
        for connection in waiting:
            connection.close()


@BOTH
@pytest.mark.parametrize(
    ("options", "reply"),
    [
        ('command="echo This account is currently not available.; exit 1"', "not available"),
        ('command="internal-sftp"', "sftp"),
    ],
)
def test_a_login_without_a_shell(
    tmp_path: Path, server: Sshd, known: Path, options: str, reply: str
) -> None:
    """The host's own words, and which part of the setup they are about."""
    line = f"{options} {(server.folder / 'authorized_keys').read_text().strip()}"
    with authorized(server, line), pytest.raises(Exception, match=reply):
        login(transport(tmp_path, block(server, known)))


@BOTH
def test_ipv6(tmp_path: Path, server: Sshd, known: Path) -> None:
    """As an address of the inventory, and of a jump host in each of its forms."""
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("there is no IPv6")
    with serving(tmp_path / "sshd", address="::1") as six:
        known.write_text(f"{known.read_text()}{six.name} {six.host_key()}\n")
        config = f"Host *\n  User {USER}\n  UserKnownHostsFile {known}\n"
        config += "".join(f"  IdentityFile {each.folder}/id\n" for each in (server, six))
        hosts = f"  h1: {{address: 192.0.2.1, ssh: {{address: '::1', port: {six.port}}}}}\n"
        assert login(transport(tmp_path, config, hosts)) == "in\n"
        for jump in (f"[::1]:{six.port}", f"ssh://{USER}@[::1]:{six.port}"):
            own = f"{{address: 127.0.0.1, port: {server.port}, jump: '{jump}'}}"
            hosts = f"  h1: {{address: 192.0.2.1, ssh: {own}}}\n"
            before = six.log.count("Accepted publickey")
            assert login(transport(tmp_path, config, hosts)) == "in\n"
            assert six.log.count("Accepted publickey") == before + 1


def test_there_is_no_ssh_program(tmp_path: Path, server: Sshd, known: Path) -> None:
    """Then `client: openssh` is an error before any host is contacted."""
    token = client.set("openssh")
    ssh = transport(tmp_path, block(server, known))
    client.reset(token)
    ssh._connections.client_config = ClientConfig(tmp_path / "ssh_config", None)
    with pytest.raises(UsageError, match="there is no ssh program"):
        ssh.warnings(("h1",))


def test_trust_through_a_bastion_that_needs_ssh(tmp_path: Path, server: Sshd, known: Path) -> None:
    """The bastion takes a certificate; the key of the host behind it is asked for all the same."""
    keygen(tmp_path / "mine")
    sign_user(server, tmp_path / "mine").rename(tmp_path / "elsewhere.pub")
    with serving(tmp_path / "inner") as inner:
        bastion = block(
            server, known, host="bastion", more=f"  CertificateFile {tmp_path}/elsewhere.pub\n"
        )
        bastion = bastion.replace(f"{server.folder}/id", f"{tmp_path}/mine")
        config = bastion + block(inner, known, more="  ProxyJump bastion\n")
        ssh = transport(tmp_path, config)
        offers = ssh.offers("h1")
        ssh.close()
        assert [(offer.host, offer.status) for offer in offers] == [
            ("bastion", "known"),
            ("h1", "new"),
        ]
        assert f"{offers[1].line}\n" == f"{inner.name} {inner.host_key()}\n"
        known.write_text(f"{known.read_text()}{offers[1].line}\n")
        assert login(transport(tmp_path, config)) == "in\n"
