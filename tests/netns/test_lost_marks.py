"""What has lost its mark is ours still where only provision gives its name, and its state fits."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from provision.engine.plan import operations, plan
from provision.engine.undo import inverse
from provision.facts import gather
from provision.model.names import chain_name, interface_name
from provision.resources.base import Origin, Resource, state
from provision.resources.kinds.firewall_rule import FirewallRule
from provision.resources.kinds.routes import Routes
from provision.resources.lib.route_claims import FOREIGN
from provision.resources.script import PRELUDE
from provision.transport.base import Output
from tests.netns.test_kinds import (
    CAPTURE,
    HOST,
    MARK,
    NAME,
    Namespace,
    chain,
    namespace,
    routes,
    vxlan,
)

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

NETWORKS = (("blue", IPv4Network("172.20.0.0/16")),)


def existing(namespace: Namespace, kind: type[Resource]) -> dict[str, tuple[Resource, bool]]:
    """The resources of a kind by name, as an inventory with the network `blue` sees them."""
    text = namespace.sh(gather.script(NAME, (), nonce="n0"))
    text = gather.sections(HOST, Output(0, text, ""), nonce="n0")[kind.kind]
    entries = kind.parse(text.strip(), Origin(HOST, NAME, NETWORKS))
    return {entry.resource.name: (entry.resource, entry.ours) for entry in entries}


def _chain() -> Resource:
    named = chain("172.20.0.0/16")
    return type(named)(HOST, "filter", chain_name(NAME, "blue"), named.hook, named.rules, MARK)


def _vxlan() -> Resource:
    named = vxlan()
    device = interface_name("vx-", NAME, "blue")
    return type(named)(
        HOST, device, named.vni, named.port, named.local, named.mac, named.mtu, named.learning,
        "", named.address, (), MARK,
    )  # fmt: skip


LOSSES = {
    "iptables -F": (
        _chain(),
        "iptables -F; iptables -A FORWARD -j DOCKER-USER; iptables -A DOCKER-USER -j RETURN",
    ),
    "no claim": (routes(), "rm -rf /etc/provision"),
    "no alias": (_vxlan(), f"ip link set {interface_name('vx-', NAME, 'blue')} alias ''"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_resource_without_its_mark_is_healed_and_destroyed(
    namespace: Namespace, loss: str
) -> None:
    """`plan` says that it is ours and damaged; a rollback leaves it damaged again."""
    resource, damage = LOSSES[loss]
    before = namespace.sh(CAPTURE)
    namespace.do(resource.create())
    healthy = namespace.sh(CAPTURE)
    namespace.sh(damage)
    damaged, ours = existing(namespace, type(resource))[resource.name]
    assert ours
    lost = namespace.sh(CAPTURE)
    todo = plan(state([damaged]), state([resource]))
    (change,) = todo.changes
    assert change.verb == "update" and "is ours, damaged" in str(change.disruption)
    (heal,) = operations(todo, txn="0a")
    namespace.do(heal.steps)
    assert namespace.sh(CAPTURE) == healthy
    namespace.do(inverse(heal, txn="0a"))
    assert namespace.sh(CAPTURE) == lost
    damaged, ours = existing(namespace, type(resource))[resource.name]
    (destroy,) = operations(plan(state([damaged]), {}))
    namespace.do(destroy.steps)
    assert namespace.sh(CAPTURE) == before


def test_a_rule_of_ufw_without_its_claim_stays_wanted(namespace: Namespace) -> None:
    """A packet that it lets in would not tell: the rule itself has to stay."""
    comment = MARK.tag.partition("/")[0].encode().hex()
    rule = "### tuple ### allow udp 4789 0.0.0.0/0 any 192.0.2.0/24 in"
    namespace.sh(f"mkdir -p /etc/ufw; echo '{rule} comment={comment}' >/etc/ufw/user.rules")
    text = namespace.sh(gather.script(NAME, (), nonce="n0"))
    snapshot = gather.parse(HOST, NAME, Output(0, text, ""), nonce="n0")
    (found,) = (r for r in snapshot.ours.values() if isinstance(r, FirewallRule))
    assert snapshot.facts.firewall.claims == {found.claim} and not found.claimed


@pytest.mark.parametrize(
    ("strange", "kind", "name"),
    [
        (
            f"iptables -N {chain_name(NAME, 'blue')}; iptables -A {chain_name(NAME, 'blue')} "
            "-s 10.0.0.0/8 -j DROP",
            type(chain()),
            f"filter/{chain_name(NAME, 'blue')}",
        ),
        ("iptables -N PROV-demo-blue-abcdef", type(chain()), "filter/PROV-demo-blue-abcdef"),
    ],
)
def test_what_does_not_fit_is_of_others(
    namespace: Namespace, strange: str, kind: type[Resource], name: str
) -> None:
    """A chain with rules of others, and one with another hash."""
    namespace.transport.run(HOST, PRELUDE + strange, timeout_s=30)
    _, ours = existing(namespace, kind)[name]
    assert not ours


@pytest.mark.parametrize(
    "strange",
    [
        "ip route add 172.20.2.0/24 via 192.0.2.8",
        "ip route add 172.30.2.0/24 via 192.0.2.8 proto 240",
        "ip route add 172.20.2.0/24 via 192.0.2.8 proto 240; mkdir -p /etc/provision/b/routes;"
        ": >/etc/provision/b/routes/172.20.2.0_24",
        "ip route add 172.20.2.0/24 via 192.0.2.8 proto 240; mkdir -p /etc/provision/b/routes;"
        "echo 172.20.2.0/24 via 192.0.2.8 dev up0 >/etc/provision/b/routes/blue",
    ],
)
def test_routes_that_do_not_fit_are_of_others(namespace: Namespace, strange: str) -> None:
    """Another protocol, another range, and claims of another inventory in both forms."""
    namespace.sh(strange)
    tables = existing(namespace, Routes)
    assert list(tables) == [FOREIGN]
    others, ours = tables[FOREIGN]
    assert isinstance(others, Routes) and not ours
    assert any(row.via == IPv4Address("192.0.2.8") for row in others.rows)
