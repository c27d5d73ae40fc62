"""Each cause in the row "what breaks it" of docs/methods.md, between booted hosts."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from provision.lab import namespace, power
from tests.lab.hosts import HOSTS, Hosts
from tests.unit.test_methods_table import COLUMNS, table

pytestmark = [pytest.mark.lab, pytest.mark.full]

HOLD_S = 15
"""Seconds after which a session of BGP without a packet has ended: 9, and some for a busy host."""
CAUSES = {
    "a firewall on protocol 47": "-A FORWARD -p IPv4 --ip-proto 47 -j DROP",
    "a firewall on UDP": "-A FORWARD -p IPv4 --ip-proto udp --ip-dport {port} -j DROP",
    "a firewall on UDP or on TCP 179": "-A FORWARD -p IPv4 --ip-proto udp --ip-dport 4789 -j DROP",
    "a firewall on TCP 179": "-A FORWARD -p IPv4 --ip-proto tcp --ip-dport 179 -j DROP",
    "a cloud's source check": "-A FORWARD -p IPv4 --ip-src ! {data}.0/24 -j DROP",
    "a switch that allows one MAC a port": "",
}
"""By cause, a rule of ebtables for the bridge that connects the hosts."""

NOT_HERE = {
    "an MTU set too high",
    "a router between hosts",
    "a router between hosts that does not learn the subnets",
    "Wi-Fi",
}
"""Causes that preflight refuses, or that this lab cannot reproduce."""


CHECKS = {"a firewall on TCP 179": "sessions"}
"""By cause, the check that fails, if it is not `ping`: the hosts keep the routes for an hour."""
SKIPS = {"macvlan": ("wire", "broadcast")}
"""By column, the checks that are skipped because h1 has two containers."""


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts; afterwards no rule is between them, and the inventories are destroyed."""
    yield mixed
    ebtables(mixed, "-F")
    power.start(mixed.lab, say=print)
    for column in COLUMNS:
        # Method macvlan has no file of ours, only the record of its last change.
        if mixed.ssh("h1", "ls -d /etc/provision /var/lib/provision", check=False):
            mixed.provision("destroy", inventory(mixed, column), "--yes", status=None)


def inventory(hosts: Hosts, column: str) -> str:
    """Write the inventory of a column of the table into the lab's folder; its file name."""
    name, change = COLUMNS[column]
    return hosts.inventory(f"{name}.yml", change, to=f"{column.replace(' ', '-')}.yml")


def ebtables(hosts: Hosts, *rules: str) -> None:
    """Run ebtables for the bridge between the hosts, once with each of these arguments."""
    for rule in rules:
        # Only ports of eth1: the other bridge in this namespace carries SSH.
        rule = rule.replace("-A FORWARD", "-A FORWARD -i e1-+")
        prefix = ("nsenter", f"--net={namespace.path(hosts.lab)}")
        subprocess.run((*prefix, "ebtables", *rule.split()), check=True)


def rules(hosts: Hosts, cause: str, port: str) -> list[str]:
    """The rules of ebtables that a cause consists of; `port` is the method's UDP port."""
    if CAUSES[cause]:
        return [CAUSES[cause].format(port=port, data=hosts.networks[1])]
    macs = [hosts.ssh(host, "cat /sys/class/net/eth1/address").strip() for host in HOSTS]
    return [*(f"-A FORWARD -s {mac} -j ACCEPT" for mac in macs), "-A FORWARD -j DROP"]


@pytest.mark.parametrize("column", COLUMNS)
def test_verify_reports_each_cause_that_breaks_a_method(clean: Hosts, column: str) -> None:
    """Verify passes before the cause, fails with it, and passes again without it."""
    causes = set(table()["what breaks it"][column].split("; ")) - NOT_HERE
    assert causes and causes <= set(CAUSES)
    name, port = inventory(clean, column), table()["between the hosts"][column].split()[-1]
    clean.provision("apply", name)
    clean.verified(name, skips=SKIPS.get(column, ()))
    for cause in causes:
        ebtables(clean, *rules(clean, cause, port))
        expected = CHECKS.get(cause, "ping")
        if expected == "sessions":
            time.sleep(HOLD_S)
        result = clean.json("verify", name, "-k", expected, status=7)
        failed = [check for check in result["checks"] if not check["ok"]]
        assert failed and all(check["check"] == expected for check in failed), (cause, failed)
        ebtables(clean, "-F")
    clean.verified(name, skips=SKIPS.get(column, ()))
    clean.provision("destroy", name, "--yes")
