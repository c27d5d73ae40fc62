"""Parts of the lab that need no root: names, addresses, ranges, settings, refusals."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from provision.inventory.load import load as load_inventory
from provision.lab import examples, keys, limits, tools
from provision.lab.bringup import refuse_special_characters, up
from provision.lab.layout import Lab, addresses_of, host_names, mac, suite_of
from provision.lab.parallel import each
from provision.lab.ranges import DEFAULT, ranges, refuse_used
from provision.lab.settings import LabSettings, UpOptions, load, merged, require, save, up_words
from provision.model.errors import LabError, UsageError


def test_names_derive_from_the_folder_and_fit_the_kernel() -> None:
    """Interface names have at most 15 characters, and two labs have different names."""
    first, second = Lab(Path("/tmp/one")), Lab(Path("/tmp/two"))
    for lab in (first, second):
        host = lab.host("h200")
        names = (*lab.links, host.link, f"vb-{host.machine}")
        assert all(len(name) <= 15 for name in names)
    assert first.tag != second.tag and first == Lab(Path("/tmp/one"))


def test_each_host_has_its_own_addresses_and_macs() -> None:
    """The MAC addresses are locally administered."""
    assert [str(a) for a in addresses_of("h1", DEFAULT)] == ["10.77.0.11", "10.78.0.11"]
    assert str(addresses_of("h200", DEFAULT)[0]) == "10.77.0.210"
    lab = Lab(Path("/tmp/one"))
    macs = {mac(lab.host(host), nic) for host in host_names(200) for nic in ("host0", "eth1")}
    assert len(macs) == 400
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)


def test_a_mixed_lab_has_each_suite_in_turn() -> None:
    """The fourth host has the first suite again."""
    suites = [suite_of(host, "mixed") for host in host_names(4)]
    assert suites == ["trixie", "bookworm", "sid", "trixie"]
    assert suite_of("h2", "sid") == "sid"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.1.0.0/24", "two ranges are needed"),
        ("10.1.0.0/24,10.1.0.0/24", "the two ranges overlap"),
        ("10.1.0.1/24,10.2.0.0/24", "has host bits set"),
        ("10.1.0.0/16,10.2.0.0/24", "10.1.0.0/16 is not a private /24"),
        ("8.8.8.0/24,10.2.0.0/24", "8.8.8.0/24 is not a private /24"),
        ("127.0.0.0/24,10.2.0.0/24", "127.0.0.0/24 is not a private /24"),
        ("x,y", "Expected 4 octets"),
    ],
)
def test_invalid_ranges_are_refused(text: str, message: str) -> None:
    """The error has the reason."""
    with pytest.raises(UsageError, match=message):
        ranges(text)


def test_a_range_in_use_is_refused() -> None:
    """The error names the network or the route that uses it."""
    link = {
        "ifname": "docker0",
        "addr_info": [{"family": "inet", "local": "10.78.0.1", "prefixlen": 16}],
    }
    with pytest.raises(LabError, match=r"10\.78\.0\.0/24 is in use .* network of docker0"):
        refuse_used(DEFAULT, [link], [])
    with pytest.raises(LabError, match=r"10\.77\.0\.0/24 is in use .* a route dev tun0"):
        refuse_used(DEFAULT, [], [{"dst": "10.0.0.0/8", "dev": "tun0"}])


def test_a_range_in_use_is_answered_by_a_command_that_works() -> None:
    """It keeps the other options, and its ranges are free."""
    routes = [{"dst": "10.78.0.0/24", "dev": "a"}, {"dst": "10.88.0.0/16", "dev": "b"}]
    command = up_words(LabSettings(count=4, suite="mixed", bare=True), "http://mirror.example/d")
    with pytest.raises(LabError) as caught:
        refuse_used(DEFAULT, [], routes, command)
    assert caught.value.hint.endswith(
        ": provision lab up 4 --suite mixed --bare --mirror http://mirror.example/d "
        "--ranges 10.97.0.0/24,10.98.0.0/24"
    )


def test_default_routes_and_other_networks_do_not_use_a_range() -> None:
    """Half of the address space, as VPNs route it, does not count either."""
    peer = {"family": "inet", "local": "10.77.0.1", "address": "10.9.0.2", "prefixlen": 32}
    routes = [{"dst": "default", "dev": "eth0"}, {"dst": "0.0.0.0/1", "dev": "tun0"}]
    refuse_used(ranges("10.1.0.0/24,10.2.0.0/24"), [{"ifname": "p", "addr_info": [peer]}], routes)


def test_a_lab_grows_and_never_shrinks() -> None:
    """A smaller count changes nothing."""
    default = merged(None, UpOptions())
    assert (default.count, default.suite, default.ranges) == (3, "trixie", DEFAULT)
    assert merged(default, UpOptions(count=5)).count == 5
    assert merged(default, UpOptions(count=2)) == default == merged(default, UpOptions())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (UpOptions(suite="sid"), "this lab runs trixie, not sid"),
        (UpOptions(bare=True), "this lab has hosts with Docker"),
        (UpOptions(ranges=ranges("10.1.0.0/24,10.2.0.0/24")), "this lab has the ranges 10.77"),
    ],
)
def test_a_running_lab_keeps_its_settings(options: UpOptions, message: str) -> None:
    """The hint says how to create another lab."""
    with pytest.raises(LabError, match=message) as caught:
        merged(LabSettings(count=5), options)
    begin = "provision lab down, then provision lab up 5 --"
    assert caught.value.hint.startswith(begin)


def test_the_examples_have_the_addresses_of_the_lab(tmp_path: Path) -> None:
    """They validate; those that the user edited stay at the end."""
    lab, other = Lab(tmp_path), ranges("10.87.0.0/24,10.88.0.0/24")
    lab.dot.mkdir()
    assert examples.ensure(lab, DEFAULT) == () and not examples.folder(lab).exists()
    paths = [path for path in examples.ensure(lab, other) if path.is_file()]
    assert {"routes.yml", "vxlan.yml"} <= {path.name for path in paths}
    for path in paths:
        assert "10.78.0." not in path.read_text()
        addresses = {str(host.address) for host in load_inventory(path).hosts.values()}
        assert addresses and addresses <= {f"10.88.0.1{number}" for number in (1, 2, 3)}
    edited = examples.folder(lab) / "routes.yml"
    edited.write_text(edited.read_text() + "# mine\n")
    examples.ensure(lab, other)
    examples.remove(lab, other)
    assert [path.name for path in examples.folder(lab).iterdir()] == ["routes.yml"]
    edited.unlink()
    examples.remove(lab, other)
    assert not examples.folder(lab).exists()


def test_a_command_in_another_folder_names_the_labs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any lab, the hint says how to start one."""
    monkeypatch.setattr(limits, "RECORD", tmp_path)
    with pytest.raises(LabError, match="no lab in") as caught:
        require(Lab(tmp_path / "other"))
    assert caught.value.hint == "start a lab: provision lab up"
    lab = Lab(tmp_path / "with a blank")
    lab.state.mkdir(parents=True)
    record = {"boot": limits._boot(), "labs": [str(lab.folder)], "was": {}, "set": {}}
    (tmp_path / "limits.json").write_text(json.dumps(record))
    with pytest.raises(LabError) as caught:
        require(Lab(tmp_path / "other"))
    assert caught.value.hint == f"there is a lab in {lab.folder}: cd '{lab.folder}'"


