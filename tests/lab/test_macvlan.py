"""Method `macvlan` on booted hosts: its example, a reboot, and a network that somebody removed."""

from __future__ import annotations

import pytest

from provision.lab import power
from tests.lab.hosts import Hosts, assert_same
from tests.lab.pipework import clean, failing_checks

pytestmark = pytest.mark.lab
__all__ = ["clean"]


def verified(hosts: Hosts, inventory: str) -> None:
    """Verify passes; it skips only what no sniffer on the NIC sees, between containers of h1."""
    result = hosts.json("verify", inventory)
    skipped = {(c["check"], c["from"], c["to"]) for c in result["checks"] if c["skipped"]}
    pairs = (("c1", "web"), ("web", "c1"))
    assert skipped == {(check, *pair) for check in ("wire", "broadcast") for pair in pairs}


def test_the_example_from_apply_to_destroy(clean: Hosts) -> None:
    """Hosts and containers reach each other; only a host and its own containers do not."""
    inventory, before = clean.inventory("macvlan.yml"), clean.capture()
    clean.provision("apply", inventory)
    verified(clean, inventory)
    assert clean.json("apply", inventory)["changes"] == []
    web = f"ping -c 1 -W 1 {clean.networks[1]}.211 >/dev/null && echo yes || echo no"
    answers = clean.everywhere(web)
    expected = {"h1": "no", "h2": "yes", "h3": "yes"}
    assert {h: answer.strip() for h, answer in answers.items()} == expected

    power.reboot(clean.lab, ["h2"], say=print)
    verified(clean, inventory)
    # Docker shows a gateway that it chose itself only after a restart.
    assert clean.json("plan", inventory)["changes"] == []

    clean.ssh("h2", "docker rm -f c2 && docker network rm lan")
    failing = failing_checks(clean, inventory)
    assert {("drift", "h2", "h2"), ("ping", "c1", "c2")} <= failing, failing
    clean.provision("apply", inventory)
    verified(clean, inventory)
    clean.provision("destroy", inventory, "--yes")
    assert_same(before, clean.capture())


@pytest.mark.full
def test_a_lan_without_a_router_and_one_with_addresses_in_use(clean: Hosts) -> None:
    """Docker's gateway is an address that nobody gets; an address that a host has is refused."""
    gateway = f"    gateway: {clean.networks[1]}.254"
    bare = clean.inventory("macvlan.yml", (gateway, "    # no router"))
    before = clean.capture()
    clean.ssh("h3", f"ip address add {clean.networks[1]}.213/32 dev host0")
    errors = clean.json("apply", bare, status=4)["errors"]
    clean.ssh("h3", f"ip address delete {clean.networks[1]}.213/32 dev host0")
    assert any(f"{clean.networks[1]}.213, which is in use" in e["message"] for e in errors), errors
    clean.provision("apply", bare)
    verified(clean, bare)
    clean.provision("destroy", bare, "--yes")
    assert_same(before, clean.capture())
