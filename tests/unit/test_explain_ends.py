"""The ends of `provision explain`: by the names of the file, and by those that DNS has."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from provision.checks.explain import endpoints
from provision.checks.explain.case import Case
from provision.checks.explain.ends import end
from provision.checks.explain.model import Probe
from provision.checks.explain.scripts import Sent
from provision.inventory.load import load
from provision.model.errors import UsageError
from provision.model.inventory import Inventory

TEXT = """
name: demo
hosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}
networks:
  blue: {method: routes, cidr: 172.20.0.0/16, names: true}
  red: {method: routes, cidr: 172.21.0.0/16, names: true}
containers:
  web: {host: h1, network: blue, networks: [red], aliases: [www]}
  api-1: {host: h1, network: blue, aliases: [api]}
  api-2: {host: h2, network: red, aliases: [api]}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    """Two networks with names, a container on both, and two that share an alias."""
    (tmp_path / "i.yml").write_text(TEXT)
    return load(tmp_path / "i.yml")


@pytest.mark.parametrize(
    ("name", "member", "host"),
    [
        ("web", "web", "h1"),
        ("web.blue", "web", "h1"),
        ("web.red", "web.red", "h1"),
        ("www", "web", "h1"),
        ("www.red", "web.red", "h1"),
        ("api.red", "api-2", "h2"),
    ],
)
def test_an_end_by_a_name_of_dns(inventory: Inventory, name: str, member: str, host: str) -> None:
    """The name with its network, and an alias that one container has, are that container."""
    found = end(inventory, name, "TO")
    assert (found.name, found.host) == (member, host)
    assert found.container is inventory.members[member]


def test_an_alias_of_two_containers_is_refused(inventory: Inventory) -> None:
    """The error names the containers, of which the user chooses one."""
    with pytest.raises(UsageError, match="FROM api: 2 containers have this name") as error:
        end(inventory, "api", "FROM")
    assert error.value.hint == "Name one of them: api-1, api-2"
    with pytest.raises(UsageError, match="no container and no host of this name"):
        end(inventory, "api.green", "FROM")


@pytest.mark.parametrize("arrived", [True, False])
def test_a_refusal_of_a_firewall_is_no_missing_listener(
    inventory: Inventory, arrived: bool
) -> None:
    """Only where the probe came to the target does its refusal tell that nobody listens."""
    listening = Mock(listeners=())
    case = Mock(spec=Case, inventory=inventory, probe=Probe("udp", 9), inner_port=9)
    case.sent, case.arrived = Sent(refused=True), arrived
    case.of.return_value.space.return_value = listening
    assert [cause.kind for cause in endpoints.listener(case)] == ["no_listener"] * arrived
