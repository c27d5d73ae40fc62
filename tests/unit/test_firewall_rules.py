"""`firewall: manage`: which rules an inventory wants, and what `plan` says of those on a host."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from provision.checks.drift_text import describe
from provision.engine import desired, firewalls, refusals
from provision.engine.plan import Change, operations, plan
from provision.facts.firewall import Firewall
from provision.facts.firewalld import Firewalld, Zone, rich_rule
from provision.facts.host import HostFacts
from provision.inventory.load import load
from provision.model.errors import ConflictError
from provision.model.inventory import Inventory
from provision.model.needs import Inbound
from provision.resources.base import Found, Origin, Resource, state
from provision.resources.kinds import all_kinds
from provision.resources.kinds.docker_firewall import DockerFirewall
from provision.resources.kinds.firewall_rule import FirewallRule
from provision.resources.kinds.forward_policy import ForwardPolicy
from provision.resources.steps import Put, Run, remove_file
from tests.cases.test_cases import facts
from tests.unit.test_firewall import UFW, dropping_table

VXLAN = "allow proto udp from 10.78.0.0/24 to any port 4789"
CLAIM = f"ufw - {VXLAN}"
OPEN = "-A ufw-user-input -s 10.78.0.0/24 -p udp -m udp --dport 4789 -j ACCEPT\n"
DOCKER_USER = ":FORWARD {} [0:0]\n-A FORWARD -j DOCKER-USER\n"


def inventory_of(folder: Path, firewall: str = "manage") -> Inventory:
    """Two hosts with a network of vxlan."""
    path = folder / "wide.yml"
    path.write_text(f"""name: wide
firewall: {firewall}
hosts:
  h1: {{address: 10.78.0.11}}
  h2: {{address: 10.78.0.12}}
networks:
  wide: {{method: vxlan, cidr: 172.31.0.0/16}}
containers:
  w1: {{host: h1, network: wide}}
