"""The last line of docs/methods.md's table: what breaks each method, put between booted hosts."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from provision.lab import namespace, power
from tests.lab.hosts import HOSTS, Hosts
from tests.unit.test_methods_table import COLUMNS, table

pytestmark = [pytest.mark.lab, pytest.mark.full]

CAUSES = {
    "a firewall on protocol 47": "-A FORWARD -p IPv4 --ip-proto 47 -j DROP",
    "a firewall on UDP": "-A FORWARD -p IPv4 --ip-proto udp --ip-dport {port} -j DROP",
    "a cloud's source check": "-A FORWARD -p IPv4 --ip-src ! {data}.0/24 -j DROP",
    "a switch that allows one MAC a port": "",
}
"""What is between the hosts, as a rule of the bridge that joins them."""

WITHIN = {"an MTU set too high", "a router between hosts", "Wi-Fi"}
"""What preflight refuses, or what cannot be had here."""


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Hosts on which nothing of ours is afterwards, and nothing between them."""
    yield mixed
    filtered(mixed, "-F")
    power.start(mixed.lab, say=print)
    for column in COLUMNS:
        if mixed.ssh("h1", "ls /etc/provision", check=False):
            mixed.provision("destroy", inventory(mixed, column), "--yes", status=None)


def inventory(hosts: Hosts, column: str) -> str:
    """The inventory of a column of the table, in the lab's folder."""
    name, change = COLUMNS[column]
    return hosts.inventory(f"{name}.yml", change, to=f"{column.replace(' ', '-')}.yml")


def filtered(hosts: Hosts, *rules: str) -> None:
    """Have the bridge between the hosts filter by these words of ebtables."""
    for rule in rules:
        # By eth1's outer ends: another bridge there carries SSH.
        rule = rule.replace("-A FORWARD", "-A FORWARD -i e1-+")
        within = ("nsenter", f"--net={namespace.path(hosts.lab)}")
        subprocess.run((*within, "ebtables", *rule.split()), check=True)


def rules(hosts: Hosts, cause: str, port: str) -> list[str]:
    """What is put between the hosts."""
    if CAUSES[cause]:
        return [CAUSES[cause].format(port=port, data=hosts.networks[1])]
    macs = [hosts.ssh(host, "cat /sys/class/net/eth1/address").strip() for host in HOSTS]
    return [*(f"-A FORWARD -s {mac} -j ACCEPT" for mac in macs), "-A FORWARD -j DROP"]


@pytest.mark.parametrize("column", COLUMNS)
def test_what_breaks_a_method_is_found(clean: Hosts, column: str) -> None:
    """It worked, then it does not, and `verify` says so; it works again without the cause."""
    causes = set(table()["what breaks it"][column].split("; ")) - WITHIN
    assert causes and causes <= set(CAUSES)
    name, port = inventory(clean, column), table()["between the hosts"][column].split()[-1]
    clean.provision("apply", name)
    _works(clean, name)
    for cause in causes:
        filtered(clean, *rules(clean, cause, port))
        result = clean.json("verify", name, "-k", "ping", status=7)
        failed = [check for check in result["checks"] if not check["ok"]]
        assert failed and all(check["check"] == "ping" for check in failed), (cause, failed)
        filtered(clean, "-F")
    _works(clean, name)
    clean.provision("destroy", name, "--yes")


def _works(hosts: Hosts, name: str) -> None:
    """Every check passes, at the latest after a minute: bridges and daemons have to learn."""
    deadline = time.monotonic() + 60
    while not (result := hosts.json("verify", name, status=None)).get("ok"):
        failed = [check for check in result["checks"] if not check["ok"]]
        assert time.monotonic() < deadline, (failed, result.get("errors"))
        time.sleep(1)
