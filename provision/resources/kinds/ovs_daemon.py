"""Kind `ovs_daemon`: the service of Open vSwitch, started if it did not run.

The last inventory that needs it restores the service as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource, keyed_lines
from provision.resources.lib import systemd_units
from provision.resources.on_hosts import ETC, ORIGINALS
from provision.resources.steps import Run, Steps, Unless, record_once, remove_file, sh

SERVICE = "openvswitch-switch.service"
"""Debian's name of the service; it groups ovs-vswitchd and ovsdb-server."""
# Files that the first start creates in Debian's layout: the database, its lock, a random id.
_DATABASE = ("/var/lib/openvswitch/conf.db", "/var/lib/openvswitch/.conf.db.~lock~")
_IDENTITY = "/etc/openvswitch/system-id.conf"

# By its process id: ovs-vsctl could start a stopped daemon by its socket.
_IS_USED = """
kill -0 "$(cat /run/openvswitch/ovsdb-server.pid 2>/dev/null)" 2>/dev/null &&
  [ -n "$(ovs-vsctl -t 10 list-br)" ]
"""

# A start that a stop has cut off leaves a unit as failed: `systemctl --failed` would list it.
_STOP = """
systemctl stop "$@"; status=$?
systemctl reset-failed "$@" ovs-record-hostname.service 2>/dev/null
exit "$status"
"""
_START = f"""
systemctl -q unmask {SERVICE} 2>/dev/null && systemctl -q enable {SERVICE} 2>/dev/null
systemctl start {SERVICE}
"""


@dataclass(frozen=True, slots=True)
class OvsDaemon(Resource):
    """The service, enabled and running.

    `original` is its state before the first change: UnitFileState and ActiveState of systemd
    (`masked inactive`), and `new` if it had no database yet. `other_users` are inventories that
    need the service as well. `claimed` is False if another inventory has started it and this one
    has no record of its own yet.
    """

    kind: ClassVar[str] = "ovs_daemon"
    edits: ClassVar[bool] = True
    changes_facts: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
command -v ovs-vsctl >/dev/null 2>&1 || exit 0
printf '%s\n' "$units"
for record in {ORIGINALS}/*/openvswitch; do
  [ -f "$record" ] || continue
  owner=${{record%/openvswitch}}; echo "was ${{owner##*/}} $(cat "$record")"
done
for script in {ETC}/*/volatile.sh; do
  ! grep -qs -F /run/openvswitch/ "$script" || echo applied
done
for claim in {ETC}/*/attachments/*/*; do ! grep -qs '^ovs ' "$claim" || echo applied; done
[ ! -e /etc/openvswitch/conf.db ] || echo database
"""

    fingerprint: ClassVar[str] = rf"""
command -v ovs-vsctl >/dev/null 2>&1 || exit 0
echo "$(systemctl is-enabled {SERVICE}) $(systemctl is-active {SERVICE})" | {systemd_units.STOPPED}
for file in {ORIGINALS}/*/openvswitch; do [ ! -f "$file" ] || echo "$file $(cat "$file")"; done
[ ! -e /etc/openvswitch/conf.db ] || echo database
"""

    inventory: str
    enabled: bool = True
    active: bool = True
    claimed: bool = True
    original: str = field(default="", compare=False)
    other_users: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return SERVICE

    def is_foreign(self) -> None:
        return None  # provision did not create the service; `delete` looks for bridges of others

    def create(self) -> Steps:
        return (Run(("sh", "-c", _START)),)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, OvsDaemon)
        return (record_once(self._record, current.original + "\n"), *self.create())

    def delete(self) -> Steps:
        restored: Steps = tuple(self._restored()) if self.original and not self.other_users else ()
        if restored and self.original.split()[1] != "active":
            # Our bridges are gone by now: others have begun to use the service that we started.
            note = "Open vSwitch was left as it is: others have bridges"
            restored = (Unless(Run(("sh", "-c", _IS_USED)), restored, note=note),)
        # Another user keeps the service as it is; its own record has the original state as well.
        return (*restored, *remove_file(self._record))

    def _restored(self) -> Iterator[Run]:
        enabled, active, *new = self.original.split()
        if active != "active":
            yield sh(_STOP, SERVICE, "ovs-vswitchd.service", "ovsdb-server.service")
        if new:
            yield Run(("rm", "-f", "--", *_DATABASE, _IDENTITY))
        if enabled in ("masked", "disabled"):
            yield Run(("systemctl", "-q", "mask" if enabled == "masked" else "disable", SERVICE))

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        return self.update(self)

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        if before is None:
            return self.delete()  # the package has brought the service, and stays
        assert isinstance(before, OvsDaemon)
        if ours:
            return () if before.active else (Run(("systemctl", "stop", SERVICE)),)
        return before.delete()

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        starts = isinstance(current, OvsDaemon) and not current.active
        return "Open vSwitch starts" if starts else None

    def blocking_reason(self, after: Resource | None) -> str | None:
        if after is not None or self.active or self.other_users:
            return None
        # The database cannot be read now, and its next start would restore our bridges from it.
        return f"Open vSwitch does not run: start it (systemctl start {SERVICE}), then destroy"

    @property
    def _record(self) -> str:
        return f"{ORIGINALS}/{self.inventory}/openvswitch"

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        unit = systemd_units.unit_properties(text).get(SERVICE, {})
        enabled, active = unit.get("UnitFileState", ""), unit.get("ActiveState", "")
        if not enabled:
            return  # no such service: the package is not installed
        lines = keyed_lines(text)
        records = dict(rest.split(" ", 1) for key, rest in lines if key == "was")
        record = records.pop(origin.inventory, None)
        new = "" if ("database", "") in lines else " new"
        # An applied inventory without a record found the service running: a person has stopped or
        # disabled it later, and the repair must not take that for its state before us.
        first = "enabled active" if ("applied", "") in lines else f"{enabled} {active}{new}"
        daemon = cls(
            origin.host,
            origin.inventory,
            enabled == "enabled",
            active == "active",
            claimed=record is not None or not records,
            original=record or next(iter(records.values()), first),
            other_users=tuple(sorted(records)),
        )
        yield Found(daemon, ours=record is not None)