""")
    return load(path)


def facts_of(inventory: Inventory, firewall: Firewall) -> dict[str, HostFacts]:
    """The facts of both hosts; h1 has this firewall."""
    both = facts(inventory, {"docker": dict.fromkeys(("h1", "h2"), "26.1.5"), "applied": False})
    return both | {"h1": replace(both["h1"], firewall=firewall)}


def rules(inventory: Inventory, firewall: Firewall) -> list[str]:
    """The names of the rules that the inventory wants."""
    host_facts = facts_of(inventory, firewall)
    return [rule.name for rule in firewalls.rules(inventory, host_facts)]


def test_a_rule_is_wanted_where_packets_are_dropped_or_it_is_ours(tmp_path: Path) -> None:
    """A rule of the user that lets the packets in is left alone; `report` adds none."""
    inventory = inventory_of(tmp_path)
    closed, opened = Firewall(UFW, is_read=True), Firewall(UFW + OPEN, is_read=True)
    assert rules(inventory, closed) == [f"ufw {VXLAN}"]
    assert rules(inventory, opened) == []
    assert rules(inventory, replace(opened, claims=frozenset({CLAIM}))) == [f"ufw {VXLAN}"]
    assert rules(inventory_of(tmp_path, "report"), closed) == []
    # A switched-off ufw keeps its files, and our rule in them.
    assert rules(inventory, Firewall(is_read=True, claims=frozenset({CLAIM}))) == [f"ufw {VXLAN}"]


def test_rules_of_firewalld_are_of_the_zone_of_the_nic(tmp_path: Path) -> None:
    """While firewalld is off its zones are unknown, so that it keeps the rules it has."""
    inventory = inventory_of(tmp_path)
    need = Inbound("udp", (4789,), IPv4Network("10.78.0.0/24"), "eth1")
    zone = Zone(("eth1",), (), "default", (), (), ())
    on = Firewall(firewalld=Firewalld("public", {"work": zone}, frozenset()))
    rule = f"work {rich_rule(need, 4789)}"
    assert rules(inventory, on) == [f"firewalld {rule}"]
    off = Firewall(claims=frozenset({f"firewalld {rule}"}))
    assert rules(inventory, off) == [f"firewalld {rule}"]


@pytest.mark.parametrize(
    ("unit", "saved"),
    [
        ("", ""),
        ("firewalld.service", ""),
        ("nftables.service", ""),
        (
            "netfilter-persistent.service",
            ", and add that rule to /etc/iptables/rules.v4, which netfilter-persistent.service"
            " loads",
        ),
        (
            "iptables.service",
            ", and add that rule to /etc/sysconfig/iptables, which iptables.service loads",
        ),
    ],
)
def test_a_rule_of_iptables_comes_back_by_the_service_that_loads_the_others(
    tmp_path: Path, unit: str, saved: str
) -> None:
    """`plan` and `verify` name its file: without the rule in it, the next reboot closes again."""
    inventory = inventory_of(tmp_path)
    rules = Firewall(":INPUT DROP [0:0]\n", is_read=True, units=(unit,) * 2)
    host_facts = facts_of(inventory, rules)["h1"]
    command = "iptables -I INPUT -s 10.78.0.0/24 -p udp -m multiport --dports 4789 -j ACCEPT"
    network = inventory.networks["wide"]
    hints = [problem.hint for problem in firewalls.problems(inventory, network, host_facts)]
    assert hints == [f"run `{command}` on h1{saved}"]
    assert firewalls.cause(inventory, network, host_facts).endswith(f": `{command}`{saved}")


def test_a_rule_of_nftables_is_for_the_file_of_its_service(tmp_path: Path) -> None:
    """A chain that somebody has made by hand has no file."""
    inventory = inventory_of(tmp_path)
    network = inventory.networks["wide"]
    for unit, saved in (
        ("nftables.service", ", and add that rule to /etc/nftables.conf, which it loads"),
        ("netfilter-persistent.service", ""),
    ):
        walls = Firewall(nft_tables=(dropping_table(),), units=(unit,))
        host_facts = facts_of(inventory, walls)["h1"]
        saved = saved.replace("it loads", f"{unit} loads")
        rule = "inet filter input ip saddr 10.78.0.0/24 udp dport 4789 accept"
        hints = [problem.hint for problem in firewalls.problems(inventory, network, host_facts)]
        assert hints == [f"run `nft insert rule {rule}` on h1{saved}"]
        assert firewalls.cause(inventory, network, host_facts).endswith(f"{rule}`{saved}")


def test_only_docker_can_make_its_zone_of_firewalld(tmp_path: Path) -> None:
    """Without the zone `docker`, no source can be added to it."""
    inventory = _routed(tmp_path, "manage")
    public = Zone(("eth1",), (), "default", (), (), ())
    without = Firewall(firewalld=Firewalld("public", {"public": public}, frozenset()))
    assert rules(inventory, without) == []
    host_facts = facts_of(inventory, without)["h1"]
    network = inventory.networks["blue"]
    hints = [problem.hint for problem in firewalls.problems(inventory, network, host_facts)]
    assert hints == ["run `systemctl restart docker` on h1"]
    docker = Zone((), (), "ACCEPT", (), (), ())
    with_zone = Firewall(
        firewalld=Firewalld("public", {"public": public, "docker": docker}, frozenset())
    )
    assert rules(inventory, with_zone) == ["firewalld docker source 172.20.0.0/16"]
    assert not list(firewalls.problems(inventory, network, facts_of(inventory, with_zone)["h1"]))


def _found(text: str, inventory: str = "two") -> dict[str, Found]:
    found = FirewallRule.parse(text, Origin("h1", inventory))
    return {entry.resource.name: entry for entry in found}


def test_a_rule_that_a_person_deletes_is_a_difference() -> None:
    """The claim tells whose it was; without a claim it is the user's."""
    line = "ufw allow udp 4789 0.0.0.0/0 any 10.78.0.0/24 in"
    here = _found(f"claim two {CLAIM}\n{line} comment=70\n")[f"ufw {VXLAN}"]
    assert here.ours and here.resource == FirewallRule("h1", "ufw", "", VXLAN, "two")
    gone = _found(f"claim two {CLAIM}\n")[f"ufw {VXLAN}"]
    assert gone.ours and gone.resource != here.resource
    assert not _found(f"{line}\n")[f"ufw {VXLAN}"].ours
    assert f"ufw {VXLAN}" not in _found("ufw deny udp 4789 0.0.0.0/0 any 10.78.0.0/24 in\n")


