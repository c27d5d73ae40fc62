"""All methods on kernels of their own: Linux 6.1 with legacy iptables, and Docker 20.10."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import all_methods
from tests.lab.conftest import Boot
from tests.lab.hosts import Hosts
from tests.lab.own_kernels import SLOW, clear

pytestmark = [pytest.mark.lab, pytest.mark.kernel, pytest.mark.full, pytest.mark.timeout(3600)]


@pytest.fixture
def bookworm(booted: Boot) -> Iterator[Hosts]:
    """Two hosts of bookworm, each with a kernel of its own; nothing stays applied on them."""
    hosts = booted("bookworm", kernel="uml", count=2)
    yield hosts
    clear(hosts)


@pytest.mark.parametrize("group", all_methods.GROUPS)
def test_methods_from_apply_to_destroy(bookworm: Hosts, group: str) -> None:
    """Verify passes, a second apply changes nothing, and destroy restores hosts and NICs."""
    assert set(bookworm.everywhere("iptables -V | grep -o legacy").values()) == {"legacy\n"}
    assert all(text.startswith("6.1.") for text in bookworm.everywhere("uname -r").values())
    all_methods.cycle(bookworm, group, *SLOW)
