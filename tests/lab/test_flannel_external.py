"""Method `flannel` on booted hosts with an etcd that provision did not install."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest

from tests.authority import Authority
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.test_flannel import CTL, FLANNELD, VXLAN, address, verified

pytestmark = pytest.mark.lab

PKI = "/etc/provision/overlay/pki"
FOREIGN = {"/other/app": "value", "/elsewhere/config": '{"Network": "10.9.0.0/16"}'}


class UserEtcd:
    """An etcd on h3 that only clients of its own authority can use."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts, self.url = hosts, f"https://{address(hosts, 3)}:12379"
        self.unit, self.folder = "", "/root/their-etcd"
        self.files = hosts.lab.folder / "tls"
        authority = Authority(self.files)
        authority.issue("server", address(hosts, 3))
        authority.issue("client")
        hosts.ssh("h3", f"mkdir -p {self.folder}")
        for name in ("ca.crt", "server.crt", "server.key", "client.crt", "client.key"):
            text = (self.files / name).read_text()
            hosts.ssh("h3", f"cat >{self.folder}/{name} <<'END'\n{text}END")

    def start(self) -> None:
        """Start it, or start it again."""
        # A transient unit that was stopped can stay loaded on some kernels, and keep its name.
        self.unit = f"their-etcd-{secrets.token_hex(4)}"
        flags = (
            f"--data-dir={self.folder}/data --listen-client-urls={self.url}"
            f" --advertise-client-urls={self.url} --listen-peer-urls=http://127.0.0.1:12380"
            f" --cert-file={self.folder}/server.crt --key-file={self.folder}/server.key"
            f" --trusted-ca-file={self.folder}/ca.crt --client-cert-auth"
        )
        unit = f"--unit={self.unit} -p Type=notify -p SuccessExitStatus=SIGTERM"
        self.hosts.ssh("h3", f"systemd-run -q --collect {unit} /usr/bin/etcd {flags}")

    def stop(self) -> None:
        """Stop it; its data stays."""
        self.hosts.ssh("h3", f"systemctl stop {self.unit}")

    def ctl(self, *arguments: str) -> str:
        """The output of etcdctl."""
        files = " ".join(
            f"--{option}={self.folder}/{name}"
            for option, name in (
                ("cacert", "ca.crt"),
                ("cert", "client.crt"),
                ("key", "client.key"),
            )
        )
        line = f"ETCDCTL_API=3 etcdctl --endpoints={self.url} {files} {' '.join(arguments)}"
        return self.hosts.ssh("h3", line)

    def keys(self) -> set[str]:
        """All keys."""
        return set(self.ctl("get / --prefix --keys-only").split())

    def inventory(self, *changes: tuple[str, str]) -> str:
        """The example with this etcd."""
        files = "ca: tls/ca.crt, cert: tls/client.crt, key: tls/client.key"
        etcd = f'    etcd: {{endpoints: ["{self.url}"], {files}}}'
        line = "    # etcd: {members: [h1, h2, h3], prefix: /coreos.com/network}"
        return self.hosts.inventory(VXLAN, (line, etcd), *changes)


@contextmanager
def user_etcd(hosts: Hosts) -> Iterator[UserEtcd]:
    """An etcd of the user with keys of others."""
    etcd = UserEtcd(hosts)
    etcd.start()
    try:
        for key, text in FOREIGN.items():
            etcd.ctl("put", key, f"'{text}'")
        yield etcd
    finally:
        hosts.provision("destroy", etcd.inventory(), "--yes", status=None)
        hosts.ssh("h3", f"systemctl stop {etcd.unit}; rm -rf {etcd.folder}", check=False)


def test_an_etcd_of_the_user(mixed: Hosts) -> None:
    """Apply installs none, keeps to its prefixes, and destroy leaves only the keys of others."""
    hosts = mixed
    before = hosts.capture()
    with user_etcd(hosts) as etcd:
        inventory = etcd.inventory()
        hosts.provision("apply", inventory)
        verified(hosts, inventory)
        assert hosts.json("plan", inventory)["changes"] == []
        units = hosts.everywhere("ls /etc/systemd/system | grep -- -etcd", check=False)
        assert not any(units.values()), units
        ours = etcd.keys() - FOREIGN.keys()
        assert all(key.startswith(("/coreos.com/network/", "/provision/overlay/")) for key in ours)
        assert len([key for key in ours if "/subnets/" in key]) == 3
        hosts.provision("destroy", inventory, "--yes")
        assert etcd.keys() == FOREIGN.keys()
        assert '"10.9.0.0/16"' in etcd.ctl("get /elsewhere/config")
    assert_same(before, hosts.capture())


