"""Logins by FIDO keys, tokens of PKCS#11 and tickets of Kerberos, at a real sshd and a real KDC.

The devices are programs: OpenSSH's own dummy of a FIDO key (package openssh-tests) and SoftHSM.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provision.model.errors import AuthError
from provision.transport.ssh import client_choice
from tests.sshd import USER, Sshd, block, login, serving, transport

FIDO = Path("/usr/lib/openssh/regress/misc/sk-dummy/sk-dummy.so")
PKCS11 = Path("/usr/lib/softhsm/libsofthsm2.so")
KDC = Path("/usr/sbin/krb5kdc")
PIN = "4711"
REALM = "LAB.TEST"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for the sockets of agents."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as path:
        yield Path(path)


@pytest.fixture
def server(folder: Path) -> Iterator[Sshd]:
    """A server that takes no key yet."""
    with serving(folder / "sshd") as server:
        (server.folder / "authorized_keys").write_text("")
        yield server


def config(server: Sshd, more: str) -> str:
    """ssh_config for the server, with its key recorded, and no other key for a login."""
    known = server.folder / "known_hosts"
    known.write_text(f"{server.name} {server.host_key()}\n")
    own_key = f"  IdentityFile {server.folder}/id\n"
    return block(server, known, more=more).replace(own_key, "")


def require(program: Path, package: str) -> None:
    """Skip the test without a program or library of a Debian package."""
    if not program.exists():
        pytest.skip(f"needs {program} ({package})")


def run(*argv: str, **environment: str) -> str:
    """The output of a program that has to succeed."""
    process = subprocess.run(
        argv, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, (argv, process.stdout, process.stderr)
    return process.stdout


def test_a_fido_key(folder: Path, server: Sshd) -> None:
    """Its file says that ssh is needed, and SecurityKeyProvider names the library."""
    require(FIDO, "openssh-tests")
    key = folder / "id_ed25519_sk"
    run("ssh-keygen", "-q", "-t", "ed25519-sk", "-w", str(FIDO), "-N", "", "-f", str(key))
    (server.folder / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
    more = f"  IdentityFile {key}\n  IdentitiesOnly yes\n  SecurityKeyProvider {FIDO}\n"
    assert login(transport(folder, config(server, more))) == "in\n"
    assert f"Accepted publickey for {USER} from" in server.log and "ED25519-SK" in server.log


@contextmanager
def agent(folder: Path) -> Iterator[Path]:
    """The socket of an empty agent."""
    path = folder / "agent"
    process = subprocess.Popen(("ssh-agent", "-D", "-a", str(path)), stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while not path.exists():
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.05)
        yield path
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A token of SoftHSM, locked by PIN; the public key that it has."""
    require(PKCS11, "softhsm2")
    (folder / "tokens").mkdir()
    settings = folder / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(settings))
    label = ("--label", "lab", "--so-pin", "12345678", "--pin", PIN)
    run("softhsm2-util", "--init-token", "--free", *label)
    key = folder / "key.pem"
    run("openssl", "genpkey", "-algorithm", "RSA", "-out", str(key))
    named = ("--token", "lab", "--label", "lab", "--id", "01", "--pin", PIN)
    run("softhsm2-util", "--import", str(key), *named)
    key.unlink()
    return run("ssh-keygen", "-D", str(PKCS11))


def test_a_token_that_wants_a_pin(folder: Path, server: Sshd, token: str) -> None:
    """Nothing can be asked: it is refused with the command that unlocks it, which then helps."""
    (server.folder / "authorized_keys").write_text(token)
    locked = config(server, f"  PKCS11Provider {PKCS11}\n  IdentityFile none\n")
    with pytest.raises(AuthError, match="wants a PIN") as refused:
        login(transport(folder, locked))
    assert refused.value.hint == f"unlock it for the agent: ssh-add -s {PKCS11}"

    ask = folder / "ask"
    ask.write_text(f"#!/bin/sh\necho {PIN}\n")
    ask.chmod(0o700)
    with agent(folder) as path:
        answers = {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
        run("ssh-add", "-s", str(PKCS11), SSH_AUTH_SOCK=str(path), **answers)
        for more in (f"  PKCS11Provider {PKCS11}\n", ""):
            unlocked = config(server, f"{more}  IdentityFile none\n  IdentityAgent {path}\n")
            assert login(transport(folder, unlocked)) == "in\n"


@pytest.fixture
def realm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A KDC on loopback, which knows the user of the tests and the server at 127.0.0.1."""
    require(KDC, "krb5-kdc")
    require(Path("/usr/sbin/kadmin.local"), "krb5-admin-server")
    require(Path(shutil.which("kinit") or "/usr/bin/kinit"), "krb5-user")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "krb5.conf").write_text(
        f"[libdefaults]\ndefault_realm = {REALM}\ndns_lookup_kdc = false\nrdns = false\n"
        "dns_canonicalize_hostname = false\nudp_preference_limit = 1\n"
        f"[realms]\n{REALM} = {{\n  kdc = 127.0.0.1:{port}\n}}\n"
    )
    (folder / "kdc.conf").write_text(
        f'[kdcdefaults]\nkdc_listen = ""\nkdc_tcp_listen = 127.0.0.1:{port}\n'
        f"[realms]\n{REALM} = {{\n  database_name = {folder}/principal\n"
        f"  key_stash_file = {folder}/stash\n  acl_file = {folder}/acl\n}}\n"
        f"[logging]\nkdc = FILE:{folder}/kdc.log\n"
    )
    monkeypatch.setenv("KRB5_CONFIG", str(folder / "krb5.conf"))
    monkeypatch.setenv("KRB5_KDC_PROFILE", str(folder / "kdc.conf"))
    monkeypatch.setenv("KRB5_KTNAME", str(folder / "keytab"))
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{folder}/tickets")
    monkeypatch.setenv("KRB5RCACHENAME", "none:")  # sshd's would be a file in /var/tmp
    run("/usr/sbin/kdb5_util", "create", "-s", "-r", REALM, "-P", "master")
    for command in (
        f"addprinc -pw {PIN} {USER}",
        "addprinc -randkey host/127.0.0.1",
        f"ktadd -k {folder}/keytab host/127.0.0.1",
    ):
        run("/usr/sbin/kadmin.local", "-q", command)
    process = subprocess.Popen((str(KDC), "-n", "-r", REALM), stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def tickets_are_asked_for() -> Iterator[None]:
    """Whether there is a ticket is asked once a process: forget the answer."""
    client_choice._has_ticket.cache_clear()
    yield
    client_choice._has_ticket.cache_clear()


@pytest.mark.usefixtures("realm", "tickets_are_asked_for")
def test_a_ticket_of_kerberos(folder: Path) -> None:
    """With a ticket ssh logs in by it; without one, the message is that of the keys."""
    # sshd reads the realm and its keytab from its environment. Its key is not that of a host name.
    more = "GSSAPIAuthentication yes\nGSSAPIStrictAcceptorCheck no"
    with serving(folder / "sshd", more=more) as server:
        (server.folder / "authorized_keys").write_text("")
        text = config(server, "  GSSAPIAuthentication yes\n  IdentityFile none\n")
        with pytest.raises(AuthError, match="there is no key to offer"):
            login(transport(folder, text))
        process = subprocess.run(("kinit", USER), input=PIN, text=True, capture_output=True)
        assert process.returncode == 0, process.stderr
        client_choice._has_ticket.cache_clear()
        assert login(transport(folder, text)) == "in\n"
        assert f"Accepted gssapi-with-mic for {USER}" in server.log
