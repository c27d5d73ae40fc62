"""Kind `etcd_config`: the settings of a flannel network in etcd, and a key with their owner."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Set
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
# If etcd does not answer, its data is deleted with its members, or it belongs to others.
_REMOVE = """
ctl=$1; shift
[ -x "$ctl" ] && "$ctl" --command-timeout=3s get /provision/ready >/dev/null 2>&1 || exit 0
for key; do "$ctl" del -- "$key" || exit; done
"""

_REMOVE_CONFIG = program_text("host/etcd_config_remove.sh")
# Our key is written before the settings: settings without it are those of somebody else.
_IS_FOREIGN = """
[ -x "$1" ] || exit 1
get() { "$ctl" --command-timeout=3s get --print-value-only -- "$1" 2>/dev/null; }
ctl=$1
[ -n "$(get "$2")" ] && [ -z "$(get "$3")" ]
"""


def remove_keys(ctl: str, *names: str) -> Run:
    """Remove keys from the etcd that the command `ctl` asks, if it answers."""
    return sh(_REMOVE, ctl, *names)


@dataclass(frozen=True, slots=True)
class EtcdConfig(Resource):
    """The JSON text `config` at the key `prefix`/config of an etcd; one host writes it for all.

    It stays when that host leaves, and is then found on another host that uses it
    (`etcd_keys.settings_host`): the last host of the network removes it.

    flanneld reads it: https://github.com/flannel-io/flannel/blob/master/Documentation/configuration.md
    `cluster` identifies the etcd cluster, `members` are its hosts. `stale` are keys of hosts that
    are no longer in the inventory. `existed`: another host has read our keys already, so that a
    rollback leaves them in place although this host did not know them.
    """

    kind: ClassVar[str] = "etcd_config"
    probe: ClassVar[str] = keys.PEERS_PROBE

    fingerprint: ClassVar[str] = ":"  # other hosts may change etcd meanwhile
    read_at_start: ClassVar[bool] = True
    for_all_hosts: ClassVar[bool] = True

    network: str
    prefix: str
    config: str
    cluster: str
    members: tuple[str, ...]
    inventory: str
    stale: tuple[str, ...] = ()
    started_after: tuple[Ref, ...] = field(default=(), compare=False)
    existed: bool = field(default=False, compare=False, repr=False)

    @property
    def name(self) -> str:
        return f"{self.network}{keys.config_key(self.prefix)}"

    def after(self) -> tuple[Ref, ...]:
        return self.started_after

    @property
    def _owner_key(self) -> str:
        return f"{keys.claims_prefix(self.inventory, self.network)}/config"

    def is_foreign(self) -> Run:
        ctl = keys.ctl(self.inventory, self.network)
        return sh(_IS_FOREIGN, ctl, keys.config_key(self.prefix), self._owner_key)

    def create(self) -> Steps:
        return (self._write(()),)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, EtcdConfig)
        # Another cluster is a new etcd, which holds no stale keys.
        return (self._write(current.stale if current.cluster == self.cluster else ()),)

    def _write(self, stale: tuple[str, ...]) -> Run:
        """Remove the keys `stale`, then write the owner's key and the settings."""
        # Written first: settings without an owner would count as those of others.
        owner = {"host": self.host, "prefix": self.prefix, "cluster": self.cluster}
        value = json.dumps(owner | {"members": self.members})
        pairs = (keys.config_key(self.prefix), self.config, self._owner_key, value)
        return sh(_WRITE, keys.ctl(self.inventory, self.network), *pairs, *stale)

    def delete(self) -> Steps:
        hosts = f"{keys.claims_prefix(self.inventory, self.network)}/hosts/"
        names = (hosts, keys.config_key(self.prefix), self._owner_key, *self.stale)
        return (sh(_REMOVE_CONFIG, keys.ctl(self.inventory, self.network), *names),)

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        if before is None and self.existed:
            return ()
        return Resource.undo(self, before, ours=ours)

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        if not isinstance(current, EtcdConfig):
            return None
        if current.cluster != self.cluster:
            if not self.members:
                return "all keys are written to the endpoints that the inventory names"
            return "a new etcd cluster starts, and all its keys are written again"
        before, after = keys.decode_object(current.config), keys.decode_object(self.config)
        if before.get("Network") != after.get("Network"):
            return "every host gets a new lease"
        return None

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        answers, peers = keys.split_peers(text)
        for network, values in keys.networks(answers):
            if values is not None:  # None: etcd does not answer
                yield from _configs(network, values, peers, origin)


def _configs(
    network: str, values: Mapping[str, str], peers: Set[str], origin: Origin
) -> Iterator[Found]:
    """Settings that are a resource of this host, and those below other prefixes, of others."""
    base = keys.claims_prefix(origin.inventory, network)
    owner = keys.decode_object(values.get(f"{base}/config", ""))
    holder = keys.settings_host(values, origin.inventory, network, origin.host, peers)
    for key, value in values.items():
        # Any key that ends with /config may be the settings of a flannel network.
        prefix = key.removesuffix("/config")
        if prefix == key or key.startswith(f"{keys.CLAIMS}/"):
            continue
        ours = owner.get("prefix") == prefix
        if not ours or holder == origin.host:
            config = EtcdConfig(
                host=origin.host,
                network=network,
                prefix=prefix,
                config=value,
                cluster=str(owner.get("cluster", "")),
                members=tuple(owner.get("members", ())),
                inventory=origin.inventory,
                started_after=keys.prerequisites(values, network, origin),
                stale=tuple(_stale(f"{base}/hosts/", values, peers, origin.host)),
            )
            yield Found(config, ours)


def _stale(prefix: str, values: Mapping[str, str], peers: Set[str], host: str) -> Iterator[str]:
    """Lease keys of hosts that the inventory no longer has, and the keys that record them."""
    for key, value in values.items():
        record = keys.decode_object(value) if key.startswith(prefix) else {}
        if record and record.get("address") not in peers and key != prefix + host:
            yield from (str(record.get("key")), key)
