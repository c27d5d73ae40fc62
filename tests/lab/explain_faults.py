"""Faults that `provision explain` has to name, as data: one in each file of tests/lab/explain."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.lab.hosts import Hosts

FOLDER = Path(__file__).with_name("explain")
# Functions for the commands of a fault. `inside` runs a command of the host in the network
# namespace of a container, `veth` is the host's end of its eth0 or another interface of it.
_FUNCTIONS = r"""
pid() { docker inspect -f '{{.State.Pid}}' "$1"; }
inside() { space=$(pid "$1"); shift; nsenter -t "$space" -n "$@"; }
veth() {
  index=$(inside "$1" ip -o link show "${2:-eth0}" | sed 's/.*@if\([0-9]*\):.*/\1/')
  ip -o link | sed -n "s/^$index: \([^@:]*\).*/\1/p"
}
mac() { inside "$1" ip -o link show eth0 | sed 's/.*ether \([^ ]*\).*/\1/'; }
host_bridge() { ls /sys/class/net | grep '^br-'; }
vxlan() { ls /sys/class/net | grep '^vx-'; }
vni() { ip -d link show "$(vxlan)" | sed -n 's/.* vxlan id \([0-9]*\).*/\1/p'; }
chain() { iptables -S | sed -n 's/^-N \(PROV-.*\)/\1/p' | head -n 1; }
ovs_tunnel() { ovs-vsctl --bare --columns=name find Interface options:remote_ip="$1"; }
"""

_WATCHES = (
    "iptables-nft -t raw -S | grep provision-explain; "
    "pgrep -a xtables-monitor; pgrep -a perl | grep provision-explain"
)


def assert_nothing_watches(hosts: Hosts) -> None:
    """The watches of all hosts end by themselves, with their rules."""
    deadline = time.monotonic() + 60
    while any(left := hosts.everywhere(_WATCHES, check=False).values()):
        assert time.monotonic() < deadline, left
        time.sleep(2)


@dataclass(frozen=True)
class Fault:
    """How a fault is planted and healed, by host, and the cause that `explain` has to give.

    A text may hold `$D`, the first three bytes of the hosts' data network. `apply`: `provision
    apply` heals the rest; also without a command in `heal`. `reached`: the probe arrives all the
    same. `sample`: part of the default test run.
    """

    name: str
    inventory: str
    source: str
    target: str
    plant: dict[str, str]
    heal: dict[str, str]
    cause: dict[str, str]
    fix: str
    probe: str = "icmp"
    reached: bool = False
    sample: bool = False
    apply: bool = False

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of `explain` after the inventory."""
        protocol, _, port = self.probe.partition(" ")
        return (self.source, self.target, f"--{protocol}", *([port] if port else []))


def faults(inventory: str = "") -> list[Fault]:
    """All faults, or those of one example inventory."""
    loaded = []
    for path in sorted(FOLDER.glob("*.yml")):
        data = yaml.safe_load(path.read_text())
        source, target = data.pop("from"), data.pop("to")
        loaded.append(Fault(path.stem, source=source, target=target, **data))
    return [fault for fault in loaded if inventory in ("", fault.inventory)]


@dataclass(frozen=True)
class Planter:
    """Plants faults on the hosts of a lab, and asks `explain`."""

    hosts: Hosts
    ends: str

    @classmethod
    def on(cls, hosts: Hosts) -> Planter:
        """A planter that knows MACs and addresses of the running containers."""
        lines = hosts.everywhere(
            "docker ps -q | while read -r id; do "
            "name=$(docker inspect -f '{{.Name}}' $id); "
            "p=$(docker inspect -f '{{.State.Pid}}' $id); "
            "echo ${name#/} $(nsenter -t $p -n ip -o -4 address show eth0 2>/dev/null"
            " | awk '{print $4}')"
            " $(nsenter -t $p -n ip -o link show eth0 2>/dev/null"
            " | sed 's/.*ether \\([^ ]*\\).*/\\1/'); done",
            check=False,
        )
        rows = [row.split() for text in lines.values() for row in text.splitlines()]
        rows = [row for row in rows if len(row) == 3]
        macs = " ".join(f"{name}) echo {mac} ;;" for name, _, mac in rows)
        addresses = " ".join(f"{name}) echo {a.partition('/')[0]} ;;" for name, a, _ in rows)
        return cls(
            hosts,
            f"mac_of() {{ case $1 in {macs} esac; }}\n"
            f"address_of() {{ case $1 in {addresses} esac; }}\n",
        )

    def run(self, commands: dict[str, str]) -> None:
        """Run each host's commands."""
        for host, command in commands.items():
            script = f"D={self.hosts.networks[1]}\n{_FUNCTIONS}{self.ends}{command}"
            self.hosts.ssh(host, script)

    def filled(self, text: str) -> str:
        """A text of a fault with this lab's addresses."""
        return text.replace("$D", self.hosts.networks[1])

    def explained(self, fault: Fault) -> Any:
        """The JSON of `explain` while the fault is there, from its planting to its healing."""
        self.run(fault.plant)
        try:
            status = 0 if fault.reached else 7
            return self.hosts.json("explain", fault.inventory, *fault.arguments, status=status)
        finally:
            self.heal(fault)

    def heal(self, fault: Fault) -> None:
        """Undo the fault."""
        self.run(fault.heal)
        if fault.apply or (fault.plant and not fault.heal):
            self.hosts.provision("apply", fault.inventory)

    def mistakes(self, fault: Fault, answer: Any) -> list[str]:
        """What differs between an answer and the fault."""
        cause = answer["cause"] or {}
        expected = {key: self.filled(text) for key, text in fault.cause.items()}
        wrong = [
            f"{key}: {cause.get(key)!r}, not {expected[key]!r}"
            for key in ("host", "kind")
            if cause.get(key) != expected[key]
        ]
        if expected["object"] not in str(cause.get("object")):
            wrong.append(f"object: {cause.get('object')!r} lacks {expected['object']!r}")
        if self.filled(fault.fix) not in str(cause.get("fix")):
            wrong.append(f"fix: {cause.get('fix')!r} lacks {fault.fix!r}")
        return wrong
