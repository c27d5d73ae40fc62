"""Kind `nft_table` against the kernel of this machine."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from provision.engine import guard, nft_tables
from provision.engine.plan import operations, plan
from provision.engine.undo import inverse
from provision.facts import gather
from provision.resources.base import state
from provision.resources.kinds.nft_table import OwnNftTable
from provision.transport.base import Output
from tests.netns.test_kinds import HOST, MARK, NAME, Namespace, namespace

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

_COMMENT = ("-m", "comment", "--comment", MARK.tag)
_STATES = ("-m", "conntrack", "!", "--ctstate", "RELATED,ESTABLISHED,DNAT")
RULES = (
    ("-s", "172.20.0.0/16", "-d", "172.20.1.0/24", "-i", "up0", *_COMMENT, "-j", "ACCEPT"),
    ("-d", "192.0.2.9/32", "-p", "tcp", "-m", "tcp", "--dport", "2379", *_COMMENT, "-j", "DROP"),
    ("-i", "up0", *_COMMENT, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"),
    ("-d", "172.20.1.0/24", "!", "-i", "up1", *_COMMENT, *_STATES, "-j", "DROP"),
)


def table(mark: str) -> OwnNftTable:
    """A table of the inventory for Docker's mark `mark`."""
    statement = nft_tables.mark_statement(mark)
    rules = tuple(nft_tables.rule(rule, statement) for rule in RULES)
    return OwnNftTable(HOST, "PROV-demo-blue-x", rules, MARK)


@pytest.mark.parametrize("mark", ["0x2000/0x2000", "1/3", "7"])
def test_a_table_is_parsed_as_equal_and_deleted_completely(namespace: Namespace, mark: str) -> None:
    """As nft prints it; a second create changes nothing, and another inventory does not own it."""
    target = table(mark)
    namespace.do(target.create())
    assert namespace.existing(OwnNftTable)[target.name] == (target, True)
    assert namespace.existing(OwnNftTable, "second")[target.name] == (target, False)
    namespace.do(target.create())
    assert namespace.existing(OwnNftTable)[target.name] == (target, True)
    namespace.do(target.delete())
    namespace.do(target.delete())
    assert namespace.sh("nft list tables inet") == ""


@pytest.mark.parametrize(
    "damage",
    [
        "nft flush chain inet PROV-demo-blue-x forward",
        "nft add rule inet PROV-demo-blue-x forward accept",
        "nft add chain inet PROV-demo-blue-x more '{ type filter hook forward priority 5; }'",
    ],
)
def test_a_damaged_table_is_restored(namespace: Namespace, damage: str) -> None:
    """apply restores all of it; the follower only a table that is gone."""
    target = table("1")
    namespace.do(target.create())
    namespace.sh(damage)
    damaged, ours = namespace.existing(OwnNftTable)[target.name]
    assert ours and damaged != target
    namespace.do(target.restore())
    assert namespace.existing(OwnNftTable)[target.name] == (damaged, True)
    namespace.do(target.update(damaged))
    assert namespace.existing(OwnNftTable)[target.name] == (target, True)
    namespace.sh("nft delete table inet PROV-demo-blue-x")
    namespace.do(target.restore())
    assert namespace.existing(OwnNftTable)[target.name] == (target, True)


@pytest.mark.parametrize(
    "damage",
    [
        "add chain inet PROV-demo-blue-x more { type filter hook forward priority 5; }",
        "add rule inet PROV-demo-blue-x forward ip saddr { 192.0.2.1, 192.0.2.7 } drop",
        "add set inet PROV-demo-blue-x s { type ipv4_addr; elements = { 192.0.2.1 }; }",
        "delete chain inet PROV-demo-blue-x forward; add chain inet PROV-demo-blue-x forward "
        '{ type filter hook forward priority 5; comment "mine"; }',
        "add table inet PROV-demo-blue-x { flags dormant; }",
        "delete chain inet PROV-demo-blue-x forward",
    ],
)
def test_an_undo_gives_back_a_table_that_somebody_has_changed(
    namespace: Namespace, damage: str
) -> None:
    """With what a table of ours never has, such as a set; two tables keep their order."""
    targets = table("1"), replace(table("1"), table="PROV-demo-green-x")
    namespace.do(*(target.create() for target in targets))
    namespace.sh(f"nft {shlex.quote(damage)}")
    fingerprint = namespace.sh(guard.fingerprint())
    current = [resource for resource, ours in namespace.existing(OwnNftTable).values() if ours]
    after = [replace(target, rules=target.rules[1:]) for target in targets]
    todo = operations(plan(state(current), state(after)), txn="0a")
    assert len(todo) == 2
    namespace.do(*(operation.steps for operation in todo))
    assert namespace.sh(guard.fingerprint()) != fingerprint
    for operation in reversed(todo):
        namespace.do(inverse(operation, txn="0a"))
    assert namespace.sh(guard.fingerprint()) == fingerprint


def test_a_table_tells_the_backend_of_a_docker_that_is_stopped(namespace: Namespace) -> None:
    """`verify` must not call the table superfluous, and a chain of iptables missing, meanwhile."""
    stop = "mount -t tmpfs none /run; mkdir /run/systemd; "  # without a socket of Docker
    snapshots = []
    for steps in ((), table("1").create()):
        namespace.do(steps)
        text = namespace.sh(stop + gather.script(NAME, (), nonce="n0"))
        snapshots.append(gather.parse(HOST, NAME, Output(0, text, ""), nonce="n0"))
    assert [each.facts.docker for each in snapshots] == [(), ()]
    assert [each.facts.nftables_backend for each in snapshots] == [False, True]


def test_tables_that_cannot_be_read_are_no_absent_tables(namespace: Namespace) -> None:
    """A plan would create all of them again."""
    namespace.do(table("1").create())
    probe = f"need() {{ :; }}\n{OwnNftTable.probe}"
    assert "PROV-demo-blue-x" in namespace.sh(probe)
    unprivileged = f"setpriv --reuid=65534 --clear-groups sh -c {shlex.quote(probe)}"
    namespace.sh(f"if {unprivileged}; then exit 1; fi")
