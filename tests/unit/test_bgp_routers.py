"""Method `bgp`: its routers, and what reflectors and routers may announce."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from provision.engine import preflight
from provision.engine.departures import warnings
from provision.engine.desired import wanted
from provision.facts.host import KernelRoute, Link
from provision.methods.bgp import status
from provision.methods.bgp.method import BgpMethod
from provision.resources.base import Ref
from provision.resources.kinds.iptables_chain import IptablesChain
from provision.resources.kinds.secret_file import SecretFile
from provision.resources.kinds.service import Service
from provision.resources.lib.daemon_range import daemon_range
from tests.cases.test_cases import facts
from tests.unit.test_bgp import (
    CASE,
    ROUTES,
    UNIT,
    UP,
    answers,
    errors_of,
    example,
    host_facts,
    text_of,
)

PROGRAM = "/etc/provision/mesh/core.bgp.sh"
ROUTERS = "routers: [{address: 10.78.0.1, asn: 64600}, {address: 10.78.0.2, asn: 64601, "
ACCEPTING = ("# asn: 64512", f"{ROUTERS}accept: [10.200.0.0/16]}}] #")
PLAIN = ("# asn: 64512", f"{ROUTERS}}}] #")
WITH_ROUTERS = {**UP, "10_78_0_1": "Established", "10_78_0_2": "Established"}


def entries(text: str, route_map: str) -> list[list[str]]:
    """The lines of each entry of a route map."""
    parts = text.split(f"\nroute-map {route_map} ")[1:]
    return [part.split("\n!")[0].split("\nroute-map")[0].splitlines() for part in parts]


@pytest.mark.parametrize("host", ["h1", "h3"])
def test_each_host_tells_the_routers_its_own_subnet(tmp_path: Path, host: str) -> None:
    """Also a reflector, which knows all; and it takes nothing that no key allows."""
    inventory = example(tmp_path, ACCEPTING)
    text = text_of(inventory, host)
    subnet = inventory.networks["core"].subnets[host]
    assert entries(text, "to-routers") == [["permit 10", " match ip address prefix-list own"]]
    assert f"ip prefix-list own permit {subnet}\n" in text
    assert entries(text, "from-10.78.0.1") == [["deny 10"]]
    assert entries(text, "from-10.78.0.2") == [
        [
            "permit 10",
            " match ip address prefix-list from-10.78.0.2",
            " set ip next-hop peer-address",
        ]
    ]
    assert "ip prefix-list from-10.78.0.2 permit 10.200.0.0/16 le 32" in text
    for address, asn in (("10.78.0.1", 64600), ("10.78.0.2", 64601)):
        assert f"neighbor {address} remote-as {asn}\n" in text
        assert f"neighbor {address} route-map from-{address} in\n" in text
        assert f"neighbor {address} route-map to-routers out\n" in text
        # A router that was restarted is called again, as reflectors are.
        assert address in text_of(inventory, host, PROGRAM).split("for peer in ")[1].split(";")[0]


@pytest.mark.parametrize("change", [PLAIN, ("# asn: 64512", "asn: 64513 #")])
def test_a_new_host_changes_no_other_with_routers(tmp_path: Path, change: tuple[str, str]) -> None:
    """Neither hosts nor reflectors have a list of the others."""
    before = example(tmp_path, change)
    after = example(tmp_path, change, ("# h4: {address", "h4: {address"))
    old, new = (wanted(each, facts(each, CASE)) for each in (before, after))
    assert {ref: new[ref] for ref in old} == old


def test_strict_reflectors_have_a_list_of_the_hosts(tmp_path: Path) -> None:
    """A new host changes the files of the reflectors, and of no other host."""
    strict = ("# asn: 64512", "strict: true #")
    before = example(tmp_path, strict)
    text = text_of(before, "h1")
    assert entries(text, "of-callers") == [
        ["deny 10", " match ip address prefix-list own"],
        [
            "permit 11",
            " match peer 10.78.0.13",
            " match ip address prefix-list of-10.78.0.13",
            " set ip next-hop peer-address",
        ],
    ]
    assert "ip prefix-list of-10.78.0.13 permit 172.27.2.0/24\n" in text
    assert "of-callers" not in text_of(before, "h3")
    after = example(tmp_path, strict, ("# h4: {address", "h4: {address"))
    old, new = (wanted(each, facts(each, CASE)) for each in (before, after))
    changed = {ref.host for ref in old if new[ref] != old[ref]}
    assert changed == {"h1", "h2"}
    only_reflectors = example(
        tmp_path,
        ("# asn: 64512", "strict: true #"),
        ("# reflectors: [h1, h2] ", "reflectors: [h1, h2, h3] #"),
    )
    assert entries(text_of(only_reflectors, "h1"), "of-callers") == [
        ["deny 10", " match ip address prefix-list own"]
    ]


def test_containers_cannot_call_a_router(tmp_path: Path) -> None:
    """Behind the address of their host, they would be the host. The rule is no sign of a host."""
    inventory = example(tmp_path, PLAIN)
    states = facts(inventory, CASE)
    current = wanted(inventory, states)
    chains = [each for each in current.values() if isinstance(each, IptablesChain)]
    rules = [" ".join(rule) for chain in chains if chain.host == "h3" for rule in chain.rules]
    dropped = [rule for rule in rules if "--dport 179" in rule and rule.endswith("-j DROP")]
    assert [rule.split()[1] for rule in dropped] == [
        *("10.78.0.11/32", "10.78.0.12/32", "10.78.0.1/32", "10.78.0.2/32"),
    ]
    assert not list(warnings(inventory, current, states))
    # Also in the plan that takes the routers away: the files on the hosts still name them.
    assert not list(warnings(example(tmp_path), current, states))


def test_accepted_routes_are_taken_away_with_the_service(tmp_path: Path) -> None:
    """Its files name their ranges, which are outside of the network's range."""
    inventory = example(tmp_path, ACCEPTING)
    service = wanted(inventory, facts(inventory, CASE))[Ref("h1", "service", UNIT)]
    assert isinstance(service, Service)
    named = daemon_range(service.text)
    assert named is not None and named.routers == ("10.78.0.1", "10.78.0.2")
    assert named.ranges == (IPv4Network("172.27.0.0/16"), IPv4Network("10.200.0.0/16"))
    assert named == daemon_range(text_of(inventory, "h1", PROGRAM))


