"""What tests of changes on hosts with a kernel of their own share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provision.lab import power
from tests.lab.conftest import Boot
from tests.lab.faults import Faults
from tests.lab.hosts import Hosts

SLOW = ("--confirm-window", "400", "--timeout", "2000")
"""A login and a script take several times as long as on a host that shares the kernel."""


MODULE_DEVICES = ("gre0", "gretap0", "erspan0")
"""What the module of GRE makes: an earlier test may have loaded it, and a boot unloads it."""


@pytest.fixture
def faults(booted: Boot) -> Iterator[Faults]:
    """Two hosts of trixie, each with a kernel of its own; nothing stays applied on them."""
    hosts = booted("trixie", kernel="uml", count=2)
    faults = Faults(hosts, hosts.capture(), MODULE_DEVICES)
    yield faults
    power.start(hosts.lab, say=print)
    for verb in (("recover",), ("destroy", "--yes")):
        hosts.provision(*verb, hosts.inventory("routes.yml"), *SLOW, status=None)


def clear(hosts: Hosts) -> None:
    """Start the hosts that are off, and destroy what the inventories of the folder have made."""
    power.start(hosts.lab, say=print)
    for path in hosts.lab.folder.glob("*.yml"):
        hosts.provision("recover", path.name, *SLOW, status=None)
        hosts.provision("destroy", path.name, "--yes", *SLOW, status=None)
        path.unlink()


def without_module_devices(captures: dict[str, str]) -> dict[str, str]:
    """Captures without the devices that the module of GRE makes; they stay until a reboot."""
    return {
        host: "\n".join(line for line in text.splitlines() if line not in MODULE_DEVICES)
        for host, text in captures.items()
    }
