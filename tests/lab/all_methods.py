"""All methods once: groups of examples, and one inventory and one cycle for a group."""

from __future__ import annotations

from typing import Any

import yaml

from tests.lab.hosts import Hosts, assert_same
from tests.lab.own_kernels import without_module_devices
from tests.lab.pipework import nics, without_ovs_files

GROUPS = {
    # One change for several methods takes less time than one for each.
    "four": ("routes.yml", "bgp.yml", "vxlan.yml", "wireguard.yml"),
    # Not with vxlan.yml: without the kernel's module the NIC becomes a port of Open vSwitch, and
    # TCP and UDP of a VXLAN device of the kernel were lost over it.
    "ovs": ("ovs-gre.yml", "ovs-vxlan.yml"),
    "flannel-vxlan": ("flannel-vxlan.yml",),
    "flannel-udp": ("flannel-udp.yml",),
    "flannel-host-gw": ("flannel-host-gw.yml",),
    "macvlan": ("macvlan.yml",),
    "pipework": ("pipework.yml",),
    "pipework-ovs": ("pipework-ovs.yml",),
}


def inventory(hosts: Hosts, examples: tuple[str, ...]) -> str:
    """Write one inventory with the networks and containers of these examples; its file name."""
    files = [hosts.lab.folder / hosts.inventory(example) for example in examples]
    merged: dict[str, Any] = yaml.safe_load(files[0].read_text())
    for file in files[1:]:
        example = yaml.safe_load(file.read_text())
        for key in ("networks", "containers"):
            merged[key] |= example[key]
        file.unlink()
    files[0].write_text(yaml.safe_dump(merged, sort_keys=False))
    return files[0].name


def cycle(hosts: Hosts, group: str, *options: str) -> None:
    """Apply, verify, also after a restart of Docker, apply without a change, destroy.

    Hosts and NICs are restored. Two containers of one host have no wire between them.
    """
    before, nics_before = hosts.capture(), nics(hosts)
    file = inventory(hosts, GROUPS[group])
    hosts.provision("apply", file, *options)
    hosts.verified(file, within_s=300, skips=("wire", "broadcast"))
    hosts.everywhere("systemctl restart docker")
    hosts.verified(file, within_s=300, skips=("wire", "broadcast"))
    assert hosts.json("apply", file)["changes"] == []
    hosts.provision("destroy", file, "--yes", *options)
    captures = map(without_ovs_files, (before, hosts.capture()))
    assert_same(*map(without_module_devices, captures))
    assert_same(nics_before, nics(hosts))
