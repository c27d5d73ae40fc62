"""A lease that changed, and moves between a NIC and its bridge on a real kernel."""

from __future__ import annotations

import pytest

from provision.resources.render import program_text
from tests.netns.test_kinds import Namespace, namespace

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

# Arguments of host/nic_to_bridge.sh: the record has the lease 10.0.0.1 and the address 10.0.1.1.
_ARGUMENTS = """
set -- ping bri0 up1 bri0 - 0a:00:00:00:00:01 - 1500 0 0 '' '10.0.0.1/24
10.0.1.1/24' '' - words 10.0.0.1/24
"""
_ENDS = "valid_lft 300 preferred_lft 300"
_PRINT = '\nfrom_dhcp up1; printf "%s\\n" "$addresses"; echo "awaited $leased"'
_NEW = "10.0.0.9/24 metric 1024 brd 10.0.0.255 scope global"


def moved(namespace: Namespace, link: str) -> list[str]:
    """The addresses that would move from up1 after the commands `link`, and the awaited ones."""
    text = namespace.sh(_ARGUMENTS + link + "\n" + program_text("host/nic_to_bridge.sh") + _PRINT)
    return [line.strip() for line in text.splitlines()]


def added(address: str, device: str = "up1", lifetime: str = _ENDS) -> str:
    """The command of a DHCP client."""
    return f"ip address add {address} dev {device} {lifetime}"


def test_the_lease_moves_as_it_is_now(namespace: Namespace) -> None:
    """The server has given another address than that of the record."""
    new = added("10.0.0.9/24 metric 1024 brd 10.0.0.255")
    assert moved(namespace, new) == ["10.0.1.1/24", _NEW, "awaited 10.0.0.9/24"]


def test_the_lease_of_the_record_moves_once(namespace: Namespace) -> None:
    """With the options of the record."""
    lines = moved(namespace, added("10.0.0.1/24"))
    assert lines == ["10.0.0.1/24", "10.0.1.1/24", "awaited 10.0.0.1/24"]


def test_a_lease_that_the_bridge_has_stays_there(namespace: Namespace) -> None:
    """Setting its address again would remove its end."""
    bridge = "ip link add bri0 type bridge; ip link set dev bri0 up\n"
    lines = moved(namespace, bridge + added("10.0.0.9/24", "bri0"))
    assert lines == ["10.0.1.1/24", "awaited 10.0.0.9/24"]


def test_a_kept_address_moves_until_the_server_answers(namespace: Namespace) -> None:
    """It has no end, and is that of the record."""
    lines = moved(namespace, added("10.0.0.1/24", lifetime=""))
    assert lines == ["10.0.0.1/24", "10.0.1.1/24", "awaited 10.0.0.1/24"]
