"""A fleet in which two hosts have the legacy iptables, and one that of nf_tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provision.lab import power
from tests.lab import all_methods
from tests.lab.conftest import Boot
from tests.lab.hosts import Hosts

pytestmark = [pytest.mark.lab, pytest.mark.full]

BACKENDS = {"h1": "legacy\n", "h2": "nf_tables\n", "h3": "legacy\n"}


@pytest.fixture
def fleet(booted: Boot) -> Iterator[Hosts]:
    """Three hosts of trixie; nothing stays applied on them."""
    variants = {host: {"iptables": backend.strip()} for host, backend in BACKENDS.items()}
    hosts = booted("trixie", variants)
    yield hosts
    power.start(hosts.lab, say=print)
    hosts.destroy_all()


@pytest.mark.parametrize("group", all_methods.GROUPS)
def test_methods_on_both_backends(fleet: Hosts, group: str) -> None:
    """Verify passes, a second apply changes nothing, and destroy restores hosts and NICs."""
    assert fleet.everywhere("iptables -V | grep -o -e legacy -e nf_tables") == BACKENDS
    all_methods.cycle(fleet, group)
