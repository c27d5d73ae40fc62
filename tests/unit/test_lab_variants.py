"""Variants of lab hosts: the options of `lab up`, and the files of each network manager."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from provision.lab import base, dhcp, newer_docker, nic_files, variants
from provision.lab.layout import Lab, mac
from provision.lab.settings import LabSettings, UpOptions, load, merged, save, up_words
from provision.model.errors import LabError, UsageError


def test_single_hosts_have_variants_of_their_own() -> None:
    """The other hosts have those of the lab."""
    choices = variants.host_choices(("h2=manager:netplan", "h3=manager:networkd"))
    lab = merged(None, UpOptions(3, variants={"manager": "ifupdown"}, host_variants=choices))
    managers = [variants.value(lab.choice(host), "manager") for host in lab.hosts]
    assert managers == ["ifupdown", "netplan", "networkd"]
    names = [variants.names_of(lab.choice(host)) for host in lab.hosts]
    assert names == [("ifupdown",), ("netplan",), ()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h2", "write NAME=KEY:VALUE"),
        ("x=manager:netplan", "write NAME=KEY:VALUE"),
        ("h2=color:red", "no key 'color'; keys: manager"),
        ("h2=manager:wicked", "no manager 'wicked'; values: networkd, ifupdown"),
    ],
)
def test_unknown_variants_are_refused(text: str, message: str) -> None:
    """The error has the possible values."""
    with pytest.raises(UsageError, match=message):
        variants.host_choices((text,))


def test_hosts_keep_their_variants(tmp_path: Path) -> None:
    """Further hosts may have others; the hint is a command with the wanted ones."""
    lab = Lab(tmp_path)
    lab.state.mkdir(parents=True)
    current = merged(None, UpOptions(2, host_variants={"h1": {"manager": "ifupdown"}}))
    save(lab, current)
    assert load(lab) == current == merged(current, UpOptions())
    grown = merged(current, UpOptions(3, host_variants={"h3": {"manager": "netplan"}}))
    assert grown.choice("h1") == {"manager": "ifupdown"}
    assert grown.choice("h3") == {"manager": "netplan"}
    with pytest.raises(LabError, match="has h2 with other variants") as caught:
        merged(current, UpOptions(variants={"manager": "netplan"}))
    command = "provision lab up 2 --manager netplan --host h1=manager:ifupdown"
    assert caught.value.hint == f"provision lab down, then {command}"


def test_trees_without_variants_keep_their_names() -> None:
    """Cached trees are found again; a variant names its tree."""
    plain, managed = (
        base.recipe("trixie", bare=False, names=names) for names in ((), ("netplan",))
    )
    assert plain.folder.name.count("-") == 1
    assert managed.folder.name.startswith("trixie-netplan-")
    assert "netplan.io" in managed.packages


def test_a_tree_with_systemd_resolved_has_its_unit_and_its_link(tmp_path: Path) -> None:
    """The other trees have masked the unit, and an empty resolv.conf."""
    for names, target in {
        (): None,
        ("resolved",): "../run/systemd/resolve/stub-resolv.conf",
    }.items():
        recipe = base.recipe("bookworm", bare=False, names=names)
        tree = tmp_path / (names or ("plain",))[0]
        (tree / "etc/ssh").mkdir(parents=True)
        base.finish(tree, recipe)
        path, unit = tree / "etc/resolv.conf", "etc/systemd/system/systemd-resolved.service"
        assert (str(path.readlink()) if path.is_symlink() else None) == target
        assert (tree / unit).is_symlink() == (target is None)
        assert ("systemd-resolved" in recipe.packages) == bool(target)


@pytest.mark.parametrize("manager", variants.GROUPS["manager"])
def test_each_manager_has_files_of_both_nics(manager: str) -> None:
    """With the addresses of the lab, and a mode that the manager accepts."""
    settings = LabSettings(variants={"manager": manager})
    files = nic_files.files(Lab(Path("/tmp/one")).host("h1"), settings)
    text = "".join(text for text, _ in files.values())
    assert "10.77.0.11/24" in text and "10.78.0.11/24" in text
    secret = [path for path, (_, mode) in files.items() if mode == 0o600]
    assert bool(secret) == (manager not in ("networkd", "ifupdown"))
    assert "provision lab" in text and "\n\n\n" not in text


@pytest.mark.parametrize("manager", variants.GROUPS["manager"])
def test_leased_addresses_are_in_no_file_of_the_host(manager: str) -> None:
    """The DHCP server of the lab has them, by MAC; the NIC for SSH keeps its own."""
    lab = Lab(Path("/tmp/one"))
    settings = LabSettings(
        count=2, variants={"manager": manager}, host_variants={"h1": {"address": "dhcp"}}
    )
    text = "".join(text for text, _ in nic_files.files(lab.host("h1"), settings).values())
    assert "10.77.0.11/24" in text and "10.78.0.11" not in text
    assert re.search("DHCP=ipv4|inet dhcp|method=auto|dhcp4: true", text)
    lines = dhcp.configuration(lab, settings).splitlines()
    leases = [line for line in lines if line.startswith("dhcp-host=")]
    assert leases == [f"dhcp-host={mac(lab.host('h1'), 'eth1')},10.78.0.11,h1"]


def test_the_dhcp_client_is_that_of_the_suite() -> None:
    """ifupdown has none of its own."""
    clients = {"bookworm": "isc-dhcp-client", "trixie": "dhcpcd-base", "sid": "dhcpcd-base"}
    for suite, client in clients.items():
        assert client in base.recipe(suite, bare=True, names=("ifupdown",)).packages
        assert client not in base.recipe(suite, bare=True, names=("networkmanager",)).packages


def test_a_newer_docker_takes_the_place_of_that_of_sid() -> None:
    """Its programs are copied before the setup that needs them; other suites are refused."""
    recipe = base.recipe("sid", bare=False, names=("29",))
    assert recipe.newer_docker and "nftables" in recipe.packages
    assert not base.recipe("sid", bare=False, names=("ufw",)).newer_docker
    assert newer_docker.copy_hook().startswith(f"copy-in {newer_docker.folder()}/dockerd ")
    variants.refuse_unfit(("29",), "h1", "sid", bare=False)
    with pytest.raises(UsageError, match="h2: --docker 29 needs the suite sid, and this is trixie"):
        variants.refuse_unfit(("29",), "h2", "trixie", bare=False)
    with pytest.raises(UsageError, match="a bare host has no Docker"):
        variants.refuse_unfit(("29",), "h1", "sid", bare=True)


def test_docker_needs_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hint is how to get one."""
    monkeypatch.setattr(newer_docker.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="this machine has no Go") as caught:
        newer_docker.go_program()
    assert "scripts/setup" in caught.value.hint


def test_the_command_line_has_the_variants() -> None:
    """A range in use is answered by a command that works."""
    lab = LabSettings(
        variants={"manager": "netplan", "address": "dhcp"},
        host_variants={"h2": {"manager": "ifupdown", "address": "static"}},
    )
    words = up_words(lab)[4:]
    assert words == (
        *("--manager", "netplan", "--dhcp"),
        *("--host", "h2=manager:ifupdown,address:static"),
    )
    assert lab.leased == ("h1", "h3")
