"""Kind `flannel`: what flanneld makes on a host and leaves behind: its device, routes, chains."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.on_hosts import ETC
from provision.resources.steps import Put, Steps, remove_file, sh

STATE = "provision-flannel"
"""Below /var/lib: where flanneld writes down its subnet."""

# flannel's routes carry no number of their own (`boot`); Docker's bridge has `kernel`.
_CLEAR = """
service=$1 device=$2 range=$3 masquerade=$4 state=$5
systemctl stop "$service" 2>/dev/null
if [ -n "$device" ] && [ -e "/sys/class/net/$device" ]; then ip link del dev "$device" || exit; fi
ip -4 route flush root "$range" proto boot || exit
if [ "$masquerade" = yes ] && iptables -w 5 -t nat -n -L FLANNEL-POSTRTG >/dev/null 2>&1; then
  iptables -w 5 -t nat -S POSTROUTING | grep -e '-j FLANNEL-POSTRTG' | sed 's/^-A/-D/' |
    while read -r rule; do eval "iptables -w 5 -t nat $rule" || exit; done
  iptables -w 5 -t nat -F FLANNEL-POSTRTG && iptables -w 5 -t nat -X FLANNEL-POSTRTG || exit
fi
[ ! -d "/var/lib/$state" ] || { rm -rf -- "/var/lib/$state" &&
  (cd /var/lib && rmdir -p --ignore-fail-on-non-empty -- "${state%/*}"); }
"""


@dataclass(frozen=True, slots=True)
class Flannel(Resource):
    """One network's traces. `device` is empty for host-gw, which only makes routes.

    The claim on disk comes before flanneld starts, so that what it makes is known as ours.
    """

    kind: ClassVar[str] = "flannel"
    probe: ClassVar[str] = rf"""
for claim in {ETC}/*/flannel/*; do
  [ -f "$claim" ] || continue
  owner=${{claim%/flannel/*}}; echo "claim ${{owner##*/}} ${{claim##*/}} $(cat "$claim")"
done
for device in /sys/class/net/flannel*; do
  [ ! -e "$device" ] || echo "device ${{device##*/}}"
done
"""

    fingerprint: ClassVar[str] = rf"""
for claim in {ETC}/*/flannel/*; do [ ! -f "$claim" ] || echo "$claim $(cat "$claim")"; done
"""

    network: str
    backend: str
    device: str
    cidr: IPv4Network
    masquerade: bool
    inventory: str

    @property
    def name(self) -> str:
        return self.device or f"{self.backend}-{self.network}"

    @property
    def state(self) -> str:
        """The folder below /var/lib that flanneld may write to."""
        return f"{STATE}/{self.inventory}/{self.network}"

    @property
    def _claim(self) -> str:
        return f"{ETC}/{self.inventory}/flannel/{self.network}"

    def create(self) -> Steps:
        said = {
            "backend": self.backend,
            "device": self.device,
            "cidr": str(self.cidr),
            "masquerade": self.masquerade,
        }
        return (Put(self._claim, json.dumps(said) + "\n"),)

    def delete(self) -> Steps:
        service = f"provision-{self.inventory}-{self.network}-flanneld.service"
        masquerade = "yes" if self.masquerade else "no"
        words = (service, self.device, str(self.cidr), masquerade, self.state)
        return (sh(_CLEAR, *words), *remove_file(self._claim))

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:
        if current is None and not recreated:
            return None
        return f"{self.network}: no packet travels between hosts until flannel is back"

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        devices = {line.split(" ", 1)[1] for line in text.splitlines() if line[0] == "d"}
        for line in text.splitlines():
            if line.startswith("claim "):
                _, owner, network, said = line.split(" ", 3)
                words = json.loads(said)
                found = cls(
                    host=scope.host,
                    network=network,
                    backend=words["backend"],
                    device=words["device"],
                    cidr=IPv4Network(words["cidr"]),
                    masquerade=words["masquerade"],
                    inventory=owner,
                )
                devices.discard(found.device)
                yield Found(found, ours=owner == scope.inventory)
        for device in sorted(devices):
            nothing = IPv4Network("0.0.0.0/32")
            yield Found(cls(scope.host, "", "", device, nothing, False, ""), ours=False)
