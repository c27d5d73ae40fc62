"""Packets of Docker's network leave a container by its gateway, whatever interfaces it has."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from provision.engine import desired
from provision.facts.host import Link
from provision.inventory.load import load
from provision.resources.base import Ref
from provision.resources.kinds.attachment import Attachment
from tests.cases.test_cases import facts

HEAD = """name: demo
hosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}
networks:
  blue: {method: routes, cidr: 172.20.0.0/16}
  lan: {method: pipework, cidr: 10.78.0.0/24, pool: 10.78.0.224/28}
containers:
  web: {host: h1, """
INTERFACES = "interfaces: [{macvlan: eth1, address: 10.78.0.5/24}, {macvlan: eth1}]"
RULE = "rules: [{to: 10.9.0.0/16, table: 100, priority: %d}]"


def attachment(folder: Path, container: str, number: int = 1, docker0: str = "") -> Attachment:
    """The attachment `eth<number>` of a container; `docker0`: the address of Docker's bridge."""
    path = folder / "i.yml"
    path.write_text(f"{HEAD}{container}}}\n")
    inventory = load(path)
    versions = dict.fromkeys(("h1", "h2"), "26.1.5")
    host = facts(inventory, {"docker": versions})["h1"]
    if docker0:
        link = Link("docker0", 1500, (IPv4Interface(docker0),))
        host = replace(host, links={**host.links, "docker0": link})
    resource = desired.wanted(inventory, {"h1": host})[Ref("h1", "attachment", f"web/eth{number}")]
    assert isinstance(resource, Attachment)
    return resource


@pytest.mark.parametrize(
    ("container", "source", "subnet", "gateway"),
    [
        ("network: blue, ", "172.20.0.0/24", "172.20.0.0/24", "172.20.0.1"),
        ("network: blue, address: 172.20.0.9, ", "172.20.0.9/32", "172.20.0.0/24", "172.20.0.1"),
        ("network: bridge, ", "172.17.0.0/16", "172.17.0.0/16", "172.17.0.1"),
        # Docker's part of the LAN: an interface has an address of the LAN, too.
        ("network: lan, ", "10.78.0.224/29", "10.78.0.0/24", "10.78.0.11"),
    ],
)
def test_packets_from_dockers_address_use_dockers_gateway(
    tmp_path: Path, container: str, source: str, subnet: str, gateway: str
) -> None:
    """The subnet itself is on the link, and the first attachment alone has the routes."""
    text = f'{container}ports: ["8080:80"], {INTERFACES}'
    first = attachment(tmp_path, text, docker0="172.17.0.1/16")
    assert first.rules == (f"from {source} table 2400 priority 1",)
    assert first.answer_routes == (f"{subnet} table 2400", f"default via {gateway} table 2400")
    lines = str(first.create())
    assert f"route replace {subnet} table 2400 dev eth0 proto 240" in lines
    assert f"route replace default via {gateway} table 2400 dev eth0 proto 240" in lines
    second = attachment(tmp_path, text, 2, docker0="172.17.0.1/16")
    assert (second.rules, second.answer_routes) == ((), ())


@pytest.mark.parametrize(("taken", "free"), [(1, 2), (2, 1), (1000, 1)])
def test_the_rule_comes_first_where_it_can(tmp_path: Path, taken: int, free: int) -> None:
    """The user's own rules keep their priorities."""
    interfaces = INTERFACES.replace("5/24", f"5/24, {RULE % taken}")
    rules = attachment(tmp_path, f'network: blue, ports: ["8080:80"], {interfaces}').rules
    assert f"from 172.20.0.0/24 table 2400 priority {free}" in rules and len(rules) == 2


@pytest.mark.parametrize(
    "container",
    [
        "network: blue, ",
        # Docker is not installed yet, so its bridge has no address.
        'network: bridge, ports: ["8080:80"], ',
    ],
)
def test_no_other_attachment_has_routes_for_answers(tmp_path: Path, container: str) -> None:
    """Hosts that an older version applied stay as they are."""
    first = attachment(tmp_path, container + INTERFACES)
    assert (first.rules, first.answer_routes) == ((), ())


GATEWAY = "interfaces: [{macvlan: eth1, address: 10.78.0.5/24, gateway: 10.78.0.254%s}]"
TO_OTHER_HOSTS = "to 172.20.0.0/16 table 2400 priority %d"


@pytest.mark.parametrize(
    ("keys", "priority"),
    [("", 1), (f", {RULE % 7}", 8), (f", {RULE % 32765}", 32764)],
)
def test_a_gateway_on_the_lan_does_not_take_packets_to_other_hosts(
    tmp_path: Path, keys: str, priority: int
) -> None:
    """The rule for them comes after the user's own; with a published port, there are two."""
    first = attachment(tmp_path, f"network: blue, {GATEWAY % keys}")
    assert TO_OTHER_HOSTS % priority in first.rules
    assert first.answer_routes == ("172.20.0.0/24 table 2400", "default via 172.20.0.1 table 2400")
    published = attachment(tmp_path, f'network: blue, ports: ["8080:80"], {GATEWAY % keys}')
    assert "from 172.20.0.0/24 table 2400 priority 1" in published.rules
    assert len(published.rules) == 2 + bool(keys)


@pytest.mark.parametrize(
    "container",
    [
        f"network: lan, {GATEWAY % ''}",
        f"network: none, {GATEWAY % ''}",
        f"network: blue, {GATEWAY % ', routes: [{to: 172.20.1.0/24, via: 10.78.0.253}]'}",
        "network: blue, interfaces: [{macvlan: eth1, address: 'fd00::5/64', gateway6: 'fd00::1'}]",
    ],
)
def test_other_containers_need_no_rule_for_other_hosts(tmp_path: Path, container: str) -> None:
    """All hosts are on the link, or the file itself has a route, or the gateway is of IPv6."""
    assert attachment(tmp_path, container).rules == ()
