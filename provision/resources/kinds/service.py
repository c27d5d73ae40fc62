"""Kind `service`: a daemon of a network, as a systemd service of ours."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import ABSENT, Found, Origin, Ref, Resource
from provision.resources.lib.base64_text import decode_text
from provision.resources.on_hosts import KINDS_ON_HOSTS, UNIT_FOLDER, Mark
from provision.resources.steps import Put, Run, Steps, sh

WAIT_S = 45

# One that waits for its peers (etcd for a majority, flanneld for etcd) has started well enough.
_START = """
systemctl reset-failed "$1" 2>/dev/null
timeout "$2" systemctl restart "$1" && exit
[ "$(systemctl is-active "$1")" = activating ] && exit
systemctl --no-pager --lines 5 status "$1"
exit 1
"""
_STOP = """
[ -e "$2" ] || [ -h "$2" ] || exit 0
systemctl -q disable --now "$1"
rm -f -- "$2" && systemctl daemon-reload
systemctl reset-failed "$1" 2>/dev/null
[ ! -e "$2" ]
"""


@dataclass(frozen=True, slots=True)
class Service(Resource):
    """The service `service` with exactly this unit file, enabled and running.

    `needs` are re-created with it, `after` only come before it; the
    file's `head` holds all three, so that they are known when it is found. `stops`: what its end
    means; in place it restarts at once, which says nothing where it is `brief`.
    """

    kind: ClassVar[str] = "service"
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
"""

    fingerprint: ClassVar[str] = rf"""
for file in {UNIT_FOLDER}/provision-*-etcd.service {UNIT_FOLDER}/provision-*-flanneld.service; do
  [ ! -f "$file" ] || echo "$file $(sha256sum <"$file")"
done
"""

    service: str
    mark: Mark
    text: str
    enabled: bool = True
    active: bool = True
    stops: str = field(default="", compare=False)
    brief: bool = field(default=True, compare=False)
    needs: tuple[Ref, ...] = field(default=(), compare=False)
    started_after: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return self.service

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def after(self) -> tuple[Ref, ...]:
        return self.started_after

    def create(self) -> Steps:
        return (
            Put(f"{UNIT_FOLDER}/{self.service}", self.text),
            Run(("systemctl", "daemon-reload")),
            Run(("systemctl", "-q", "enable", self.service)),
            sh(_START, self.service, str(WAIT_S)),
        )

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        return (sh(_STOP, self.service, f"{UNIT_FOLDER}/{self.service}"),)

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:
        ran = isinstance(current, Service) and current.active
        return self.stops or None if ran and (recreated or not self.brief) else None

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        lines = text.splitlines()
        states = _states(lines)
        for line in lines:
            if f" {UNIT_FOLDER}/" not in line:
                continue
            _, encoded, path = line.split(" ", 2)
            content = decode_text(encoded)
            service = path.rsplit("/", 1)[1]
            mark = Mark.of_tag(content.split("\n", 1)[0].removeprefix("# "))
            enabled, active = states.get(service, (ABSENT, ABSENT))
            found = cls(
                host=scope.host,
                service=service,
                mark=mark,
                text=content,
                enabled=enabled == "enabled",
                active=active == "active",
                needs=_refs("needs", content),
                started_after=_refs("after", content),
            )
            yield Found(found, ours=mark.inventory == scope.inventory)


def head(mark: Mark, needs: tuple[Ref, ...], after: tuple[Ref, ...]) -> str:
    """The first lines of a unit file: whose it is, and what it stands on."""
    lines = [f"# {mark.tag}"]
    for word, refs in (("needs", needs), ("after", after)):
        lines += [f"# {word} {ref.host} {_kind_on_host(ref)} {ref.name}" for ref in refs]
    return "\n".join(lines)


def _kind_on_host(ref: Ref) -> str:
    return KINDS_ON_HOSTS.get(ref.kind, ref.kind)


def _refs(word: str, text: str) -> tuple[Ref, ...]:
    """The references in a unit file, whose kinds may have the names of version 0.1.0."""
    kinds = {old: kind for kind, old in KINDS_ON_HOSTS.items()}
    lines = re.findall(rf"^# {word} (\S+) (\S+) (.+)$", text, re.M)
    return tuple(Ref(host, kinds.get(kind, kind), name) for host, kind, name in lines)


def _states(lines: list[str]) -> dict[str, tuple[str, str]]:
    """Of each service whether it is enabled and whether it runs."""
    found: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in lines:
        key, sign, value = line.partition("=")
        if not line:
            current = {}
        elif sign and " " not in key:
            current[key] = value
            if "Id" in current:
                found[current["Id"]] = current
    return {
        name: (words.get("UnitFileState", ""), words.get("ActiveState", ""))
        for name, words in found.items()
    }