def test_the_last_inventory_that_needs_a_rule_removes_it() -> None:
    """A claim of its own is all that another inventory adds and removes."""
    text = f"claim one {CLAIM}\nufw allow udp 4789 0.0.0.0/0 any 10.78.0.0/24 in comment=70\n"
    other = _found(text)[f"ufw {VXLAN}"]
    assert not other.ours
    wanted = FirewallRule("h1", "ufw", "", VXLAN, "two")
    assert wanted != other.resource
    assert len(wanted.update(other.resource)) == 1
    both = _found(f"claim two {CLAIM}\n{text}")[f"ufw {VXLAN}"].resource
    assert both == wanted and len(both.delete()) < len(wanted.delete())
    assert len(wanted.undo(other.resource, ours=False)) < len(wanted.undo(None, ours=False))


def test_a_rule_of_ufw_without_its_claim_is_known_by_its_comment() -> None:
    """`apply` only writes the claim, `destroy` removes the rule, and rollbacks leave no claim."""
    line = "ufw allow udp 4789 0.0.0.0/0 any 10.78.0.0/24 in comment="
    of_two, of_one = (f"{line}{f'provision:{name}'.encode().hex()}\n" for name in ("two", "one"))
    entry = _found(of_two)[f"ufw {VXLAN}"]
    lost, wanted = entry.resource, FirewallRule("h1", "ufw", "", VXLAN, "two")
    assert entry.ours and isinstance(lost, FirewallRule) and lost != wanted
    todo = plan(state([lost]), state([wanted]))
    (change,) = todo.changes
    claim = f"/etc/provision/two/firewall/{wanted._digest}"
    assert change.disruption == (
        f"rule ufw {VXLAN} is ours, damaged: its claim {claim} was deleted"
    )
    assert wanted.update(lost) == (Put(claim, f"{CLAIM}\n"),)
    assert wanted.undo(lost, ours=True) == remove_file(claim)
    (removal,) = operations(plan(state([lost]), {}), txn="0a")
    assert "close" in str(removal.steps) and lost.delete() == wanted.delete()
    assert [type(step) for step in lost.unstash("0a")] == [Run]
    # Another inventory has made it, or uses it by now.
    assert not _found(of_one)[f"ufw {VXLAN}"].ours
    assert not _found(f"claim one {CLAIM}\n{of_two}")[f"ufw {VXLAN}"].ours


@pytest.mark.parametrize(
    "rule",
    [
        "route:allow any any 172.20.0.0/16 any 10.78.0.0/24 in_eth1!out_br0",
        "deny udp 4789 0.0.0.0/0 any 10.78.0.0/24 in",
        "limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in",
        "allow tcp 22 0.0.0.0/0 any 10.78.0.0/24 in_eth1",
    ],
)
def test_a_rule_of_ufw_that_provision_never_writes_is_the_users(rule: str) -> None:
    """Whatever a person has written as its comment: `destroy` could not even name it to ufw."""
    comment = b"provision:two".hex()
    found = _found(f"ufw {rule} comment={comment}\n").values()
    assert [entry.ours for entry in found] == [False]


@pytest.mark.parametrize("comment", ["provision:two/blue", "provision:two for SSH", "provision:"])
def test_a_comment_of_a_person_is_no_mark(comment: str) -> None:
    """The mark of a rule is the inventory alone."""
    line = "ufw allow tcp 22 0.0.0.0/0 any 10.78.0.0/24 in comment="
    (entry,) = _found(f"{line}{comment.encode().hex()}\n").values()
    assert not entry.ours


def test_docker_is_restarted_only_with_consent() -> None:
    """Otherwise `apply` refuses before it arms a guard, and names the command."""
    change = _change(None, DockerFirewall("h1"))
    with pytest.raises(ConflictError, match="chain FORWARD does not jump to DOCKER-USER"):
        refusals.require_docker_rules([change])
    refusals.require_docker_rules([])


