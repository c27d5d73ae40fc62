"""Kind `flannel`: the device, routes and iptables chain that flanneld leaves on a host.

flanneld creates them itself and does not remove them when it ends.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any, ClassVar

from provision.resources.base import Found, Origin, Ref, Resource, keyed_lines
from provision.resources.kinds.service import restart
from provision.resources.lib import etcd_keys
from provision.resources.lib.flannel_state import FlannelLinks
from provision.resources.lib.shared_json import decode
from provision.resources.on_hosts import ETC, service_name
from provision.resources.render import program_text
from provision.resources.steps import Put, Run, Steps, remove_file, sh

STATE = "provision-flannel"
"""Folder below /var/lib where flanneld writes its subnet.env."""

_CLEAR = program_text("host/flannel_clear.sh")
_REMOVE_DISPLACING = program_text("host/flannel_routes.sh")
_PUT_BACK = program_text("host/flannel_routes_back.sh")
# A device cannot carry a mark. Until flanneld has given it an address, the claim tells whether it
# is ours; after that, its type and its address do.
_IS_FOREIGN = """
[ -n "$1" ] && [ -e "/sys/class/net/$1" ] || exit 1
ip -d -o link show dev "$1" | grep -q -e " $2 " || exit 0
[ -n "$(ip -4 -o address show dev "$1")" ] || { [ ! -f "$4" ]; exit; }
[ -z "$(ip -4 -o address show dev "$1" to "$3")" ]
"""
_CLAIM = "claim"
"""`lacks` of what flanneld has made, if only the claim was deleted."""
_SETTINGS = "its settings in etcd"
"""Part of `lacks` where flanneld started with other settings than those that its unit expects."""
_LINK_TYPES = {"udp": "tun", "vxlan": "vxlan"}
"""The type of the device that flannel makes, by backend."""


@dataclass(frozen=True, slots=True)
class Flannel(Resource):
    """Everything that flanneld creates for one network with the range `cidr`.

    `backend` is flannel's backend type; `device` is empty for host-gw, which only has routes.
    `create` writes a claim before flanneld starts, so that what flanneld makes is known as ours.
    `lacks` names what is missing: an object that flanneld made from a lease, the settings in etcd
    where flanneld started with others, or the claim. `lease_mac`: the MAC in the host's lease,
    where the device has another. `displaced`: the destinations of flanneld's routes in whose place
    a person has made others, `blocked`: those of programs. `prefix_length`: that of the leases;
    None if etcd does not tell.
    """

    kind: ClassVar[str] = "flannel"
    only_where: ClassVar[tuple[str, ...]] = (
        f"{ETC}/*/flannel",
        "/sys/class/net/flannel*",
        f'/var/lib/{STATE}/"$name"',
    )
    probe: ClassVar[str] = program_text("look/flannel.sh")

    fingerprint: ClassVar[str] = rf"""
