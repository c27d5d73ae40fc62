"""Apply installs all that hosts need which have only sshd."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.lab import bringup, teardown
from provision.lab.layout import Lab
from provision.lab.settings import UpOptions
from tests.lab.free import free_ranges
from tests.lab.hosts import Hosts

pytestmark = pytest.mark.lab
IMAGES = tuple(
    (f"{{host: h{n}, network: blue}}", f"{{host: h{n}, network: blue, image: {{archive: A}}}}")
    for n in (1, 2, 3)
)
TOOLS = "docker vtysh wg dnsmasq ovs-vsctl iptables"
# A real host masks no service of FRR.
PURGE = """
export DEBIAN_FRONTEND=noninteractive; systemctl -q unmask frr.service openvswitch-switch.service
for package in docker.io docker-cli containerd runc iptables frr wireguard-tools dnsmasq-base \\
  openvswitch-switch; do
  apt-get -q -y purge $package >/dev/null 2>&1
done
apt-get -q -y --purge autoremove >/dev/null 2>&1; rm -rf /var/lib/docker/network; :
"""
INSTALLED = "dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' | sort"


@pytest.fixture(scope="module")
def bare() -> Iterator[Hosts]:
    """One bare host of each suite; apt finds the packages in a folder of the lab."""
    folder = Path(tempfile.mkdtemp(prefix="provision-lab-bare-", dir="/var/tmp"))
    lab = Lab(folder)
    bringup.up(lab, UpOptions(3, "mixed", True, free_ranges(lab)), say=print)
    hosts = Hosts(lab)
    text = (hosts.inventories / "routes.yml").read_text()
    for old, new in IMAGES:
        assert old in text
        text = text.replace(old, new.replace("A}", ".provision/busybox.tar}"))
    text = text.replace("10.78.0.", f"{hosts.networks[1]}.")
    (folder / "bare.yml").write_text(text)
    (folder / "strict.yml").write_text(f"packages: require\n{text}")
    yield hosts
    teardown.down(lab, say=print)
    shutil.rmtree(folder)


# As apt does, by fcntl(2): x86-64 and arm64 have the same struct flock.
_HOLD = """perl -MFcntl -e '
  open my $file, ">>", "/var/lib/apt/lists/lock" or die; $| = 1;
  my $lock = pack "s s x4 q q i", F_WRLCK, 0, 0, 0, 0;
  fcntl($file, F_SETLK, $lock) or die; print "held\n";
  sleep 30; print "free\n"' >/run/hold 2>&1 &
