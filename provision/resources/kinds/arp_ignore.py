"""Kind `arp_ignore`: a bridge that does not answer ARP for the addresses of its host.

Linux answers ARP on every interface for every address of the host. Where the host's addresses are
on a veth into the bridge, the LAN would get two answers with different MACs. systemd.network(5) has
no option for arp_ignore, so the follower sets it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.on_hosts import ORIGINALS
from provision.resources.steps import Run, Steps, sh

# Value 8: https://docs.kernel.org/networking/ip-sysctl.html
_SET = 'file=/proc/sys/net/ipv4/conf/$1/arp_ignore; [ "$(cat "$file")" = 8 ] || echo 8 >"$file"'
# Our bridges have a record; whoever made another link of the name has set its value, too.
_IS_FOREIGN = '[ -e "/sys/class/net/$1" ] && [ ! -f "$2" ]'
# A bridge without addresses goes next: if it answered meanwhile, the LAN would lose the host.
_RESET = """
file=/proc/sys/net/ipv4/conf/$1/arp_ignore
[ ! -e "$file" ] || [ -z "$(ip -o -4 address show dev "$1")" ] || echo 0 >"$file"
"""


@dataclass(frozen=True, slots=True)
class ArpIgnore(Resource):
    """The bridge `link` with arp_ignore 8: it answers for no local address."""

    kind: ClassVar[str] = "arp_ignore"
    volatile: ClassVar[bool] = True
    only_where: ClassVar[tuple[str, ...]] = (f'{ORIGINALS}/"$name"/uplink',)
    probe: ClassVar[str] = rf"""
for record in {ORIGINALS}/"$name"/uplink/*; do
  file=/proc/sys/net/ipv4/conf/${{record##*/}}/arp_ignore
  [ ! -f "$file" ] || [ "$(cat "$file")" != 8 ] || echo "${{record##*/}}"
done
"""
    fingerprint: ClassVar[str] = ":"  # the kernel deletes the setting with its bridge

    link: str
    inventory: str = field(default="", compare=False, repr=False)
    needs: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return self.link

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def is_foreign(self) -> Run:
        record = f"{ORIGINALS}/{self.inventory}/uplink/{self.link}"
        return sh(_IS_FOREIGN, self.link, record)

    def create(self) -> Steps:
        return (sh(_SET, self.link),)

    def delete(self) -> Steps:
        return (sh(_RESET, self.link),)

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        for link in text.split():
            yield Found(cls(origin.host, link, origin.inventory), ours=True)