@pytest.mark.full
@pytest.mark.parametrize("etcd_of", [user_etcd, nullcontext], ids=["of the user", "installed"])
def test_the_settings_stay_until_the_last_host_leaves(
    mixed: Hosts, etcd_of: Callable[[Hosts], AbstractContextManager[object]]
) -> None:
    """h1 wrote them for all; the others need them when their flanneld starts again.

    Of the members that `apply` installs, two of three remain when h1 leaves.
    """
    hosts, before = mixed, mixed.capture()
    with etcd_of(hosts) as etcd:
        inventory = etcd.inventory() if isinstance(etcd, UserEtcd) else hosts.inventory(VXLAN)
        hosts.provision("apply", inventory)
        hosts.provision("destroy", inventory, "--yes", "--limit", "h1")
        assert_flanneld_starts_again(hosts, "h2", "h3")
        if isinstance(etcd, UserEtcd):
            # The next apply makes no other host's settings anew.
            changes = hosts.json("plan", inventory)["changes"]
            assert {c["host"] for c in changes} == {"h1"}, changes
        hosts.provision("apply", inventory)
        verified(hosts, inventory)
        assert hosts.json("plan", inventory)["changes"] == []
        if isinstance(etcd, UserEtcd):
            assert_the_last_host_takes_the_settings(etcd, inventory)
        else:
            hosts.provision("destroy", inventory, "--yes")
    assert_same(before, hosts.capture())


def assert_the_last_host_takes_the_settings(etcd: UserEtcd, inventory: str) -> None:
    """Whether the hosts leave one by one, or by a rolling change."""
    for host in HOSTS:
        left = etcd.keys()
        assert "/coreos.com/network/config" in left
        etcd.hosts.provision("destroy", inventory, "--yes", "--limit", host)
    assert etcd.keys() == FOREIGN.keys()
    etcd.hosts.provision("apply", inventory)
    etcd.hosts.provision("destroy", inventory, "--yes", "--strategy", "rolling=1")
    assert etcd.keys() == FOREIGN.keys()


def assert_flanneld_starts_again(hosts: Hosts, *names: str) -> None:
    """It finds its settings, and the hosts have routes to each other again."""
    for host in names:
        hosts.ssh(host, f"timeout 60 systemctl restart {FLANNELD}")
        assert hosts.ssh(host, f"systemctl is-active {FLANNELD}").strip() == "active"
    target = hosts.ssh("h3", "docker inspect -f '{{.NetworkSettings.Networks.over.IPAddress}}' c3")
    ping = f"for n in 1 2 3 4 5; do docker exec c2 ping -c 1 -W 1 {target.strip()} && exit; done"
    assert "1 packets received" in hosts.ssh("h2", f"{ping}; exit 1")


@pytest.mark.full
def test_the_key_of_the_user_and_an_etcd_that_is_down(mixed: Hosts) -> None:
    """The key is secret and stays so; an etcd that does not answer is named."""
    with user_etcd(mixed) as etcd:
        inventory = etcd.inventory()
        mixed.provision("apply", inventory)
        assert_key_is_secret(mixed, (etcd.files / "client.key").read_text(), inventory)
        assert_unreachable_is_named(etcd, inventory)
        assert_a_readable_key_is_protected(etcd, inventory)


def assert_key_is_secret(hosts: Hosts, key: str, inventory: str) -> None:
    """Only root reads the key, and no other file, journal or output has it."""
    modes = hosts.everywhere(f"stat -c '%U %a %n' {PKI}/*.external.*")
    lines = [f"root 600 {PKI}/over.external.{name}" for name in ("ca.crt", "crt", "key")]
    assert {host: sorted(text.splitlines()) for host, text in modes.items()} == dict.fromkeys(
        HOSTS, lines
    )
    body = key.splitlines()[1]
    find = f"grep -rlF {body[:-1]}'{body[-1]}' /etc /run /var/lib/provision /tmp /root; journalctl"
    for host, output in hosts.everywhere(
        f"{find} -o export | grep -cF {body[:-1]}'{body[-1]}'; :"
    ).items():
        own = ["/root/their-etcd/client.key"] if host == "h3" else []
        assert sorted(output.split()) == sorted([f"{PKI}/over.external.key", *own, "0"]), output
    changes = hosts.provision("destroy", inventory, "--yes", "--json", "--limit", "h2")
    assert body not in changes
    plan = hosts.provision("plan", inventory, "--json")
    assert "over.external.key" in plan and body not in plan
    hosts.provision("apply", inventory)


def assert_unreachable_is_named(etcd: UserEtcd, inventory: str) -> None:
    """Plan names the endpoint and the reason, and no host is touched."""
    etcd.stop()
    errors = etcd.hosts.json("apply", inventory, status=4)["errors"]
    assert {error["host"] for error in errors} == set(HOSTS)
    assert all(f"{etcd.url}: " in error["message"] for error in errors), errors
    assert all("Connection refused" in error["message"] for error in errors), errors
    etcd.start()
    verified(etcd.hosts, inventory)


def assert_a_readable_key_is_protected(etcd: UserEtcd, inventory: str) -> None:
    """A key that others may read is drift; apply protects it, and etcd accepts it as before."""
    hosts, path = etcd.hosts, f"{PKI}/over.external.key"
    before = hosts.ssh("h1", f"sha256sum {path}")
    hosts.ssh("h1", f"chmod 644 {path}")
    changes = hosts.json("plan", inventory)["changes"]
    assert {(c["host"], c["kind"]) for c in changes} == {("h1", "tls_file"), ("h1", "service")}
    hosts.provision("apply", inventory)
    assert hosts.ssh("h1", f"sha256sum {path}") == before
    assert hosts.ssh("h1", f"stat -c %a {path}").strip() == "600"
    assert "172.16.1.0-24" in hosts.ssh("h1", f"{CTL} get --prefix --keys-only /coreos.com/")
    verified(hosts, inventory)