for claim in {ETC}/*/flannel/*; do [ ! -f "$claim" ] || echo "$claim $(cat "$claim")"; done
"""

    network: str
    backend: str
    device: str
    cidr: IPv4Network
    masquerade: bool
    inventory: str
    lacks: str = ""
    lease_mac: str = field(default="", compare=False)
    displaced: tuple[str, ...] = field(default=(), compare=False, repr=False)
    blocked: tuple[str, ...] = field(default=(), compare=False, repr=False)
    prefix_length: int | None = field(default=None, compare=False, repr=False)
    started_after: tuple[Ref, ...] = field(default=(), compare=False, repr=False)

    @property
    def name(self) -> str:
        return self.device or f"{self.backend}-{self.network}"

    @property
    def state(self) -> str:
        """The folder below /var/lib that flanneld may write to."""
        return f"{STATE}/{self.inventory}/{self.network}"

    @property
    def settings_path(self) -> str:
        """The file that tells which settings in etcd flanneld has found when it started."""
        return f"/var/lib/{self.state}/config"

    @property
    def ctl(self) -> str:
        """The etcdctl command of the network."""
        return etcd_keys.ctl(self.inventory, self.network)

    @property
    def _removed(self) -> str:
        """The file with the routes that a repair has removed."""
        return f"/var/lib/{self.state}/removed_routes"

    @property
    def _claim(self) -> str:
        return f"{ETC}/{self.inventory}/flannel/{self.network}"

    def after(self) -> tuple[Ref, ...]:
        return self.started_after

    def names(self) -> tuple[str, ...]:
        return (self.device,) if self.device else ()

    def is_foreign(self) -> Run:
        link_type = _LINK_TYPES.get(self.backend, "")
        return sh(_IS_FOREIGN, self.device, link_type, str(self.cidr), self._claim)

    def create(self) -> Steps:
        claim = {
            "backend": self.backend,
            "device": self.device,
            "cidr": str(self.cidr),
            "masquerade": self.masquerade,
        }
        return (Put(self._claim, json.dumps(claim) + "\n"),)

    def update(self, current: Resource) -> Steps | None:
        assert isinstance(current, Flannel)
        if replace(current, lacks=self.lacks) != self:
            return None
        if current.lacks == _CLAIM:
            return self.create()
        link = ("ip", "link", "set", "dev", self.device)
        set_mac = (Run((*link, "address", current.lease_mac)),) if current.lease_mac else ()
        displaced = current.displaced
        remove_routes = (sh(_REMOVE_DISPLACING, self._removed, *displaced),) if displaced else ()
        # flanneld makes everything again when it starts.
        return (*remove_routes, *set_mac, restart(self.service))

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        return remove_file(self._claim) if self.lacks == _CLAIM else self.create()

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        # An update repairs what the kernel had lost. A rollback keeps the repair, but gives people
        # back their routes.
        if isinstance(before, Flannel) and replace(before, lacks=self.lacks) == self:
            if before.displaced:
                return (sh(_PUT_BACK, self._removed),)
            return remove_file(self._claim) if before.lacks == _CLAIM else ()
        return Resource.undo(self, before, ours=ours)

    @property
    def service(self) -> str:
        """The systemd service of flanneld."""
        return service_name(self.inventory, self.network, "flanneld")

    def delete(self) -> Steps:
        masquerade = "yes" if self.masquerade else "no"
        clear = sh(_CLEAR, self.service, self.device, str(self.cidr), masquerade, self.state)
        return (clear, *remove_file(self._claim))

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:
        before = current if isinstance(current, Flannel) else self
        if before.lacks == _CLAIM:
            return f"{before.name} is ours, damaged: its claim {before._claim} was deleted"
        is_repair = isinstance(current, Flannel) and bool(current.lacks)
        if not recreated and (current is None or is_repair):
            return None
        return (
            f"{self.network}: containers on different hosts are disconnected until flannel restarts"
        )

    def _compared(
        self, kernel: FlannelLinks, keys: etcd_keys.Keys | None, origin: Origin
    ) -> Flannel:
        """The same with what `kernel` lacks of it."""
        state = kernel.compared(self.device, self.backend, self.cidr, keys, self.network, origin)
        return replace(
            self,
            lacks=state.lacks,
            lease_mac=state.lease_mac,
            displaced=state.displaced,
            blocked=state.blocked,
            prefix_length=state.prefix_length,
        )

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        devices = {rest for key, rest in lines if key == "device"}
        claims = [rest.split(" ", 2) for key, rest in lines if key == "claim"]
        kernel = FlannelLinks.parse(lines) if claims else None
        etcd = dict(_etcd_keys(lines))
        other_settings = set(_with_other_settings(lines))
        claimed = {network for owner, network, _ in claims if owner == origin.inventory}
        for flannel in _unclaimed(lines, claimed, origin):
            devices.discard(flannel.device)
            yield Found(flannel, ours=True)
        for owner, network, record in claims:
            flannel = _flannel(origin.host, owner, network, json.loads(record))
            devices.discard(flannel.device)
            ours = owner == origin.inventory
            if kernel is not None and ours:
                flannel = flannel._compared(kernel, etcd.get(network), origin)
                settings = _SETTINGS if network in other_settings else ""
                lacks = ", ".join(filter(None, (flannel.lacks, settings)))
                flannel = replace(flannel, lacks=lacks)
            yield Found(flannel, ours)
        # A flannel that others run, e.g. of Kubernetes: its device name is in use.
        unknown = IPv4Network("0.0.0.0/32")
        for device in sorted(devices):
            yield Found(cls(origin.host, "", "", device, unknown, False, ""), ours=False)


def _etcd_keys(lines: Iterable[tuple[str, str]]) -> Iterator[tuple[str, etcd_keys.Keys | None]]:
    return etcd_keys.networks("\n".join(f"etcd {rest}" for key, rest in lines if key == "etcd"))


def _with_other_settings(lines: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The networks whose flanneld has started with other settings than its unit names."""
    for fields in (rest.split() for key, rest in lines if key == "started"):
        # A record that was cut off tells nothing.
        if len(fields) != 4:
            continue
        network, digest, expected, _ = fields
        if digest != expected:
            yield network


def _unclaimed(
    lines: Iterable[tuple[str, str]], claimed: Collection[str], origin: Origin
) -> Iterator[Flannel]:
    """Networks of this inventory that flanneld has made and whose claim is gone.

    flanneld's subnet.env tells the range; the device is the one with an address in it.
    """
    entries = list(lines)
    answers = dict(entries)
    links = decode(answers.get("addresses", "[]"))
    for network, *settings in (rest.split() for key, rest in entries if key == "settings"):
        values = dict(setting.partition("=")[::2] for setting in settings)
        if network in claimed or "FLANNEL_NETWORK" not in values:
            continue
        cidr = IPv4Network(values["FLANNEL_NETWORK"])
        device = next((link["ifname"] for link in links if _is_device(link, cidr)), "")
        backend = "host-gw" if not device else "vxlan" if "." in device else "udp"
        masquerade = values.get("FLANNEL_IPMASQ") == "true"
        yield Flannel(
            origin.host, network, backend, device, cidr, masquerade, origin.inventory, lacks=_CLAIM
        )


def _is_device(link: dict[str, Any], cidr: IPv4Network) -> bool:
    addresses = [info["local"] for info in link.get("addr_info", ()) if info["family"] == "inet"]
    is_flannel = str(link.get("ifname")).startswith("flannel")
    return is_flannel and any(IPv4Address(address) in cidr for address in addresses)


def _flannel(host: str, inventory: str, network: str, record: dict[str, Any]) -> Flannel:
    return Flannel(
        host=host,
        network=network,
        backend=record["backend"],
        device=record["device"],
        cidr=IPv4Network(record["cidr"]),
        masquerade=record["masquerade"],
        inventory=inventory,
    )