def test_a_route_of_a_router_is_no_host_that_left(tmp_path: Path) -> None:
    """Its range is not that of the network, so nothing is told of it."""
    inventory = example(tmp_path, ACCEPTING)
    states = facts(inventory, CASE)
    route = KernelRoute(IPv4Network("10.200.0.0/24"), "eth1", 186, via="10.78.0.2")
    states["h1"] = replace(states["h1"], routes=(route,))
    current = wanted(inventory, states)
    assert not list(warnings(inventory, current, states))
    assert not preflight.problems(inventory, states)


def test_a_router_behind_another_one_is_refused(tmp_path: Path) -> None:
    """A session with a router crosses no other router, as its packets have a TTL of 1."""
    inventory = example(tmp_path, ("# asn: 64512", "routers: [{address: 10.79.0.1, asn: 64600}] #"))
    problems = preflight.problems(inventory, facts(inventory, CASE))
    assert [problem.host for problem in problems] == ["h1", "h2", "h3"]
    assert "router 10.79.0.1 is not on the link of eth1" in problems[0].message
    states = facts(inventory, CASE)
    link = states["h1"].links["eth1"]
    further = replace(link, addresses=(*link.addresses, IPv4Interface("10.79.0.11/24")))
    states["h1"] = replace(states["h1"], links={**states["h1"].links, "eth1": further})
    assert [problem.host for problem in preflight.problems(inventory, states)] == ["h2", "h3"]


@pytest.mark.parametrize(
    ("login", "address", "expected"),
    [
        ("10.9.0.1", "10.201.0.1/16", ""),
        ("10.9.0.1", "10.200.0.1/32", ""),
        ("10.200.7.9", "10.201.0.1/16", "10.200.0.0/16 contains 10.200.7.9, from which you log in"),
        ("10.9.0.1", "10.200.9.1/24", "10.200.0.0/16 overlaps 10.200.9.0/24 of its interface br-a"),
        ("10.9.0.1", "10.201.0.1/8", "10.200.0.0/16 overlaps 10.0.0.0/8 of its interface br-a"),
    ],
)
def test_a_range_that_would_cut_off_the_host_is_refused(
    tmp_path: Path, login: str, address: str, expected: str
) -> None:
    """A router must lead away neither the SSH login nor what is on the host's own links."""
    inventory = example(tmp_path, ACCEPTING)
    states = facts(inventory, CASE)
    bridge = Link("br-a", 1500, (IPv4Interface(address),))
    states["h2"] = replace(
        states["h2"],
        ssh_from=IPv4Address(login),
        links={**states["h2"].links, "br-a": bridge},
    )
    problems = list(BgpMethod().check_host(inventory, inventory.networks["core"], states["h2"]))
    assert [problem.message for problem in problems] == [f"accept: {expected}"] * bool(expected)


def test_the_plan_tells_that_a_restart_is_noticed_by_routers(tmp_path: Path) -> None:
    """Without routers no packet is lost, and nothing is told."""
    for changes, expected in (
        ([PLAIN], "the routers reach no container of the host for some seconds"),
        ([], None),
    ):
        inventory = example(tmp_path, *changes)
        service = wanted(inventory, facts(inventory, CASE))[Ref("h1", "service", UNIT)]
        assert service.disruption(service, recreated=False) == expected


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (WITH_ROUTERS, ""),
        (
            {**WITH_ROUTERS, "10_78_0_2": "Active"},
            "none with router 10.78.0.2: configure h1 there as a neighbor of AS 64512",
        ),
        (UP, "none with routers 10.78.0.1, 10.78.0.2: "),
        ({**WITH_ROUTERS, "10_78_0_3": "Established"}, "one with 10.78.0.3, which is no host"),
    ],
)
def test_sessions_covers_the_routers(tmp_path: Path, states: dict[str, str], expected: str) -> None:
    """A router is no stranger, and a session with it may be missing."""
    inventory = example(tmp_path, PLAIN)
    sessions, subnets = errors_of(inventory, answers(ROUTES, **states))
    assert not subnets
    assert sessions.startswith(expected) and bool(sessions) == bool(expected), sessions
    waited = status.script(inventory, "h3", inventory.networks.values(), wait=True)
    assert '[ "$(sessions)" -lt 4 ]' in waited


