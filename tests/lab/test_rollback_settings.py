"""Rollbacks on booted hosts: daemons have their old settings, failed services are stopped."""

from __future__ import annotations

from shlex import quote

import pytest

from tests.lab.hosts import HOSTS, Hosts
from tests.lab.pipework import wait_for_output

pytestmark = pytest.mark.lab

FLANNELD = "provision-overlay-over-flanneld.service"
BGP = "vtysh -d bgpd --vty_socket /run/provision-bgp-core-* -c 'show bgp ipv4 summary'"
# flanneld reads settings that one host writes into etcd for all; FRR reads files of its host.
DAEMONS = {
    "flannel-vxlan.yml": (
        ("    # direct_routing: true", "    direct_routing: true"),
        "ip -4 route show root 172.16.0.0/16 proto boot",
    ),
    "bgp.yml": (("# asn: 64512", "asn: 64513 #"), f"{BGP} | grep -o 'local AS number [0-9]*'"),
}
"""By example, a line of another version of it, and a command that tells what a daemon uses."""


@pytest.mark.parametrize(
    "example", ["flannel-vxlan.yml", pytest.param("bgp.yml", marks=pytest.mark.full)]
)
def test_a_rollback_starts_daemons_with_their_old_settings(mixed: Hosts, example: str) -> None:
    """The change is made on all hosts, and nobody confirms it."""
    line, command = DAEMONS[example]
    changed = mixed.inventory(example, line, to="settings.yml")
    mixed.provision("apply", changed)
    before = mixed.everywhere(command)
    assert all(before.values())

    inventory = mixed.inventory(example, to="settings.yml")
    mixed.provision("apply", inventory, "--manual", "--yes")
    made = mixed.everywhere(command)
    assert all(made[host] != before[host] for host in before), made

    mixed.provision("recover", inventory, "--yes", status=None)
    assert mixed.everywhere(command) == before
    mixed.inventory(example, line, to="settings.yml")
    assert mixed.json("plan", changed)["changes"] == []
    mixed.provision("destroy", changed, "--yes")


@pytest.mark.full
def test_a_flanneld_with_other_settings_is_restarted(mixed: Hosts) -> None:
    """Somebody writes other settings into etcd, and flanneld of h2 restarts.

    The follower restarts it once the settings are there; without it, `plan` names what differs.
    """
    inventory, routes = mixed.inventory("flannel-vxlan.yml"), DAEMONS["flannel-vxlan.yml"][1]
    mixed.provision("apply", inventory)
    before = mixed.everywhere(routes)
    _write_direct_routing(mixed, "false", "true")
    mixed.ssh("h2", f"systemctl restart {FLANNELD}")
    assert mixed.everywhere(routes)["h2"] != before["h2"]
    _write_direct_routing(mixed, "true", "false")
    wait_for_output(mixed, "h2", routes, before["h2"])

    mixed.ssh("h2", "systemctl stop provision-overlay-follow.service")
    _write_direct_routing(mixed, "false", "true")
    mixed.ssh("h2", f"systemctl restart {FLANNELD}")
    changes = mixed.json("plan", inventory)["changes"]
    found = sorted((change["host"], change["kind"]) for change in changes)
    assert found == [("h1", "etcd_config"), ("h2", "flannel"), ("h2", "systemd_unit")]
    mixed.provision("apply", inventory, "--yes")
    assert mixed.everywhere(routes) == before
    assert mixed.json("plan", inventory)["changes"] == []
    mixed.provision("destroy", inventory, "--yes")


def _write_direct_routing(hosts: Hosts, old: str, new: str) -> None:
    """Write flannel's settings into etcd with another value of DirectRouting."""
    ctl, key = "/etc/provision/overlay/etcdctl-over", "/coreos.com/network/config"
    changed = f'sed \'s/"DirectRouting": {old}/"DirectRouting": {new}/\''
    hosts.ssh("h2", f'{ctl} put {key} "$({ctl} get --print-value-only {key} | {changed})"')


FAIL = """
set -e
unit=$1 folder=/run/systemd/system/$1.d
enabled=$(systemctl is-enabled "$unit" || :)
[ "$enabled" != masked ] || systemctl -q unmask "$unit"
mkdir -p "$folder"
printf '[Service]\\nRestart=no\\nExecStart=\\nExecStart=/bin/false\\n' >"$folder/fail.conf"
systemctl daemon-reload
systemctl stop "$unit"
systemctl start "$unit" || :
timeout 20 sh -c 'until systemctl -q is-failed "$1"; do sleep 0.2; done' sh "$unit"
rm -r "$folder"
[ "$enabled" != masked ] || systemctl -q mask "$unit"
systemctl daemon-reload
systemctl is-failed "$unit"
"""
"""Makes a service fail, and leaves it as it is otherwise."""


def assert_rolled_back(hosts: Hosts, inventory: str) -> None:
    """A change that starts a failed service is undone whole, and the next one is, too."""
    hosts.provision("apply", inventory, "--manual", "--yes")
    hosts.provision("recover", inventory, "--yes", status=None)
    told = hosts.json("status", inventory)["hosts"]
    assert told == dict.fromkeys(HOSTS, "reverted (operator)")


@pytest.mark.full
def test_a_rollback_stops_services_that_had_failed(mixed: Hosts) -> None:
    """Open vSwitch before the first change, and the follower before a later one."""
    inventory = mixed.inventory("ovs-gre.yml")
    service = "openvswitch-switch.service"
    before = mixed.everywhere(f"systemctl is-enabled {service}", check=False)
    mixed.everywhere(f"sh -c {quote(FAIL)} sh {service}")
    assert_rolled_back(mixed, inventory)
    assert mixed.everywhere(f"systemctl is-enabled {service}", check=False) == before
    failed = mixed.everywhere("systemctl --failed --plain --no-legend")
    assert not any("openvswitch" in text or "ovs" in text for text in failed.values()), failed

    mixed.provision("apply", inventory)
    mixed.everywhere(f"sh -c {quote(FAIL)} sh provision-tunnel-follow.service")
    assert_rolled_back(mixed, inventory)
    mixed.provision("apply", inventory)
    mixed.verified(inventory)
    mixed.provision("destroy", inventory, "--yes")
