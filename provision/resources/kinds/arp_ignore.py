"""Kind `mute`: a bridge that holds no address does not answer ARP for those of its host.

Linux answers on every link for every address of the host; with the addresses on a veth into the
bridge the LAN would hear two machines. No file of networkd's can say so, hence the follower does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.on_hosts import ORIGINALS
from provision.resources.steps import Run, Steps

_SAY = 'file=/proc/sys/net/ipv4/conf/$1/arp_ignore; [ "$(cat "$file")" = 8 ] || echo 8 >"$file"'


@dataclass(frozen=True, slots=True)
class ArpIgnore(Resource):
    """`link` has arp_ignore 8: no answer for any local address."""

    kind: ClassVar[str] = "arp_ignore"
    volatile: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
for was in {ORIGINALS}/"$name"/uplink/*; do
  file=/proc/sys/net/ipv4/conf/${{was##*/}}/arp_ignore
  [ ! -f "$file" ] || [ "$(cat "$file")" != 8 ] || echo "${{was##*/}}"
done
"""
    fingerprint: ClassVar[str] = ":"  # it goes with its bridge

    link: str
    needs: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return self.link

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def create(self) -> Steps:
        return (Run(("sh", "-c", _SAY, "sh", self.link)),)

    def delete(self) -> Steps:
        return (Run(("sh", "-c", _UNSAY, "sh", self.link)),)

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        for link in text.split():
            yield Found(cls(scope.host, link), ours=True)


_UNSAY = 'file=/proc/sys/net/ipv4/conf/$1/arp_ignore; [ ! -e "$file" ] || echo 0 >"$file"'
