"""compare's addresses on the hosts' LAN: what is asked for, and what is taken of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from provision.compare.candidates import CANDIDATES
from provision.compare.deployment import find_site
from provision.compare.pool import find_pool, pools_of
from provision.engine.fleet import Fleet, Session
from provision.facts import host_probe
from provision.facts.gather import HostSnapshot
from provision.facts.host import Link
from provision.inventory.load import load
from provision.model.errors import UnfitError, UsageError
from provision.transport.base import Output
from tests.fakes import HOST

HOSTS = ("h1", "h2", "h3")
LAN = IPv4Network("10.78.0.0/24")


@dataclass
class Neighbours:
    """A LAN on which somebody holds `there`; `mute`: the program that asks does not run."""

    there: tuple[str, ...] = ()
    mute: bool = False
    asked: list[str] = field(default_factory=list)

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        assert (host, timeout_s > 0) == ("h1", True)
        self.asked = re.findall(r"own ([\d.]+) ", script)
        lines = [f"answer duplicate compare {ip} {int(ip in self.there)} x" for ip in self.asked]
        return Output(1, "", "perl: no") if self.mute else Output(0, "\n".join(lines) + "\n", "")


def session(tmp_path: Path, lan: Neighbours, networks: str = "") -> Session:
    hosts = "".join(f"  {host}: {{address: 10.78.0.{11 + n}}}\n" for n, host in enumerate(HOSTS))
    path = tmp_path / "it.yml"
    path.write_text(f"name: it\nhosts:\n{hosts}{networks}")
    return Session(load(path), lan)


def fleet(**others: str) -> Fleet:
    """Each host with its address in a /24 at eth1, or the one that is said."""
    looks = {}
    for number, host in enumerate(HOSTS):
        own = IPv4Interface(others.get(host, f"10.78.0.{11 + number}/24"))
        links = {"eth1": Link("eth1", 1500, (own,))}
        looks[host] = HostSnapshot(replace(host_probe.parse(host, HOST), links=links), (), ())
    return Fleet(looks, {})


def test_parts_are_high_apart_and_for_all_hosts() -> None:
    """Neither at the LAN's ends, nor where an address of somebody is."""
    parts = pools_of(LAN, 3, [IPv4Address("10.78.0.230")])
    assert (parts[0], parts[-1]) == (
        IPv4Network("10.78.0.208/28"),
        IPv4Network("10.78.0.16/28"),
    )
    assert IPv4Network("10.78.0.224/28") not in parts
    assert pools_of(LAN, 200, [])[:1] == ()
    assert pools_of(IPv4Network("10.0.0.0/29"), 2, []) == ()
    wide = pools_of(IPv4Network("10.0.0.0/8"), 2, [])
    assert (wide[0], len(wide)) == (IPv4Network("10.255.255.240/29"), 32)


def test_a_part_that_nobody_answers_for_is_taken(tmp_path: Path) -> None:
    """One neighbour in the highest part: the next one. All are asked for in one go."""
    lan = Neighbours(("10.78.0.229",))
    found = find_pool(session(tmp_path, lan), fleet(), HOSTS, None)
    assert found == (LAN, IPv4Network("10.78.0.208/28"))
    assert "10.78.0.11" not in lan.asked and len(lan.asked) > 100


def test_what_the_inventory_gives_to_containers_is_not_taken(tmp_path: Path) -> None:
    """Also where none of them runs now."""
    own = (
        "networks:\n  lan: {method: pipework, cidr: 10.78.0.0/24, pool: 10.78.0.224/28}\n"
        "containers:\n  c1: {host: h1, network: lan}\n"
    )
    found = find_pool(session(tmp_path, Neighbours(), own), fleet(), HOSTS, None)
    assert found[1] == IPv4Network("10.78.0.208/28")


def test_a_named_part_is_on_the_lan(tmp_path: Path) -> None:
    """It is not asked for here: each apply does."""
    there = session(tmp_path, lan := Neighbours())
    assert find_pool(there, fleet(), HOSTS, "10.78.0.32/28")[1] == IPv4Network("10.78.0.32/28")
    assert not lan.asked
    for text, told in (("10.79.0.0/28", "not part of 10.78.0.0/24"), ("x", "--pool x")):
        with pytest.raises(UsageError, match=told):
            find_pool(there, fleet(), HOSTS, text)


def test_a_lan_without_room_or_answers_is_told(tmp_path: Path) -> None:
    """Full, or not to be asked; and hosts that share no LAN."""
    full = Neighbours(tuple(map(str, LAN)))
    with pytest.raises(UnfitError, match="has no free part"):
        find_pool(session(tmp_path, full), fleet(), HOSTS, None)
    with pytest.raises(UnfitError, match="perl: no"):
        find_pool(session(tmp_path, Neighbours(mute=True)), fleet(), HOSTS, None)
    with pytest.raises(UnfitError, match=r"on 10\.78\.0\.0/16, and h1 on 10\.78\.0\.0/24"):
        find_pool(session(tmp_path, Neighbours()), fleet(h3="10.78.0.13/16"), HOSTS, None)


def test_only_what_needs_the_lan_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default with the reason; by name it is an error."""
    apart = fleet(h3="10.78.0.13/16")
    monkeypatch.setattr("provision.compare.deployment.observe", lambda *_given: apart)
    there = session(tmp_path, Neighbours())
    ground, _, unfit = find_site(there, HOSTS, CANDIDATES, None, strict=False)
    assert (list(unfit), ground.pool) == (["pipework"], None)
    assert "share no LAN" in unfit["pipework"]
    with pytest.raises(UnfitError):
        find_site(there, HOSTS, CANDIDATES, None, strict=True)
    assert find_site(there, HOSTS, CANDIDATES[:2], None, strict=True)[2] == {}
