"""The pool of addresses on the hosts' LAN that `compare` chooses for its containers."""

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
from provision.model.errors import FactsError, UnfitError, UsageError
from provision.transport.base import Output
from tests.fakes import HOST

HOSTS = ("h1", "h2", "h3")
LAN = IPv4Network("10.78.0.0/24")


@dataclass
class Lan:
    """A transport to a LAN with the addresses `used`; `broken`: the ARP program does not run."""

    used: tuple[str, ...] = ()
    broken: bool = False
    probed: list[str] = field(default_factory=list)

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        assert (host, timeout_s > 0) == ("h1", True)
        self.probed = re.findall(r"own ([\d.]+) ", script)
        lines = [f"answer duplicate compare {ip} {int(ip in self.used)} x" for ip in self.probed]
        return Output(1, "", "perl: no") if self.broken else Output(0, "\n".join(lines) + "\n", "")


def session(tmp_path: Path, lan: Lan, networks: str = "") -> Session:
    """A session of three hosts on a LAN; `networks` is YAML text for their inventory."""
    hosts = "".join(f"  {host}: {{address: 10.78.0.{11 + n}}}\n" for n, host in enumerate(HOSTS))
    path = tmp_path / "it.yml"
    path.write_text(f"name: it\nhosts:\n{hosts}{networks}")
    return Session(load(path), lan)


def fleet(**addresses: str) -> Fleet:
    """The facts of three hosts with one address each on eth1, in a /24 by default."""
    snapshots = {}
    for number, host in enumerate(HOSTS):
        address = IPv4Interface(addresses.get(host, f"10.78.0.{11 + number}/24"))
        links = {"eth1": Link("eth1", 1500, (address,))}
        snapshots[host] = HostSnapshot(replace(host_probe.parse(host, HOST), links=links), (), ())
    return Fleet(snapshots, {})


def test_pools_have_room_for_all_hosts_and_no_used_address() -> None:
    """The highest pool is first; the first and the last part of the LAN are none."""
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


def test_the_highest_pool_without_an_answer_is_chosen(tmp_path: Path) -> None:
    """One script probes all addresses; one machine in the highest pool excludes it."""
    lan = Lan(("10.78.0.229",))
    pool = find_pool(session(tmp_path, lan), fleet(), HOSTS, None)
    assert pool == (LAN, IPv4Network("10.78.0.208/28"))
    assert "10.78.0.11" not in lan.probed and len(lan.probed) > 100


def test_the_addresses_of_the_inventorys_containers_are_not_chosen(tmp_path: Path) -> None:
    """Even if none of the containers runs now."""
    networks = (
        "networks:\n  lan: {method: pipework, cidr: 10.78.0.0/24, pool: 10.78.0.224/28}\n"
        "containers:\n  c1: {host: h1, network: lan}\n"
    )
    _, pool = find_pool(session(tmp_path, Lan(), networks), fleet(), HOSTS, None)
    assert pool == IPv4Network("10.78.0.208/28")


def test_a_pool_by_option_must_be_on_the_lan(tmp_path: Path) -> None:
    """Compare does not probe it, because each apply does."""
    hosts = session(tmp_path, lan := Lan())
    assert find_pool(hosts, fleet(), HOSTS, "10.78.0.32/28")[1] == IPv4Network("10.78.0.32/28")
    assert not lan.probed
    for text, message in (("10.79.0.0/28", "not part of 10.78.0.0/24"), ("x", "--pool x")):
        with pytest.raises(UsageError, match=message):
            find_pool(hosts, fleet(), HOSTS, text)


def test_an_unfit_lan_is_an_error(tmp_path: Path) -> None:
    """The LAN is full, its hosts cannot probe it, or the hosts share none."""
    full = Lan(tuple(map(str, LAN)))
    with pytest.raises(UnfitError, match="has no free part"):
        find_pool(session(tmp_path, full), fleet(), HOSTS, None)
    with pytest.raises(UnfitError, match="perl: no"):
        find_pool(session(tmp_path, Lan(broken=True)), fleet(), HOSTS, None)
    with pytest.raises(UnfitError, match=r"on 10\.78\.0\.0/16, and h1 on 10\.78\.0\.0/24"):
        find_pool(session(tmp_path, Lan()), fleet(h3="10.78.0.13/16"), HOSTS, None)


def test_only_candidates_that_need_the_lan_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is given; a candidate that the user named is an error instead."""
    separate = fleet(h3="10.78.0.13/16")
    monkeypatch.setattr("provision.compare.deployment.observe", lambda *_arguments: separate)
    hosts = session(tmp_path, Lan())
    site, _, unfit = find_site(hosts, HOSTS, CANDIDATES, None, strict=False)
    on_lan = [candidate.name for candidate in CANDIDATES if candidate.on_lan]
    assert (list(unfit), site.pool) == (on_lan, None)
    assert "share no LAN" in unfit["pipework"]
    with pytest.raises(UnfitError):
        find_site(hosts, HOSTS, CANDIDATES, None, strict=True)
    assert find_site(hosts, HOSTS, CANDIDATES[:2], None, strict=True)[2] == {}


@pytest.mark.parametrize("odd", ["", "duplicate", "duplicate compare x 1 y", "\x1b[31m"])
def test_an_answer_that_cannot_be_read_is_the_hosts_problem(tmp_path: Path, odd: str) -> None:
    """No traceback, and no pool."""

    class OddLan(Lan):
        def run(self, host: str, script: str, *, timeout_s: float) -> Output:
            answered = super().run(host, script, timeout_s=timeout_s)
            lines = [f"answer {odd}" for _ in answered.stdout.splitlines()]
            return Output(0, "\n".join(lines) + "\n", "")

    with pytest.raises(FactsError, match="h1: its answers to ARP probes cannot be read") as error:
        find_pool(session(tmp_path, OddLan()), fleet(), HOSTS, None)
    assert error.value.message.isprintable()
