"""Hosts with sshd and little else become hosts whose containers reach each other."""

from __future__ import annotations

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
OWN_IMAGE = tuple(
    (f"{{host: h{n}, network: blue}}", f"{{host: h{n}, network: blue, image: {{archive: A}}}}")
    for n in (1, 2, 3)
)
INSTALLED = "dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' | sort"


@pytest.fixture(scope="module")
def bare() -> Iterator[Hosts]:
    """One bare host of each suite; their packages come from a folder of the lab."""
    folder = Path(tempfile.mkdtemp(prefix="provision-lab-bare-", dir="/var/tmp"))
    place = Lab(folder)
    bringup.up(place, UpOptions(3, "mixed", True, free_ranges(place)), say=print)
    hosts = Hosts(place)
    text = (hosts.inventories / "routes.yml").read_text()
    for old, new in OWN_IMAGE:
        assert old in text
        text = text.replace(old, new.replace("A}", ".provision/busybox.tar}"))
    own = f"{hosts.networks[1]}."
    (folder / "bare.yml").write_text(text.replace("10.78.0.", own))
    (folder / "strict.yml").write_text("packages: require\n" + text.replace("10.78.0.", own))
    yield hosts
    teardown.down(place, say=print)
    shutil.rmtree(folder)


def test_from_sshd_alone_to_a_passing_verify(bare: Hosts) -> None:
    """By apply alone, planned like any change; the second apply has nothing to do."""
    before = bare.ssh("h1", INSTALLED)
    assert "docker" not in before and "iptables" not in before
    refused = bare.json("apply", "strict.yml", status=4)
    assert {error["host"] for error in refused["errors"]} == {"h1", "h2", "h3"}
    assert "it lacks docker" in refused["errors"][0]["message"]
    assert bare.ssh("h1", INSTALLED) == before

    planned = bare.json("plan", "bare.yml")["changes"]
    packages = [c["name"] for c in planned if (c["host"], c["kind"]) == ("h2", "package")]
    assert packages == ["docker.io", "iptables"]
    assert bare.ssh("h1", INSTALLED) == before

    bare.provision("apply", "bare.yml")
    assert bare.json("verify", "bare.yml")["ok"]
    assert bare.provision("apply", "bare.yml").strip() == "No change."
    assert bare.provision("apply", "strict.yml").strip() == "No change."


def test_destroy_leaves_the_packages(bare: Hosts) -> None:
    """By then others may count on them; all else goes."""
    bare.provision("apply", "bare.yml")
    bare.provision("destroy", "bare.yml", "--yes")
    for host in ("h1", "h2", "h3"):
        assert bare.ssh(host, "docker ps -aq; ls -d /etc/provision 2>/dev/null; :") == ""
        assert bare.ssh(host, "docker version --format '{{.Server.Version}}'").strip()


def test_a_package_that_cannot_be_had_is_named(bare: Hosts) -> None:
    """apt's own words reach the reader, and what was not run is told."""
    bare.ssh("h3", "dpkg --purge --force-depends iptables")
    bare.ssh("h3", "rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb")
    bare.ssh("h3", "echo 'deb [trusted=yes] file:/nowhere ./' >/etc/apt/sources.list")
    failed = bare.json("apply", "bare.yml", status=5)
    assert [error["host"] for error in failed["errors"]] == ["h3"]
    assert "iptables" in failed["errors"][0]["message"]
    assert failed["hosts"]["h3"] == "reverted (failed)"
