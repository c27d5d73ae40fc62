"""Kind `service`: a daemon of a network as a systemd service."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.lib import systemd_units
from provision.resources.lib.base64_text import decode_text
from provision.resources.on_hosts import (
    KINDS_ON_HOSTS,
    UNIT_FOLDER,
    Mark,
    follower_name,
    service_name,
)
from provision.resources.steps import Put, Run, Steps, sh

PROGRAMS = ("etcd", "flanneld", "wireguard", "dns", "bgp", "evpn")
"""The programs of services, behind the name of the network."""
WAIT_S = 45
"""Seconds that `create` waits for the service to start."""

# reset-failed: systemd refuses to start a unit that has failed too often (StartLimitBurst).
# A service that waits for other hosts (etcd for a majority, flanneld for etcd) stays `activating`
# for now; that is no failure.
_START = """
systemctl reset-failed "$1" 2>/dev/null
timeout "$2" systemctl "$3" "$1" && exit
[ "$(systemctl is-active "$1")" = activating ] && exit
systemctl --no-pager --lines 5 status "$1"
exit 1
"""
# A link in the place of the unit file (`-h`) may be dangling, so that `-e` alone would not see it.
_STOP = """
[ -e "$2" ] || [ -h "$2" ] || exit 0
routes=$(sed -n 's/^# routes //p' "$2" 2>/dev/null)
systemctl -q disable --now "$1"
# A daemon that had been stopped before, or killed, has left its routes.
for protocol in $(echo "${routes%% *}" | tr , ' '); do
  for range in ${routes#* }; do ip -4 route flush proto "$protocol" root "$range"; done
done
rm -f -- "$2" && systemctl daemon-reload
systemctl reset-failed "$1" 2>/dev/null
[ ! -e "$2" ]
"""


@dataclass(frozen=True, slots=True)
class Service(Resource):
    """The service `service` with exactly the unit file `text`, enabled and running.

    The first lines of the unit file (`head`) hold `mark`, `needs` and `started_after`, so that
    `parse` can read them. `stop_effect` describes what stops working while the service is stopped;
    with `restarts_quietly` a restart is too short to be reported. `first_start` are steps that
    start it in place of a plain restart, and `before_undo` steps of a rollback before it stops.
    A line `# routes 186,241 172.27.0.0/16 10.200.0.0/16` names the routes that the daemon makes
    (`daemon_range`).
    `stopped` is True if it was stopped, and does not wait for others.
    """

    kind: ClassVar[str] = "service"
    only_where: ClassVar[tuple[str, ...]] = (f'{UNIT_FOLDER}/provision-"$name"-*.service',)
    probe: ClassVar[str] = rf"""
need systemctl
set --
for path in {UNIT_FOLDER}/provision-"$name"-*.service; do
  case $path in */provision-"$name"-follow.service) continue ;; esac
  [ -f "$path" ] || continue
  set -- "$@" "${{path##*/}}"
  files "$path"
