"""The lab's pure parts: names, addresses, ranges, what a running lab can become."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provision.lab import keys, tools
from provision.lab.bringup import refuse_special_characters, up
from provision.lab.layout import Lab, addresses_of, host_names, mac, suite_of
from provision.lab.parallel import each
from provision.lab.ranges import DEFAULT, ranges, refuse_used
from provision.lab.settings import LabSettings, UpOptions, load, merged, save
from provision.model.errors import LabError, UsageError


def test_names_derive_from_the_folder_and_fit_the_kernel() -> None:
    one, two = Lab(Path("/tmp/one")), Lab(Path("/tmp/two"))
    for place in (one, two):
        host = place.host("h200")
        names = (*place.links, host.link, f"vb-{host.machine}")
        assert all(len(name) <= 15 for name in names)
    assert one.tag != two.tag and one == Lab(Path("/tmp/one"))


def test_addresses_and_macs() -> None:
    assert [str(a) for a in addresses_of("h1", DEFAULT)] == ["10.77.0.11", "10.78.0.11"]
    assert str(addresses_of("h200", DEFAULT)[0]) == "10.77.0.210"
    place = Lab(Path("/tmp/one"))
    macs = {mac(place.host(host), nic) for host in host_names(200) for nic in ("host0", "eth1")}
    assert len(macs) == 400
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)


def test_a_mixed_lab_has_one_of_each_in_turn() -> None:
    suites = [suite_of(host, "mixed") for host in host_names(4)]
    assert suites == ["trixie", "bookworm", "sid", "trixie"]
    assert suite_of("h2", "sid") == "sid"


@pytest.mark.parametrize(
    ("text", "complaint"),
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
def test_bad_ranges(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        ranges(text)


def test_a_taken_range_is_named_with_its_owner() -> None:
    link = {
        "ifname": "docker0",
        "addr_info": [{"family": "inet", "local": "10.78.0.1", "prefixlen": 16}],
    }
    with pytest.raises(LabError, match=r"10\.78\.0\.0/24 is in use .* network of docker0"):
        refuse_used(DEFAULT, [link], [])
    with pytest.raises(LabError, match=r"10\.77\.0\.0/24 is in use .* a route dev tun0"):
        refuse_used(DEFAULT, [], [{"dst": "10.0.0.0/8", "dev": "tun0"}])


def test_room_is_what_others_leave() -> None:
    peer = {"family": "inet", "local": "10.77.0.1", "address": "10.9.0.2", "prefixlen": 32}
    routes = [{"dst": "default", "dev": "eth0"}, {"dst": "0.0.0.0/1", "dev": "tun0"}]
    refuse_used(ranges("10.1.0.0/24,10.2.0.0/24"), [{"ifname": "p", "addr_info": [peer]}], routes)


def test_settings_grow_and_never_shrink() -> None:
    found = merged(None, UpOptions())
    assert (found.count, found.suite, found.ranges) == (3, "trixie", DEFAULT)
    assert merged(found, UpOptions(count=5)).count == 5
    assert merged(found, UpOptions(count=2)) == found == merged(found, UpOptions())


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        (UpOptions(suite="sid"), "this lab runs trixie, not sid"),
        (UpOptions(bare=True), "this lab has hosts with Docker"),
        (UpOptions(ranges=ranges("10.1.0.0/24,10.2.0.0/24")), "this lab has the ranges 10.77"),
    ],
)
def test_a_running_lab_does_not_become_another(wish: UpOptions, complaint: str) -> None:
    with pytest.raises(LabError, match=complaint) as caught:
        merged(LabSettings(), wish)
    assert caught.value.hint.startswith("provision lab down, then provision lab up --")


def test_settings_return_as_written(tmp_path: Path) -> None:
    place = Lab(tmp_path)
    place.state.mkdir(parents=True)
    assert load(place) is None
    save(place, LabSettings(count=7, suite="mixed"))
    assert load(place) == LabSettings(count=7, suite="mixed")


@pytest.mark.parametrize("name", ["a b", "a,b", "a:b", "a%b", "a'b", "a\nb", "a$b"])
def test_a_folder_that_tools_would_misread_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="a lab cannot live in"):
        refuse_special_characters(Path("/tmp") / name)
    refuse_special_characters(Path("/home/zoë/my-lab_2.0+x@y"))


def test_all_hosts_are_tried_and_the_first_failure_is_told() -> None:
    tried = []

    def act(number: int) -> int:
        tried.append(number)
        if number in (2, 3):
            raise LabError(f"h{number} is down", "look")
        return number * 2

    assert each([1, 5], act) == [2, 10]
    with pytest.raises(LabError, match=r"h2 is down\n\(1 more failed\)"):
        each([1, 2, 3, 4], act)
    assert sorted(tried) == [1, 1, 2, 3, 4, 5]


def test_without_root_up_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="lab up needs root") as caught:
        up(Lab(tmp_path), UpOptions(), say=print)
    assert caught.value.hint == "sudo provision lab up"
    assert not list(tmp_path.iterdir())


def test_missing_programs_are_one_error_with_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in tools.PACKAGES.keys() - {"mmdebstrap", "nsenter", "setpriv"}:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="mmdebstrap, nsenter, setpriv") as caught:
        tools.require_programs()
    assert caught.value.hint == "apt-get install mmdebstrap util-linux"


def test_a_file_of_the_user_is_not_overwritten(tmp_path: Path) -> None:
    place = Lab(tmp_path)
    place.dot.mkdir()
    place.ssh_config.write_text("Host mine\n")
    with pytest.raises(LabError, match="ssh_config exists and was not written by"):
        keys.refuse_foreign(place)
    place.state.mkdir()
    keys.refuse_foreign(place)
