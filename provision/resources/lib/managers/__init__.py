"""The network managers whose NICs provision can make ports of bridges, by name. Pure."""

from __future__ import annotations

from provision.resources.lib.managers.base import NicManager
from provision.resources.lib.managers.ifupdown import Ifupdown
from provision.resources.lib.managers.netplan import Netplan
from provision.resources.lib.managers.netplan_nm import NetplanNm
from provision.resources.lib.managers.network_manager import NetworkManager
from provision.resources.lib.managers.systemd_networkd import SystemdNetworkd

MANAGERS: dict[str, NicManager] = {
    manager.name: manager
    for manager in (SystemdNetworkd(), Ifupdown(), NetworkManager(), Netplan(), NetplanNm())
}
