"""The undo that is rendered before a change, with real kinds on this machine's kernel."""

from __future__ import annotations

import pytest

from provision.engine.plan import Operation, operations, plan
from provision.engine.undo import inverse
from provision.engine.undo_order import order
from provision.resources.base import State, state
from provision.resources.kinds.file import File
from provision.resources.kinds.iptables_chain import IptablesChain
from provision.resources.kinds.routes import Routes, row
from provision.resources.kinds.sysctl import Sysctl
from provision.resources.steps import Steps
from tests.netns.test_kinds import CAPTURE, HOST, NAME, Namespace, chain, namespace

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

FORWARD = "net.ipv4.ip_forward"


def desired(*, edited: bool) -> State:
    """The resources of an inventory, before and after a user has edited it."""
    sources = ("172.20.0.0/16", "172.22.0.0/16") if edited else ("172.20.0.0/16", "172.21.0.0/16")
    via = "192.0.2.8" if edited else "192.0.2.9"
    extra = "172.20.9.0/24" if edited else "172.20.7.0/24"
    rows = [row("172.20.2.0/24", via, "up0"), row(extra, "192.0.2.9", "up0")]
    rows += [row("172.20.5.0/24", "192.0.2.9", "up0")]
    table = Routes.of(HOST, "blue", NAME, rows)
    text = "new\n" if edited else "old\n"
    common = (chain(*sources), table, File(HOST, "/etc/provision/demo/a", text, "0755"))
    return state([*common, Sysctl(HOST, FORWARD, "1", NAME)])


def existing(namespace: Namespace) -> tuple[State, State]:
    """The existing resources: ours, and foreign ones."""
    entries = [
        entry
        for kind in (IptablesChain, File, Routes, Sysctl)
        for entry in namespace.existing(kind).values()
    ]
    ours = state(resource for resource, is_ours in entries if is_ours)
    return ours, state(resource for resource, is_ours in entries if not is_ours)


def difference(namespace: Namespace, target: State) -> tuple[Operation, ...]:
    """The operations that lead to the target."""
    ours, foreign = existing(namespace)
    return operations(plan(ours, target, foreign=foreign), txn="0a")


def undo(todo: tuple[Operation, ...], begun: int) -> list[Steps]:
    """The undo of the first `begun` operations, in its order."""
    return [inverse(todo[n], txn="0a") for n in order(todo) if n < begun]


def capture(namespace: Namespace) -> list[str]:
    """The state of the namespace, sorted, because a folder lists a rewritten file last."""
    return sorted(namespace.sh(CAPTURE).splitlines())


CHANGES = {
    "first apply": ({}, desired(edited=False)),
    "edited inventory": (desired(edited=False), desired(edited=True)),
    "destroy": (desired(edited=False), {}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_interrupted_change_is_undone_completely(namespace: Namespace, change: str) -> None:
    """After any number of operations and steps, the undo restores the state, also twice."""
    start, target = CHANGES[change]
    namespace.sh("sysctl -qw net.ipv4.ip_forward=0")
    namespace.do(*(operation.steps for operation in difference(namespace, start)))
    before, todo = capture(namespace), difference(namespace, target)
    assert todo
    for done in range(len(todo) + 1):
        last = todo[done].steps if done < len(todo) else ()
        for part in range(len(last) + 1):
            namespace.do(*(operation.steps for operation in todo[:done]), last[:part])
            for _ in range(2):
                namespace.do(*undo(todo, done + 1))
            assert capture(namespace) == before, (change, done, part)


def test_a_jump_that_was_moved_goes_back_to_its_position(namespace: Namespace) -> None:
    """The undo gives the jump its position back, or the end of a chain that is shorter now."""
    wanted, rules = desired(edited=False), "iptables -S DOCKER-USER"
    namespace.do(*(operation.steps for operation in difference(namespace, wanted)))
    namespace.sh("iptables -I DOCKER-USER -j DROP; iptables -I DOCKER-USER -i docker0 -j ACCEPT")
    before, todo = namespace.sh(rules), difference(namespace, wanted)
    assert [operation.change.ref.name for operation in todo] == ["filter/PROV-demo-blue-x"]
    for part in range(len(todo[0].steps) + 1):
        namespace.do(todo[0].steps[:part])
        for _ in range(2):
            namespace.do(*undo(todo, 1))
        assert namespace.sh(rules) == before, part
    namespace.do(todo[0].steps)
    assert [line.split()[-1] for line in namespace.sh(rules).splitlines()[1:]] == [
        *("PROV-demo-blue-x", "ACCEPT", "DROP"),
        *(line.split()[-1] for line in before.splitlines()[4:]),
    ]
    assert not difference(namespace, wanted)
    namespace.sh("iptables -D DOCKER-USER -j DROP; iptables -D DOCKER-USER -i docker0 -j ACCEPT")
    namespace.do(*undo(todo, 1))
    assert namespace.sh(rules).count("-j PROV-demo-blue-x") == 1
