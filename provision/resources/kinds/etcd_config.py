"""Kind `etcd_config`: a flannel network's settings in etcd, and whose they are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.lib import etcd_keys as keys
from provision.resources.render import program_text
from provision.resources.steps import Run, Steps, sh

_WRITE = (
    program_text("host/etcd_wait.sh")
    + r"""
ctl=$1 key=$2 value=$3 own_key=$4 own_value=$5; shift 5
wait_for_etcd
for stale; do "$ctl" del -- "$stale" || exit; done
"$ctl" put -- "$own_key" "$own_value" && "$ctl" put -- "$key" "$value"
"""
)
# Where etcd does not answer there is nothing to remove: its data goes, or it is not ours.
_REMOVE = """
ctl=$1; shift
[ -x "$ctl" ] && "$ctl" --command-timeout=3s get /provision/ready >/dev/null 2>&1 || exit 0
for key; do "$ctl" del -- "$key" || exit; done
"""


def written(ctl: str, *pairs: str) -> Run:
    """Write key and value, and our own key and its value; then `stale` keys are removed first."""
    return sh(_WRITE, ctl, *pairs)


def removed(ctl: str, *names: str) -> Run:
    """Remove keys where etcd answers."""
    return sh(_REMOVE, ctl, *names)


@dataclass(frozen=True, slots=True)
class EtcdConfig(Resource):
    """`config` at `prefix`/config of the etcd of `cluster`. It belongs to one host, who writes it.

    `stale` are keys of hosts that are in the inventory no longer.
    """

    kind: ClassVar[str] = "etcd_config"
    probe: ClassVar[str] = """
shared etcd
echo "peers $peers"
"""

    fingerprint: ClassVar[str] = ":"  # etcd's own, on several hosts at once

    network: str
    prefix: str
    config: str
    cluster: str
    members: tuple[str, ...]
    inventory: str
    stale: tuple[str, ...] = ()
    started_after: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return f"{self.network}{keys.config_key(self.prefix)}"

    def after(self) -> tuple[Ref, ...]:
        return self.started_after

    @property
    def _own(self) -> str:
        return f"{keys.own(self.inventory, self.network)}/config"

    def create(self) -> Steps:
        return (self._written(()),)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, EtcdConfig)
        return (self._written(current.stale if current.cluster == self.cluster else ()),)

    def _written(self, stale: tuple[str, ...]) -> Run:
        said = {"host": self.host, "prefix": self.prefix, "cluster": self.cluster}
        mine = json.dumps(said | {"members": self.members})
        pairs = (keys.config_key(self.prefix), self.config, self._own, mine)
        return written(keys.ctl(self.inventory, self.network), *pairs, *stale)

    def delete(self) -> Steps:
        names = (keys.config_key(self.prefix), self._own)
        return (removed(keys.ctl(self.inventory, self.network), *names),)

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        if not isinstance(current, EtcdConfig):
            return None
        if current.cluster != self.cluster:
            return "etcd starts anew on its members, and the map is written again"
        before, now = keys.words(current.config), keys.words(self.config)
        if before.get("Network") != now.get("Network"):
            return "all leases are made anew"
        return None

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        peers = set(text.rsplit("peers ", 1)[1].split())
        for network, found in keys.networks(text.rsplit("peers ", 1)[0]):
            if found is not None:
                yield from _configs(network, found, peers, scope)


def _configs(
    network: str, found: Mapping[str, str], peers: set[str], scope: Origin
) -> Iterator[Found]:
    own = keys.own(scope.inventory, network)
    said = keys.words(found.get(f"{own}/config", ""))
    for key, value in found.items():
        prefix = key.removesuffix("/config")
        if prefix == key or key.startswith(f"{keys.OWN}/"):
            continue
        config = EtcdConfig(
            host=scope.host,
            network=network,
            prefix=prefix,
            config=value,
            cluster=str(said.get("cluster", "")),
            members=tuple(said.get("members", ())),
            inventory=scope.inventory,
            started_after=keys.stands_on(found, network, scope),
            stale=tuple(_stale(f"{own}/hosts/", found, peers, scope.host)),
        )
        mine = said.get("prefix") == prefix
        if not mine or said.get("host") == scope.host:
            yield Found(config, ours=mine)


def _stale(below: str, found: Mapping[str, str], peers: set[str], host: str) -> Iterator[str]:
    """Keys of hosts of ours that this inventory names no longer."""
    for key, value in found.items():
        said = keys.words(value) if key.startswith(below) else {}
        if said and said.get("address") not in peers and key != below + host:
            yield from (str(said.get("key")), key)