@pytest.mark.parametrize(
    ("policy", "was_drop", "repaired"),
    [("ACCEPT", True, ["forward_policy"]), ("ACCEPT", False, []), ("DROP", True, [])],
)
def test_accept_is_repaired_only_where_docker_had_drop(
    tmp_path: Path, policy: str, was_drop: bool, repaired: list[str]
) -> None:
    """A host whose FORWARD was ACCEPT all the time is as its user wants it."""
    table = DOCKER_USER.format(policy)
    firewall = Firewall(table, is_read=True, forward_was_drop=was_drop)
    inventory = _routed(tmp_path)
    assert [r.kind for r in _repairs(inventory, firewall)] == repaired
    # Docker leaves the policy where the host forwards before Docker starts (libnetwork#1526).
    assert not _repairs(inventory, replace(firewall, forwards_at_boot=True))
    flushed = Firewall(f":FORWARD {policy} [0:0]\n", is_read=True)
    assert [r.kind for r in _repairs(inventory, flushed)] == ["docker_firewall"]


PUBLISHING = ":DOCKER - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"


@pytest.mark.parametrize(
    ("firewall", "named"),
    [
        (Firewall(DOCKER_USER.format("DROP"), PUBLISHING), False),
        (Firewall(DOCKER_USER.format("DROP"), ":DOCKER - [0:0]\n"), True),
        (Firewall(DOCKER_USER.format("DROP"), ""), True),
        # Then the whole firewall was flushed, or Docker has another backend.
        (Firewall(":FORWARD DROP [0:0]\n", ""), False),
        (Firewall(DOCKER_USER.format("DROP"), "", docker_nftables=True), False),
    ],
)
def test_a_flush_of_the_table_nat_alone_is_named(
    tmp_path: Path, firewall: Firewall, *, named: bool
) -> None:
    """Our networks go on, but Docker publishes no port any more."""
    inventory = _routed(tmp_path)
    host_facts = facts_of(inventory, replace(firewall, is_read=True))["h1"]
    problems = list(firewalls.host_problems(host_facts))
    assert [problem.hint for problem in problems] == [
        "run `systemctl restart docker` on h1"
    ] * named
    for silent in (replace(host_facts, docker=()), replace(host_facts, default_bridge=False)):
        assert not list(firewalls.host_problems(silent))


def _routed(folder: Path, firewall: str = "report") -> Inventory:
    path = folder / "routed.yml"
    path.write_text(f"""name: routed
firewall: {firewall}
hosts:
  h1: {{address: 10.78.0.11}}
  h2: {{address: 10.78.0.12}}
networks:
  blue: {{method: routes, cidr: 172.20.0.0/16}}
containers:
  c1: {{host: h1, network: blue}}
""")
    return load(path)


def _repairs(inventory: Inventory, firewall: Firewall) -> list[Resource]:
    host_facts = facts_of(inventory, firewall)
    wanted = desired.wanted(inventory, host_facts)
    repairs = {DockerFirewall.kind, ForwardPolicy.kind}
    return [r for r in wanted.values() if r.host == "h1" and r.kind in repairs]


def test_drift_says_what_has_happened() -> None:
    """The cause instead of the name of a resource."""
    accept = _change(ForwardPolicy("h1", "ACCEPT"), ForwardPolicy("h1", "DROP"))
    assert describe(accept) == "the policy of FORWARD is ACCEPT, where Docker had DROP"
    flushed = _change(DockerFirewall("h1", intact=False), DockerFirewall("h1"))
    assert describe(flushed) == "the firewall was flushed: systemctl restart docker"
    rule = FirewallRule("h1", "ufw", "", VXLAN, "two")
    assert describe(_change(None, rule)) == f"firewall rule ufw {VXLAN} is missing"
    closed = replace(rule, runtime=False, saved=False)
    assert describe(_change(closed, rule)) == f"firewall rule ufw {VXLAN} is missing"
    unsaved = describe(_change(replace(rule, saved=False), rule))
    assert unsaved == f"firewall rule ufw {VXLAN} is gone after the next reload"


def _change(before: Resource | None, after: Resource) -> Change:
    return Change(after.ref, "update" if before else "create", before, after, None)


def test_a_rule_does_not_prolong_the_wait_for_a_rollback() -> None:
    """Only downloads take longer than a wave: a host that is cut off would wait for minutes."""
    assert {kind.kind for kind in all_kinds() if kind.takes_long} == {
        "package",
        "image",
        "image_archive",
    }
    assert FirewallRule.before_removals and not FirewallRule.takes_long
