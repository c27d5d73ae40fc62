"""Kind `etcd_lease`: the etcd key that assigns a host its subnet of a flannel network.

Keys and values are those of flannel's own leases
(https://github.com/flannel-io/flannel/blob/master/pkg/subnet/etcd/registry.go), without an
expiry: the inventory decides which host has which subnet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.kinds.etcd_config import EtcdConfig, remove_keys
from provision.resources.lib import etcd_keys as keys
from provision.resources.render import program_text
from provision.resources.steps import Run, Steps, sh

_WRITE = program_text("host/etcd_wait.sh", "host/etcd_lease.sh")

# A flanneld that runs waits for the next revision of the old etcd, and would not see the new keys.
_REGISTER = 'systemctl --no-block try-restart "$1" 2>/dev/null; :'
# A lease of another address, which no host of the inventory has recorded as its own.
_IS_FOREIGN = r"""
[ -x "$1" ] || exit 1
lease=$("$1" --command-timeout=3s get --print-value-only -- "$2" 2>/dev/null)
case $lease in '' | *"\"PublicIP\":\"$3\""*) exit 1 ;; esac
! "$1" --command-timeout=3s get --prefix --print-value-only -- "$4" |
  grep -qF "\"key\": \"$2\""
"""


@dataclass(frozen=True, slots=True)
class EtcdLease(Resource):
    """The lease of `subnet` for the host whose address is `address`.

    `backend` is flannel's backend type, empty for udp. `duplicates` are other lease keys with the
    same address; flanneld might take one of them. `existed`: another host has read the lease
    already, so that a rollback leaves it in place although this host did not know it. `restarts` is
    the service of flanneld that has to register again; empty for none.
    """

    kind: ClassVar[str] = "etcd_lease"
    probe: ClassVar[str] = keys.PEERS_PROBE

    fingerprint: ClassVar[str] = ":"

    network: str
    prefix: str
    subnet: IPv4Network
    address: str
    backend: str
    cluster: str
    inventory: str
    duplicates: tuple[str, ...] = ()
    started_after: tuple[Ref, ...] = field(default=(), compare=False)
    existed: bool = field(default=False, compare=False, repr=False)
    restarts: str = field(default="", compare=False, repr=False)

    @property
    def name(self) -> str:
        return f"{self.network}{self._key}"

    def after(self) -> tuple[Ref, ...]:
        return self.started_after

    @property
    def _key(self) -> str:
        return keys.subnet_key(self.prefix, self.subnet)

    @property
    def _record_key(self) -> str:
        """The key under which provision records that it assigned the lease."""
        return f"{keys.claims_prefix(self.inventory, self.network)}/hosts/{self.host}"

    def is_foreign(self) -> Run:
        ctl = keys.ctl(self.inventory, self.network)
        prefix = f"{keys.claims_prefix(self.inventory, self.network)}/hosts/"
        return sh(_IS_FOREIGN, ctl, self._key, self.address, prefix)

    def create(self) -> Steps:
        value = {"PublicIP": self.address} | ({"BackendType": self.backend} if self.backend else {})
        record = {"key": self._key, "address": self.address, "cluster": self.cluster}
        # No spaces: etcd_lease.sh finds the address in the text, in the form that flannel writes.
        lease = (self._key, json.dumps(value, separators=(",", ":")))
        owner = (self._record_key, json.dumps(record))
        ctl = keys.ctl(self.inventory, self.network)
        write = sh(_WRITE, ctl, *lease, *owner, self.address, self.backend)
        return (write, *((sh(_REGISTER, self.restarts),) if self.restarts else ()))

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        if before is None and self.existed:
            return ()
        return Resource.undo(self, before, ours=ours)

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        ctl = keys.ctl(self.inventory, self.network)
        return (remove_keys(ctl, self._key, *self.duplicates, self._record_key),)

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        answers, peers = keys.split_peers(text)
        for network, values in keys.networks(answers):
            lease = None if values is None else _lease(network, values, peers, origin)
            if lease is not None:
                yield Found(lease, ours=True)


def _lease(
    network: str, values: Mapping[str, str], peers: Set[str], origin: Origin
) -> EtcdLease | None:
    """The lease that provision recorded for this host, if it is still in etcd."""
    record_key = f"{keys.claims_prefix(origin.inventory, network)}/hosts/{origin.host}"
    record = keys.decode_object(values.get(record_key, ""))
    key, address = str(record.get("key", "")), str(record.get("address", ""))
    prefix, _, _ = key.partition("/subnets/")
    leases = {lease.key: lease for lease in keys.leases(values, prefix)} if key else {}
    lease = leases.pop(key, None)
    if lease is None:
        return None
    # The settings stay while a host has a lease: all leases are removed before them.
    holder = keys.settings_host(values, origin.inventory, network, origin.host, peers)
    settings = Ref(holder, EtcdConfig.kind, f"{network}{keys.config_key(prefix)}")
    return EtcdLease(
        host=origin.host,
        network=network,
        prefix=prefix,
        subnet=lease.subnet,
        address=lease.address,
        backend=lease.backend,
        cluster=str(record.get("cluster", "")),
        inventory=origin.inventory,
        duplicates=tuple(entry.key for entry in leases.values() if entry.address == address),
        started_after=(*keys.prerequisites(values, network, origin), settings),
    )