@pytest.mark.parametrize(
    ("prefix", "hop", "expected"),
    [
        ("10.200.7.0/24", "10.78.0.2", ""),
        ("10.200.7.0/24", "10.78.0.13", "h3 announces 10.200.7.0/24"),
        ("10.200.7.0/24", "10.78.0.1", "10.78.0.1 announces 10.200.7.0/24"),
        ("10.201.0.0/24", "10.78.0.2", "10.78.0.2 announces 10.201.0.0/24"),
        ("0.0.0.0/0", "10.78.0.2", "10.78.0.2 announces 0.0.0.0/0"),
        ("172.27.1.0/24", "10.78.0.2", "172.27.1.0/24 of h2 is announced by 10.78.0.2"),
    ],
)
def test_only_accepted_ranges_may_lead_to_a_router(
    tmp_path: Path, prefix: str, hop: str, expected: str
) -> None:
    """And to no host; a default route and a host's subnet never lead to a router."""
    inventory = example(tmp_path, ACCEPTING)
    routes = {**ROUTES, prefix: hop}
    subnets = errors_of(inventory, answers(routes, **WITH_ROUTERS))[1]
    assert subnets.startswith(expected) and bool(subnets) == bool(expected), subnets


def started(folder: Path, *keys: str, lost: str = "") -> subprocess.CompletedProcess[str]:
    """The end of the program of the service on h1 until bgpd starts: it prints the passwords.

    `lost`: the key that the file of secrets on the host has no more.
    """
    (folder / "bgp.key").write_text("of-hosts\n")
    (folder / "router.key").write_text("of-routers\n")
    inventory = example(folder, ("# asn: 64512", "\n    ".join([PLAIN[1], *keys, "#"])))
    secret = wanted(inventory, facts(inventory, CASE))[Ref("h1", "secret_file", "core.bgp")]
    assert isinstance(secret, SecretFile)
    lines = [f"{key} {value}\n" for key, value in secret.pairs if key != lost]
    (folder / "secrets").write_text("".join(lines))
    program = text_of(inventory, "h1", PROGRAM)
    loop = program.partition("  while read -r key value")[2].partition("\nexec ")[0]
    script = "{\n  while read -r key value" + loop
    for old, new in (
        ("/etc/provision/mesh/secrets/core.bgp", str(folder / "secrets")),
        ('>"$folder/bgpd.conf"', ""),
    ):
        assert old in script
        script = script.replace(old, new)
    return subprocess.run(("sh", "-uc", script), capture_output=True, text=True, check=False)


def configured(folder: Path, *keys: str) -> str:
    """The passwords that the program writes for bgpd on h1, one in a line."""
    result = started(folder, *keys)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_bgpd_does_not_start_without_one_of_its_passwords(tmp_path: Path) -> None:
    """Somebody has edited the file of secrets: no session has a password of the others."""
    keys = ("password: {file: bgp.key}", "router_password: {file: router.key}")
    for lost in ("password", "router_password"):
        result = started(tmp_path, *keys, lost=lost)
        assert result.returncode == 1
        assert result.stderr.endswith(f"secrets has no {lost}\n"), result.stderr


def test_routers_have_the_password_of_the_hosts_or_their_own(tmp_path: Path) -> None:
    """`router_password` is for the routers alone."""
    hosts, routers = "password: {file: bgp.key}", "router_password: {file: router.key}"
    of_hosts = [f" neighbor {peer} password of-hosts" for peer in ("hosts", "10.78.0.12")]
    own = [f" neighbor 10.78.0.{k} password of-routers" for k in (1, 2)]
    shared = [f" neighbor 10.78.0.{k} password of-hosts" for k in (1, 2)]
    assert configured(tmp_path, hosts).splitlines() == [*of_hosts, *shared]
    assert configured(tmp_path, hosts, routers).splitlines() == [*of_hosts, *own]
    assert configured(tmp_path, routers).splitlines() == own


def test_a_missing_session_names_the_password(tmp_path: Path) -> None:
    """Only where there is one."""
    (tmp_path / "bgp.key").write_text("x\n")
    inventory = example(
        tmp_path, ("# asn: 64512", f"{PLAIN[1]}\n    password: {{file: bgp.key}} #")
    )
    network, of_host = inventory.networks["core"], host_facts(inventory, "h1")
    statuses = status.parse(inventory, "h1", [network], answers(ROUTES, **UP))
    error = status.sessions_error(inventory, network, of_host, statuses)
    assert error.endswith("as a neighbor of AS 64512, with the same password")
