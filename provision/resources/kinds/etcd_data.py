"""Kind `etcd_data`: the data folder of an etcd member."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.lib import stash
from provision.resources.on_hosts import service_name
from provision.resources.steps import Run, Steps, sh

PRIVATE = "/var/lib/private"
"""Folder in which systemd keeps the StateDirectory of services with DynamicUser=."""
FOLDER = "provision-etcd"

# etcd keeps one folder, `member`, in its data folder.
_IS_FOREIGN = """
[ -e "$1" ] || exit 1
[ ! -d "$1" ] || [ -n "$(find "$1" -mindepth 1 -maxdepth 1 ! -name member)" ]
"""
# Both folders, because systemd moves a StateDirectory when DynamicUser= changes.
_REMOVE = """
systemctl stop "$1" 2>/dev/null
for root in /var/lib/private /var/lib; do
  rm -rf -- "$root/${2:?}" && { [ ! -d "$root/${2%/*}" ] ||
    (cd "$root" && rmdir -p --ignore-fail-on-non-empty -- "${2%/*}"); } || exit
done
"""


@dataclass(frozen=True, slots=True)
class EtcdData(Resource):
    """The data folder of one cluster; a cluster with other members starts with an empty folder.

    `service` is the member's systemd service, which is stopped before the folder is removed.
    `replaces` is the id of the member that has lost the data of this folder, and in whose place a
    new one joins the cluster, or a word for a member whose data must go; empty otherwise. `cause`
    is what a plan says about that.
    """

    kind: ClassVar[str] = "etcd_data"
    only_where: ClassVar[tuple[str, ...]] = (f'{PRIVATE}/{FOLDER}/"$name"',)
    probe: ClassVar[str] = rf"""
for folder in {PRIVATE}/{FOLDER}/"$name"/*; do
  [ -d "$folder" ] && echo "${{folder##*/}}"
done
:
"""

    fingerprint: ClassVar[str] = rf"""
for folder in {PRIVATE}/{FOLDER}/*/*; do [ ! -d "$folder" ] || echo "$folder"; done
"""

    network: str
    cluster: str
    inventory: str
    service: str
    replaces: str = ""
    cause: str = field(default="", compare=False, repr=False)

    @property
    def name(self) -> str:
        return f"{self.network}.{self.cluster}"

    @property
    def folder(self) -> str:
        """Path below /var/lib/private, to which systemd adds a link below /var/lib."""
        return f"{FOLDER}/{self.inventory}/{self.name}"

    def is_foreign(self) -> Run:
        return sh(_IS_FOREIGN, self._path)

    def create(self) -> Steps:
        return (
            Run(("mkdir", "-p", "-m", "700", "--", PRIVATE)),
            Run(("mkdir", "-p", "-m", "700", "--", f"{PRIVATE}/{self.folder}")),
        )

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        return self.cause or None

    def delete(self) -> Steps:
        return (sh(_REMOVE, self.service, self.folder),)

    def stash(self, txn: str) -> Steps:
        return (self._stop, *stash.stash(txn, self._path), *self.delete())

    def unstash(self, txn: str) -> Steps:
        # `delete` may have removed this folder too. systemd starts no service with DynamicUser= if
        # other users can enter it.
        private = Run(("install", "-d", "-m", "700", "--", PRIVATE))
        return (self._stop, private, *stash.unstash(txn, self._path))

    def drop_stash(self, txn: str) -> Steps:
        return stash.drop(txn, self._path)

    @property
    def _path(self) -> str:
        return f"{PRIVATE}/{self.folder}"

    @property
    def _stop(self) -> Run:
        return sh('systemctl stop "$1" 2>/dev/null; :', self.service)

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        for line in text.splitlines():
            network, _, cluster = line.rpartition(".")
            service = service_name(origin.inventory, network, "etcd")
            yield Found(cls(origin.host, network, cluster, origin.inventory, service), ours=True)
