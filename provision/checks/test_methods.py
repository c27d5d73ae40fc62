"""Checks that methods bring. `define` makes a test function of each, which pytest then collects."""

from __future__ import annotations

from collections.abc import Callable

from provision import methods
from provision.checks.causes import firewall_cause_on
from provision.checks.gather import Evidence
from provision.checks.require import require_finished, require_reached
from provision.checks.subjects import NetworkMember
from provision.methods import HostCheck
from provision.model.inventory import Inventory


def define(inventory: Inventory) -> None:
    """Define the checks of the inventory's methods in this module, instead of earlier ones."""
    functions = globals()
    for name in [name for name in functions if name.startswith("test_")]:
        del functions[name]
    for network in inventory.networks.values():
        for check in methods.checks_of(network):
            functions.setdefault(f"test_{check.name}", _function(check))


def _function(check: HostCheck) -> Callable[[Evidence, NetworkMember], None]:
    def function(evidence: Evidence, network_member: NetworkMember) -> None:
        host, network = network_member
        status = None
        if methods.status_script(evidence.inventory, host):
            require_finished(evidence, host)
            status = evidence.statuses[host].get(network.method)
        require_reached(evidence, host)
        error = check.error(evidence.inventory, network, evidence.facts[host], status)
        assert not error, error + firewall_cause_on(evidence, network, host, *network.hosts)

    return function


def selects(function_name: str, member: NetworkMember) -> bool:
    """True if the check of this function is one of the member's method."""
    return any(f"test_{check.name}" == function_name for check in methods.checks_of(member[1]))
