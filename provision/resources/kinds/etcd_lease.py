"""Kind `etcd_lease`: the key that gives a host its part of a flannel network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.kinds.etcd_config import removed
from provision.resources.lib import etcd_keys as keys
from provision.resources.render import program_text
from provision.resources.steps import Steps, sh

_WRITE = program_text("host/etcd_wait.sh", "host/etcd_lease.sh")


@dataclass(frozen=True, slots=True)
class EtcdLease(Resource):
    """`subnet` belongs to the host whose address is `address`; `others`: keys that say it, too."""

    kind: ClassVar[str] = "etcd_lease"
    probe: ClassVar[str] = """
shared etcd
"""

    fingerprint: ClassVar[str] = ":"

    network: str
    prefix: str
    subnet: IPv4Network
    address: str
    backend: str
    cluster: str
    inventory: str
    others: tuple[str, ...] = ()
    started_after: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return f"{self.network}{self._key}"

    def after(self) -> tuple[Ref, ...]:
        return self.started_after

    @property
    def _key(self) -> str:
        return keys.subnet_key(self.prefix, self.subnet)

    @property
    def _own(self) -> str:
        return f"{keys.own(self.inventory, self.network)}/hosts/{self.host}"

    def create(self) -> Steps:
        value = {"PublicIP": self.address} | ({"BackendType": self.backend} if self.backend else {})
        mine = {"key": self._key, "address": self.address, "cluster": self.cluster}
        words = (self._key, json.dumps(value, separators=(",", ":")), self._own, json.dumps(mine))
        ctl = keys.ctl(self.inventory, self.network)
        return (sh(_WRITE, ctl, *words, self.address, self.backend),)

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        ctl = keys.ctl(self.inventory, self.network)
        return (removed(ctl, self._key, *self.others, self._own),)

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        for network, found in keys.networks(text):
            if found is not None:
                yield from _lease(network, found, scope)


def _lease(network: str, found: Mapping[str, str], scope: Origin) -> Iterator[Found]:
    said = keys.words(found.get(f"{keys.own(scope.inventory, network)}/hosts/{scope.host}", ""))
    key = str(said.get("key", ""))
    if not key:
        return
    prefix, _, _ = key.partition("/subnets/")
    leases = {lease.key: lease for lease in keys.leases(found, prefix)}
    address = str(said.get("address", ""))
    lease = leases.pop(key, None)
    if lease is None:
        return
    others = tuple(other.key for other in leases.values() if other.address == address)
    yield Found(
        EtcdLease(
            host=scope.host,
            network=network,
            prefix=prefix,
            subnet=lease.subnet,
            address=lease.address,
            backend=lease.backend,
            cluster=str(said.get("cluster", "")),
            inventory=scope.inventory,
            others=others,
            started_after=keys.stands_on(found, network, scope),
        ),
        ours=True,
    )
