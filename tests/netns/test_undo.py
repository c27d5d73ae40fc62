"""The undo that is rendered before a change, by real kinds against this machine's kernel."""

from __future__ import annotations

import pytest

from provision.engine.plan import Operation, operations, plan
from provision.engine.undo import inverse
from provision.engine.undo_order import order
from provision.resources.base import State, state
from provision.resources.kinds.file import File
from provision.resources.kinds.iptables_chain import IptablesChain
from provision.resources.kinds.route import Route
from provision.resources.kinds.sysctl import Sysctl
from provision.resources.steps import Steps
from tests.netns.test_kinds import CAPTURE, HOST, NAME, Namespace, chain, namespace, route

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

FORWARD = "net.ipv4.ip_forward"


def things(*, more: bool) -> State:
    """What an inventory wants, and what it wants after somebody has edited it."""
    sources = ("172.20.0.0/16", "172.22.0.0/16") if more else ("172.20.0.0/16", "172.21.0.0/16")
    via = "192.0.2.8" if more else "192.0.2.9"
    extra = (route("172.20.9.0/24"),) if more else (route("172.20.7.0/24"),)
    text = "new\n" if more else "old\n"
    kept = (chain(*sources), route(via=via), File(HOST, "/etc/provision/demo/a", text, "0755"))
    return state([*kept, *extra, Sysctl(HOST, FORWARD, "1", NAME)])


def seen(namespace: Namespace) -> tuple[State, State]:
    """What is found, ours and others'."""
    found = [
        one
        for kind in (IptablesChain, File, Route, Sysctl)
        for one in namespace.found(kind).values()
    ]
    ours = state(thing for thing, mine in found if mine)
    return ours, state(thing for thing, mine in found if not mine)


def difference(namespace: Namespace, wanted: State) -> tuple[Operation, ...]:
    ours, foreign = seen(namespace)
    return operations(plan(ours, wanted, foreign=foreign), txn="0a")


def undo(todo: tuple[Operation, ...], begun: int) -> list[Steps]:
    return [inverse(todo[n], txn="0a") for n in order(todo) if n < begun]


def capture(namespace: Namespace) -> list[str]:
    """How the namespace is, in no order: folders list what is written anew last."""
    return sorted(namespace.sh(CAPTURE).splitlines())


WAYS = {
    "first apply": ({}, things(more=False)),
    "another inventory": (things(more=False), things(more=True)),
    "destroy": (things(more=False), {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_any_prefix_is_undone(namespace: Namespace, way: str) -> None:
    """The first k operations, and any part of the next one, then the undo, twice."""
    start, goal = WAYS[way]
    namespace.sh("sysctl -qw net.ipv4.ip_forward=0")
    namespace.do(*(operation.steps for operation in difference(namespace, start)))
    before, todo = capture(namespace), difference(namespace, goal)
    assert todo
    for done in range(len(todo) + 1):
        last = todo[done].steps if done < len(todo) else ()
        for part in range(len(last) + 1):
            namespace.do(*(operation.steps for operation in todo[:done]), last[:part])
            for _ in range(2):
                namespace.do(*undo(todo, done + 1))
            assert capture(namespace) == before, (way, done, part)
