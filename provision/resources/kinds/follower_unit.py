"""Kind `unit`: a systemd service of ours, enabled and running."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.lib.base64_text import decode_text
from provision.resources.steps import Put, Run, Steps, Unless, sh

FOLDER = "/etc/systemd/system"
ABLE = ("systemctl", "-q", "--no-reload")


@dataclass(frozen=True, slots=True)
class FollowerUnit(Resource):
    """The service `service` with exactly this unit file."""

    kind: ClassVar[str] = "systemd_unit"
    runs_last: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
need systemctl
unit=provision-$name-follow.service
if [ -e "{FOLDER}/$unit" ] || [ -h "{FOLDER}/$unit" ]; then
  printf '%s\n' "$units"
  files "{FOLDER}/$unit"
fi
"""
    fingerprint: ClassVar[str] = rf"""
need systemctl
for unit in {FOLDER}/provision-*-follow.service; do
  [ -f "$unit" ] || continue
  sha256sum <"$unit"
  unit=${{unit##*/}}; echo "$unit $(systemctl is-enabled "$unit") $(systemctl is-active "$unit")"
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

    def create(self) -> Steps:
        return (
            Put(f"{FOLDER}/{self.service}", self.text),
            # One reload does for both: it takes the longest of all this.
            Run((*ABLE, "enable" if self.enabled else "disable", self.service)),
            Run(("systemctl", "daemon-reload")),
            Run(("systemctl", "restart" if self.active else "stop", self.service)),
        )

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        return (
            # Without its file it cannot be disabled, but it may run still.
            Unless(
                Run(("test", "!", "-e", f"{FOLDER}/{self.service}")),
                (Run((*ABLE, "disable", self.service)),),
            ),
            sh('systemctl stop "$1" 2>/dev/null; :', self.service),
            Run(("rm", "-f", "--", f"{FOLDER}/{self.service}")),
            Run(("systemctl", "daemon-reload")),
            # A unit that failed stays listed as such without its file.
            sh('systemctl reset-failed "$1" 2>/dev/null; :', self.service),
        )

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        if not text:
            return
        state = dict(line.partition("=")[::2] for line in text.rsplit("\n\n", 1)[-1].splitlines())
        # A link or a folder in its place has no content, and is not as we want it.
        file = text.rsplit("\n", 1)[-1].split(" ")
        content = decode_text(file[1]) if len(file) == 3 else ""
        unit = cls(
            scope.host,
            f"provision-{scope.inventory}-follow.service",
            scope.inventory,
            content,
            enabled=state["UnitFileState"] == "enabled",
            active=state["ActiveState"] == "active",
        )
        yield Found(unit, ours=True)
