"""Kind `systemd_unit`: the follower of an inventory as a systemd service, enabled and running.

The follower repeats the `create` steps of all volatile resources after a reboot, at every start of
a container, and whenever an interface that they depend on changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.lib import systemd_units
from provision.resources.lib.base64_text import decode_text
from provision.resources.on_hosts import UNIT_FOLDER, Mark, follower_name
from provision.resources.steps import Put, Run, Steps, Unless, sh

_ENABLING = ("systemctl", "-q", "--no-reload")  # then `enable` or `disable`, and the service


@dataclass(frozen=True, slots=True)
class FollowerUnit(Resource):
    """The service `service` with exactly the unit file `text`."""

    kind: ClassVar[str] = "systemd_unit"
    # A follower that runs during a removal would create again what is being removed.
    runs_last: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
need systemctl
unit=provision-$name-follow.service
if [ -e "{UNIT_FOLDER}/$unit" ] || [ -h "{UNIT_FOLDER}/$unit" ]; then
  printf '%s\n' "$units"
  files "{UNIT_FOLDER}/$unit"
fi
"""
    fingerprint: ClassVar[str] = rf"""
need systemctl
for unit in {UNIT_FOLDER}/provision-*-follow.service; do
  [ -f "$unit" ] || continue
  sha256sum <"$unit"
  unit=${{unit##*/}}
  echo "$unit $(systemctl is-enabled "$unit") $(systemctl is-active "$unit")" |
    {systemd_units.STOPPED}
done
"""

    service: str
    inventory: str
    text: str
    enabled: bool = True
    active: bool = True
    needs: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return self.service

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def is_foreign(self) -> Run:
        return systemd_units.is_foreign(self.service, self.inventory)

    def create(self) -> Steps:
        return (
            Put(f"{UNIT_FOLDER}/{self.service}", self.text),
            # --no-reload: one daemon-reload, the slowest of these steps, is enough.
            Run((*_ENABLING, "enable" if self.enabled else "disable", self.service)),
            Run(("systemctl", "daemon-reload")),
            Run(("systemctl", "restart" if self.active else "stop", self.service)),
        )

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        return (
            # A service without a unit file cannot be disabled, but it may still run.
            Unless(
                Run(("test", "!", "-e", f"{UNIT_FOLDER}/{self.service}")),
                (Run((*_ENABLING, "disable", self.service)),),
            ),
            sh('systemctl stop "$1" 2>/dev/null; :', self.service),
            Run(("rm", "-f", "--", f"{UNIT_FOLDER}/{self.service}")),
            Run(("systemctl", "daemon-reload")),
            # systemd still lists a failed unit after its file is removed.
            sh('systemctl reset-failed "$1" 2>/dev/null; :', self.service),
        )

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        if not text:
            return
        # The last paragraph of `systemctl show` is the follower's. The unit file is the last line,
        # unless a link or a folder has taken its path.
        paragraph = text.rsplit("\n\n", 1)[-1]
        properties = dict(line.partition("=")[::2] for line in paragraph.splitlines())
        file = text.rsplit("\n", 1)[-1].split(" ")
        content = decode_text(file[1]) if len(file) == 3 else ""
        unit = cls(
            origin.host,
            follower_name(origin.inventory),
            origin.inventory,
            content,
            enabled=properties["UnitFileState"] == "enabled",
            active=properties["ActiveState"] == "active",
        )
        # An empty file, or a link in its place, is our unit, damaged.
        ours = not content or content.startswith(f"# {Mark(origin.inventory).tag}\n")
        yield Found(unit, ours)