until [ -s /run/hold ]; do sleep 0.1; done"""


def test_one_apply_makes_bare_hosts_pass_verify(bare: Hosts) -> None:
    """The plan shows the packages, a second apply changes nothing, `packages: require` refuses."""
    before = bare.ssh("h1", INSTALLED)
    assert "docker" not in before and "iptables" not in before
    refused = bare.json("apply", "strict.yml", status=4)
    assert {error["host"] for error in refused["errors"]} == {"h1", "h2", "h3"}
    assert "it lacks docker" in refused["errors"][0]["message"]
    assert bare.ssh("h1", INSTALLED) == before

    changes = bare.json("plan", "bare.yml")["changes"]
    packages = [c["name"] for c in changes if (c["host"], c["kind"]) == ("h2", "package")]
    assert packages == ["docker.io", "iptables"]
    assert bare.ssh("h1", INSTALLED) == before

    # Something updates the package lists of h2, as apt-daily does after a boot.
    bare.ssh("h2", "rm -rf /var/lib/apt/lists/*")
    bare.inside("h2", _HOLD)
    assert bare.ssh("h2", "cat /run/hold") == "held\n"
    bare.provision("apply", "bare.yml")
    assert bare.ssh("h2", "cat /run/hold") == "held\nfree\n"
    assert bare.json("verify", "bare.yml")["ok"]
    assert bare.provision("apply", "bare.yml").strip() == "No change."
    assert bare.provision("apply", "strict.yml").strip() == "No change."


def test_plan_names_a_package_that_is_installed_without_its_command(bare: Hosts) -> None:
    """apt does nothing about it: apply would create the package again and again."""
    bare.provision("apply", "bare.yml")
    bare.ssh("h1", "mv /usr/bin/docker /root")
    bare.ssh("h2", "update-alternatives --quiet --remove-all iptables")
    expected = {
        "h1": "docker.io ca-certificates apparmor are installed, but without the command docker",
        "h2": "iptables is installed, but without the command iptables",
    }
    for verb in ("plan", "apply"):
        errors = bare.json(verb, "bare.yml", status=4)["errors"]
        assert {error["host"]: error["message"] for error in errors} == expected
    hint = next(error["hint"] for error in errors if error["host"] == "h2")
    command = hint.partition("`")[2].partition("`")[0]
    bare.ssh("h2", command.replace("apt-get", "apt-get -y -q"))
    bare.ssh("h1", "mv /root/docker /usr/bin")
    assert bare.provision("apply", "bare.yml").strip() == "No change."
    # The command is in a package of its own, which apply can install.
    bare.ssh("h3", "dpkg --purge --force-depends docker-cli")
    changes = bare.json("plan", "bare.yml")["changes"]
    assert ("h3", "package") in {(change["host"], change["kind"]) for change in changes}
    bare.provision("apply", "bare.yml")
    assert bare.provision("apply", "bare.yml").strip() == "No change."


def test_destroy_keeps_the_packages(bare: Hosts) -> None:
    """Other software may use them by then; everything else is removed."""
    bare.provision("apply", "bare.yml")
    bare.provision("destroy", "bare.yml", "--yes")
    for host in ("h1", "h2", "h3"):
        assert bare.ssh(host, "docker ps -aq; ls -d /etc/provision 2>/dev/null; :") == ""
        assert bare.ssh(host, "docker version --format '{{.Server.Version}}'").strip()


@pytest.mark.full
@pytest.mark.parametrize(
    "example", ["bgp.yml", "vxlan-evpn.yml", "wireguard.yml", "names.yml", "ovs-gre.yml"]
)
def test_other_methods_install_what_they_need(bare: Hosts, example: str) -> None:
    """Docker is installed with it; the service of Debian's FRR neither runs nor is enabled."""
    bare.everywhere(PURGE)
    assert not any(bare.everywhere(f"command -v {TOOLS}", check=False).values())
    text = (bare.lab.folder / bare.inventory(example)).read_text()
    text = re.sub(
        r"(host: h\d, network: \w+)", r"\1, image: {archive: .provision/busybox.tar}", text
    )
    (bare.lab.folder / example).write_text(text)
    bare.provision("apply", example)
    bare.verified(example)
    assert bare.json("plan", example)["changes"] == []
    services = bare.everywhere("systemctl is-active frr; systemctl is-enabled frr", check=False)
    assert {word for text in services.values() for word in text.split()} <= {
        *("inactive", "disabled", "not-found"),
    }
    bare.provision("destroy", example, "--yes")
    left = bare.everywhere("ls -d /etc/provision /run/provision-*; pgrep -l bgpd", check=False)
    assert not any(left.values()), left


def test_apply_names_a_package_that_apt_cannot_install(bare: Hosts) -> None:
    """The error has apt's output and names the host, which rolls back."""
    bare.ssh("h3", "dpkg --purge --force-depends iptables")
    bare.ssh("h3", "rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb")
    bare.ssh("h3", "echo 'deb [trusted=yes] file:/nowhere ./' >/etc/apt/sources.list")
    result = bare.json("apply", "bare.yml", status=5)
    assert [error["host"] for error in result["errors"]] == ["h3"]
    assert "iptables" in result["errors"][0]["message"]
    assert result["hosts"]["h3"] == "reverted (failed)"
