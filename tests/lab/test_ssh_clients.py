"""Certificates, the ssh program, a small bastion and a slow session, on booted hosts."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from provision.inventory.load import load
from provision.transport.ssh.transport import SshTransport
from tests.lab.hosts import HOSTS, RESTART_SSHD, Hosts
from tests.sshd import keygen

pytestmark = pytest.mark.lab

# Read before the settings of the lab: the first value counts.
SETTINGS = "/etc/ssh/sshd_config.d/00-test.conf"
SLOW = "/usr/local/sbin/slow-session"
# Only while a change is armed: the new connection that is to confirm it has to wait.
SLOW_SESSION = f"""
printf '%s\\n' '#!/bin/sh' 'if [ "$PAM_TYPE" = open_session ] && [ -d /var/lib/provision/txn ]' \
  'then date >>/run/slow-sessions; sleep 25; fi' >{SLOW}
chmod 755 {SLOW}
echo 'session required pam_exec.so {SLOW}' >>/etc/pam.d/sshd
"""
RESTORE = f"""
rm -f {SETTINGS} {SLOW} /run/slow-sessions /etc/ssh/user_ca.pub /etc/ssh/*-cert.pub
sed -i '\\|{SLOW}|d' /etc/pam.d/sshd
[ ! -e /root/.ssh/authorized_keys.off ] ||
  mv /root/.ssh/authorized_keys.off /root/.ssh/authorized_keys
pkill -f 'sshd -p 30[0-9][0-9]'
{RESTART_SSHD}
"""


@pytest.fixture(autouse=True)
def restored(booted: Callable[[str], Hosts]) -> Iterator[None]:
    """The hosts get their own sshd back."""
    yield
    for host in HOSTS:
        booted("mixed").inside(host, RESTORE)


def install(hosts: Hosts, host: str, settings: str, **files: Path) -> None:
    """Add lines to sshd_config, and files to /etc/ssh; restart sshd.

    A reload answers before sshd listens again, and refuses connections until then.
    """
    for name, path in files.items():
        target = f"/etc/ssh/{name.replace('__', '-')}.pub"
        hosts.ssh(host, f"cat >{target} <<'@'\n{path.read_text()}@")
    hosts.ssh(host, f"printf '{settings}' >{SETTINGS}; sshd -t && {{ {RESTART_SSHD}; }}")


def sign(authority: Path, key: Path, *options: str) -> Path:
    """A certificate of a public key; `options` are those of ssh-keygen."""
    argv = ("ssh-keygen", "-q", "-s", str(authority), "-I", "test", *options, str(key))
    subprocess.run(argv, check=True)
    return key.with_name(f"{key.name.removesuffix('.pub')}-cert.pub")


def test_certificates_and_a_slow_session(mixed: Hosts, tmp_path: Path) -> None:
    """h1 has a host certificate, h2 takes certificates of users by ssh, h3's sessions are slow.

    An apply over these three confirms its change, although the new connection to h3 opens its
    session only after 25 s, between arming and confirming.
    """
    folder = mixed.lab.folder
    keygen(tmp_path / "ca")
    own = tmp_path / "host.pub"
    own.write_text(mixed.ssh("h1", "ssh-keygen -y -f /etc/ssh/ssh_host_ed25519_key"))
    certificate = sign(tmp_path / "ca", own, "-h", "-n", f"h1,{mixed.networks[0]}.11")
    install(mixed, "h1", "HostCertificate /etc/ssh/h1-cert.pub\\n", h1__cert=certificate)
    keygen(tmp_path / "mine")
    sign(tmp_path / "ca", tmp_path / "mine.pub", "-n", "root").rename(tmp_path / "apart.pub")
    install(mixed, "h2", "TrustedUserCAKeys /etc/ssh/user_ca.pub\\n", user_ca=tmp_path / "ca.pub")
    mixed.ssh("h2", "mv /root/.ssh/authorized_keys /root/.ssh/authorized_keys.off")
    mixed.ssh("h3", SLOW_SESSION)

    recorded = mixed.lab.known_hosts.read_text().splitlines()
    others = [line for line in recorded if ".11 " not in line]
    authority = (tmp_path / "ca.pub").read_text()
    before = mixed.lab.known_hosts.read_text()
    # The file of the project, too: .provision/known_hosts.
    mixed.lab.known_hosts.write_text("\n".join([*others, f"@cert-authority * {authority}"]))
    text = mixed.lab.ssh_config.read_text()
    block = f"Host h2\n  CertificateFile {tmp_path}/apart.pub\n  IdentityFile {tmp_path}/mine\n"
    (folder / "certificates").write_text(f"{block}\n{text}")

    name = mixed.inventory("routes.yml", to="certificates.yml")
    options = (name, "--ssh-config", "certificates")
    try:
        begin = time.monotonic()
        result = mixed.json("apply", *options)
        assert time.monotonic() - begin >= 25
        assert {state.split()[0] for state in result["hosts"].values()} == {"confirmed"}, result
        assert len(mixed.inside("h3", "cat /run/slow-sessions").splitlines()) >= 1
        log = mixed.inside("h2", "journalctl -u ssh -o cat")
        assert "Accepted publickey for root" in log and "ID test" in log
        assert mixed.provision("apply", *options).startswith("No change")
        # paramiko cannot use the certificate; ssh refuses h1 without its authority.
        (folder / name).write_text(f"ssh: {{client: paramiko}}\n{(folder / name).read_text()}")
        assert "h2" in mixed.provision("plan", *options, "--limit", "h2", "--json", status=4)
        mixed.provision("plan", *options, "--limit", "h1")
        mixed.lab.known_hosts.write_text("\n".join(others) + "\n")
        for client in ("paramiko", "openssh"):
            inventory = (folder / name).read_text().replace("client: paramiko", f"client: {client}")
            (folder / name).write_text(inventory)
            printed = mixed.provision("plan", *options, "--limit", "h1", "--json", status=4)
            assert "its host key is not recorded" in printed
    finally:
        mixed.lab.known_hosts.write_text(before)
        for host in HOSTS:
            mixed.inside(host, RESTORE)
        mixed.provision("destroy", mixed.inventory("routes.yml"), "--yes")


SSHDS = r"""
for number in $(seq 3001 3020); do /usr/sbin/sshd -p $number -o PidFile=none; done
"""


@pytest.mark.parametrize("client", ["paramiko", "openssh"])
def test_twenty_sshds_behind_a_small_bastion(mixed: Hosts, client: str) -> None:
    """h3 is a bastion with `MaxStartups 3:100:3`; behind it are 20 sshds of the host h2.

    All log in at the same time. With one connection each, h3 would refuse most of them.
    """
    install(mixed, "h3", "MaxStartups 3:100:3\\nLogLevel VERBOSE\\n")
    mixed.inside("h3", "journalctl --rotate; journalctl --vacuum-time=1s")
    assert "maxstartups 3:100:3" in mixed.inside("h3", "sshd -T").lower()
    mixed.ssh("h2", SSHDS)
    folder = mixed.lab.folder
    recorded = mixed.lab.known_hosts.read_text().splitlines()
    key = next(" ".join(line.split()[1:3]) for line in recorded if ".12 " in line)
    behind = folder / "behind_known_hosts"
    behind.write_text("\n".join([*recorded, f"[{mixed.networks[0]}.12]:* {key}"]) + "\n")
    text = mixed.lab.ssh_config.read_text().replace(str(mixed.lab.known_hosts), str(behind))
    block = text[text.index("Host h2\n") : text.index("Host h3\n")]
    names = [f"n{number}" for number in range(1, 21)]
    ports = "".join(f"Host n{k}\n  Port {3000 + k}\n" for k in range(1, 21))
    jump = block.replace("Host h2\n", "Host n*\n    ProxyJump h3\n").replace("    Port 22\n", "")
    (folder / "behind").write_text(f"{ports}{jump}{text}")
    hosts = "".join(f"  n{k}: {{address: 192.0.2.{k}}}\n" for k in range(1, 21))
    (folder / "behind.yml").write_text(f"name: b\nssh: {{client: {client}}}\nhosts:\n{hosts}")
    ssh = SshTransport(load(folder / "behind.yml"), folder / "behind")
    ssh.dial(names, jobs=64)
    try:
        with ThreadPoolExecutor(20) as pool:
            run = pool.map(lambda name: ssh.run(name, "echo $SSH_CONNECTION", timeout_s=90), names)
            ends = [output.stdout.split() for output in run]
    finally:
        ssh.close()
    assert [int(fields[3]) for fields in ends] == [3000 + k for k in range(1, 21)]
    assert {fields[0] for fields in ends} == {f"{mixed.networks[0]}.13"}
    log = mixed.inside("h3", "journalctl -u ssh -o cat --since -10min")
    assert "MaxStartups" not in log.replace("MaxStartups 3", "")
