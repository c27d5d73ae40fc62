"""Kind `ovs_daemon`: Open vSwitch's own service, started where it did not run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.on_hosts import ORIGINALS
from provision.resources.steps import Run, Steps, record_once, remove_file

SERVICE = "openvswitch-switch.service"
# What its first start makes, by Debian's layout: the database, its lock, and a random id.
_DATABASE = ("/var/lib/openvswitch/conf.db", "/var/lib/openvswitch/.conf.db.~lock~")
_IDENTITY = "/etc/openvswitch/system-id.conf"

_START = f"""
systemctl -q unmask {SERVICE} 2>/dev/null && systemctl -q enable {SERVICE} 2>/dev/null
systemctl start {SERVICE}
"""


@dataclass(frozen=True, slots=True)
class OvsDaemon(Resource):
    """The service, enabled and running. `first` says how it was before our first change.

    `first` are systemd's words for the unit file and the service (`masked inactive`) and `new`
    where it had no database yet. `others` are inventories that need it, too.
    `claimed` is False where another inventory started it and this one is not on record yet.
    """

    kind: ClassVar[str] = "ovs_daemon"
    edits: ClassVar[bool] = True
    changes_facts: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
command -v ovs-vsctl >/dev/null 2>&1 || exit 0
printf '%s\n' "$units"
for was in {ORIGINALS}/*/openvswitch; do
  [ -f "$was" ] || continue
  owner=${{was%/openvswitch}}; echo "was ${{owner##*/}} $(cat "$was")"
done
[ ! -e /etc/openvswitch/conf.db ] || echo database
"""

    fingerprint: ClassVar[str] = rf"""
command -v ovs-vsctl >/dev/null 2>&1 || exit 0
echo "$(systemctl is-enabled {SERVICE}) $(systemctl is-active {SERVICE})"
for was in {ORIGINALS}/*/openvswitch; do [ ! -f "$was" ] || echo "$was $(cat "$was")"; done
[ ! -e /etc/openvswitch/conf.db ] || echo database
"""

    inventory: str
    enabled: bool = True
    active: bool = True
    claimed: bool = True
    first: str = field(default="", compare=False)
    others: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return SERVICE

    def create(self) -> Steps:
        return (Run(("sh", "-c", _START)),)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, OvsDaemon)
        return (record_once(self._was, current.first + "\n"), *self.create())

    def delete(self) -> Steps:
        if not self.first:
            return remove_file(self._was)
        state, active, *new = self.first.split()
        steps: list[Run] = []
        if active != "active" and not self.others:
            steps.append(
                Run(("systemctl", "stop", SERVICE, "ovs-vswitchd", "ovsdb-server.service"))
            )
        if new and not self.others:
            steps.append(Run(("rm", "-f", "--", *_DATABASE, _IDENTITY)))
        if state in ("masked", "disabled") and not self.others:
            verb = "mask" if state == "masked" else "disable"
            steps.append(Run(("systemctl", "-q", verb, SERVICE)))
        return (*steps, *remove_file(self._was))

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        return self.update(self)

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        if before is None:
            return self.delete()  # it came with its package, which stays
        assert isinstance(before, OvsDaemon)
        if ours:
            return () if before.active else (Run(("systemctl", "stop", SERVICE)),)
        return before.delete()

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        return (
            "Open vSwitch starts" if isinstance(current, OvsDaemon) and not current.active else None
        )

    def blocking_reason(self, after: Resource | None) -> str | None:
        if after is not None or self.active or self.others:
            return None
        # What its database holds of ours cannot be seen now, and would come back with it.
        return f"Open vSwitch does not run: start it (systemctl start {SERVICE}), then destroy"

    @property
    def _was(self) -> str:
        return f"{ORIGINALS}/{self.inventory}/openvswitch"

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        unit = next((part for part in text.split("\n\n") if f"Id={SERVICE}" in part), "")
        state = dict(line.partition("=")[::2] for line in unit.splitlines())
        if not state.get("UnitFileState"):
            return
        words = [line.split(" ", 2) for line in text.splitlines() if line.startswith("was ")]
        records = {owner: first for _, owner, first in words}
        mine = records.pop(scope.inventory, None)
        new = "" if "database" in text.splitlines() else " new"
        now = f"{state['UnitFileState']} {state['ActiveState']}{new}"
        first = mine or next(iter(records.values()), now)
        found = cls(
            scope.host,
            scope.inventory,
            state["UnitFileState"] == "enabled",
            state["ActiveState"] == "active",
            mine is not None or not records,
            first,
            tuple(sorted(records)),
        )
        yield Found(found, ours=mine is not None)