def test_saved_settings_load_unchanged(tmp_path: Path) -> None:
    """A lab without a file has none."""
    lab = Lab(tmp_path)
    lab.state.mkdir(parents=True)
    assert load(lab) is None
    save(lab, LabSettings(count=7, suite="mixed"))
    assert load(lab) == LabSettings(count=7, suite="mixed")


@pytest.mark.parametrize("name", ["a b", "a,b", "a:b", "a%b", "a'b", "a\nb", "a$b"])
def test_a_folder_with_special_characters_is_refused(name: str) -> None:
    """mount, ssh and systemd would misread its path."""
    with pytest.raises(LabError, match="a lab cannot live in"):
        refuse_special_characters(Path("/tmp") / name)
    refuse_special_characters(Path("/home/zoë/my-lab_2.0+x@y"))


def test_one_failure_does_not_stop_the_other_hosts() -> None:
    """The error is that of the first failed host, and counts the others."""
    calls = []

    def act(number: int) -> int:
        calls.append(number)
        if number in (2, 3):
            raise LabError(f"h{number} is down", "hint")
        return number * 2

    assert each([1, 5], act) == [2, 10]
    with pytest.raises(LabError, match=r"h2 is down\n\(1 more failed\)"):
        each([1, 2, 3, 4], act)
    assert sorted(calls) == [1, 1, 2, 3, 4, 5]


def test_up_without_root_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint has the command, and no file is written."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="lab up needs root") as caught:
        up(Lab(tmp_path), UpOptions(), say=print)
    assert caught.value.hint == "sudo provision lab up"
    assert not list(tmp_path.iterdir())


def test_missing_programs_are_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint installs the packages of all of them."""
    for name in tools.PACKAGES.keys() - {"mmdebstrap", "nsenter", "setpriv"}:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="mmdebstrap, nsenter, setpriv") as caught:
        tools.require_programs()
    assert caught.value.hint == "apt-get install mmdebstrap util-linux"


def test_a_file_of_the_user_is_not_overwritten(tmp_path: Path) -> None:
    """An ssh_config counts as the lab's only if the lab's state exists."""
    lab = Lab(tmp_path)
    lab.dot.mkdir()
    lab.ssh_config.write_text("Host mine\n")
    with pytest.raises(LabError, match="ssh_config exists and was not written by"):
        keys.refuse_foreign(lab)
    lab.state.mkdir()
    keys.refuse_foreign(lab)