done
[ $# = 0 ] || systemctl show --property Id,ActiveState,UnitFileState "$@"
for path in {UNIT_FOLDER}/provision-*-follow.service; do
  [ ! -f "$path" ] || echo "follower ${{path##*/}}"
done
"""

    fingerprint: ClassVar[str] = rf"""
for file in {" ".join(f"{UNIT_FOLDER}/provision-*-{program}.service" for program in PROGRAMS)}; do
  [ ! -f "$file" ] || echo "$file $(sha256sum <"$file")"
done
"""

    service: str
    mark: Mark
    text: str
    enabled: bool = True
    active: bool = True
    stop_effect: str = field(default="", compare=False)
    restarts_quietly: bool = field(default=True, compare=False)
    needs: tuple[Ref, ...] = field(default=(), compare=False)
    started_after: tuple[Ref, ...] = field(default=(), compare=False)
    first_start: Steps = field(default=(), compare=False, repr=False)
    before_undo: Steps = field(default=(), compare=False, repr=False)
    stopped: bool = field(default=False, compare=False, repr=False)

    @property
    def name(self) -> str:
        return self.service

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def after(self) -> tuple[Ref, ...]:
        return self.started_after

    def is_foreign(self) -> Run:
        return systemd_units.is_foreign(self.service, self.mark.inventory)

    def create(self) -> Steps:
        return (*self._install, *(self.first_start or (restart(self.service),)))

    @property
    def _install(self) -> Steps:
        return (
            Put(f"{UNIT_FOLDER}/{self.service}", self.text),
            Run(("systemctl", "daemon-reload")),
            Run(("systemctl", "-q", "enable", self.service)),
        )

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        return (sh(_STOP, self.service, f"{UNIT_FOLDER}/{self.service}"),)

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        # A start would make the folders of the service again, and the rollback would not be whole.
        if self._emptied or self.stopped:
            return self._emptied or self._install
        # Not a restart: a daemon that the change has not stopped yet has what its peers know.
        return (*self._install, sh(_START, self.service, str(WAIT_S), "start"))

    @property
    def _emptied(self) -> Steps:
        """Steps back to an empty file, by which systemd neither starts nor enables a service."""
        path, stop = f"{UNIT_FOLDER}/{self.service}", 'systemctl stop "$1" 2>/dev/null; :'
        steps = (sh(stop, self.service), Put(path, ""), Run(("systemctl", "daemon-reload")))
        return () if self.text else steps

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        if isinstance(before, Service) and before._emptied:
            return (*self.before_undo, *before._emptied)
        return (*self.before_undo, *Resource.undo(self, before, ours=ours))

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:
        before = current if isinstance(current, Service) else self
        if not before.text:
            return f"service {self.service} is ours, damaged: its unit file is empty"
        ran = isinstance(current, Service) and current.active
        reported = ran and (recreated or not self.restarts_quietly)
        return self.stop_effect or None if reported else None

    def drift_cause(self) -> str:
        return "" if self.active else f"{self.service} does not run"

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        units, known = systemd_units.unit_properties(text), _known(text, origin)
        for line in text.splitlines():
            if f" {UNIT_FOLDER}/" in line:
                _, encoded, path = line.split(" ", 2)
                name = path.rsplit("/", 1)[1]
                service = _service(name, decode_text(encoded), units.get(name, {}), origin.host)
                if not service.text and name in known:
                    service = replace(service, mark=known[name])
                yield Found(service, ours=service.mark.inventory == origin.inventory)


def _known(text: str, origin: Origin) -> dict[str, Mark]:
    """The marks of the services that only this inventory may have: an empty file has lost its own.

    A name with several hyphens may also be that of another inventory with a follower on the host.
    """
    followers = {
        line.removeprefix("follower ") for line in text.splitlines() if line.startswith("follower ")
    } - {follower_name(origin.inventory)}
    prefixes = [name.removesuffix("follow.service") for name in followers]
    names = {
        service_name(origin.inventory, network, program): Mark(origin.inventory, network)
        for network, _ in origin.networks
        for program in PROGRAMS
    }
    return {
        name: mark
        for name, mark in names.items()
        # Of another inventory, the name also has a network and a program.
        if not any(name.startswith(start) and "-" in name[len(start) :] for start in prefixes)
    }


def restart(service: str) -> Run:
    """Restart a service, and wait until it has started."""
    return sh(_START, service, str(WAIT_S), "restart")


def _service(name: str, text: str, properties: dict[str, str], host: str) -> Service:
    first_line = text.split("\n", 1)[0]
    return Service(
        host=host,
        service=name,
        mark=Mark.of_tag(first_line.removeprefix("# ")),
        text=text,
        enabled=properties.get("UnitFileState") == "enabled",
        active=properties.get("ActiveState") == "active",
        stopped=properties.get("ActiveState") in ("inactive", "failed"),
        needs=_refs("needs", text),
        started_after=_refs("after", text),
    )


def head(mark: Mark, needs: tuple[Ref, ...], after: tuple[Ref, ...]) -> str:
    """The first lines of a unit file: the mark, and the refs of `requires` and `after`."""
    lines = [f"# {mark.tag}"]
    for keyword, refs in (("needs", needs), ("after", after)):
        lines += [f"# {keyword} {ref.host} {_kind_on_host(ref)} {ref.name}" for ref in refs]
    return "\n".join(lines)


def _kind_on_host(ref: Ref) -> str:
    return KINDS_ON_HOSTS.get(ref.kind, ref.kind)


def _refs(keyword: str, text: str) -> tuple[Ref, ...]:
    """The refs in a unit file, whose kinds may have the names of version 0.1.0."""
    kinds = {old: kind for kind, old in KINDS_ON_HOSTS.items()}
    lines = re.findall(rf"^# {keyword} (\S+) (\S+) (.+)$", text, re.M)
    return tuple(Ref(host, kinds.get(kind, kind), name) for host, kind, name in lines)
