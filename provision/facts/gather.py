"""The snapshot of a host: one script with the probes of every kind, and its output read. Pure.

Each probe prints between two marker lines that carry a random nonce, so that nothing on the host
can forge a section, and the second one carries its exit status.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from provision.facts import host_probe, nics
from provision.facts.host import HostFacts
from provision.model.errors import FactsError
from provision.resources import kinds
from provision.resources.base import ABSENT, Found, Origin, Resource, State, state
from provision.resources.lib import docker_api, ovsdb
from provision.resources.script import BOUNDED, PRELUDE
from provision.transport.base import Output

SIZE_LIMIT = 8 * 2**20
"""The largest snapshot in bytes; a larger one is an error, never read in part."""

# Parsers raise these for malformed output; RecursionError comes from deeply nested JSON.
_UNREADABLE = (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError)
_HELPERS = r"""
docker= docker_error='docker is not installed' ovs=
need() { command -v "$1" >/dev/null 2>&1 || { echo @absent; exit 0; }; }
need_docker() { # what it says is not there is not there; what cannot be read is an error
  [ "$docker" != cut ] || { echo 'Docker says more than 8 MiB of what it has' >&2; exit 1; }
  [ -n "$docker" ] || { echo @absent; exit 0; }
}
need_ovs() { # nothing where it does not run; it is an error when it does and gives no answer
  [ -n "$ovs" ] || exit 0
  [ "$ovs" = yes ] || { echo 'Open vSwitch does not answer' >&2; exit 1; }
}
shared() { for word in "$@"; do echo "@@$word"; done; }
files() { # path, mode and content of each file
  for path in "$@"; do
    [ -f "$path" ] && [ ! -h "$path" ] || continue
    text=$(head -c 1048576 "$path" | base64 -w0)
    printf '%s %s %s\n' "$(stat -c %a "$path")" "$text" "$path" || exit 1
  done
}
"""
_OVS_TABLES = ";".join(f"{line}s/^/{table} /" for line, table in enumerate(ovsdb.TABLES, 1))
# Output that several kinds read is gathered once: `shared KEY` in a probe stands for its lines.
_SHARED = rf"""
if command -v docker >/dev/null 2>&1; then
  docker_error='its daemon does not answer'
  command -v perl >/dev/null 2>&1 || docker_error='perl is missing, which asks it'
  answers=$(bounded {docker_api.ASK})
  case $? in 0) docker=yes; printf '%s\n' "$answers" ;; 3) docker=cut ;; esac
fi
if command -v ip >/dev/null 2>&1; then
  {{
    echo 'address show'; echo 'route show table main'; echo 'route show table all'
    for peer in $peers; do echo "route get $peer"; done
  }} | ip -N -j -force -batch - 2>/dev/null |
    sed '1s/^/addresses /;2s/^/routes /;3s/^/every_route /;4,$s/^/way /'
fi
# Not its socket: on some hosts systemd listens there, and asking would start it.
database=$(cat /run/openvswitch/ovsdb-server.pid 2>/dev/null)
if [ -n "$database" ] && kill -0 "$database" 2>/dev/null; then
  ovs=no
  tables=$(bounded {ovsdb.ASK}) && ovs=yes && # `answers` are Docker's, which probes read
    printf '%s\n' "$tables" | sed '{_OVS_TABLES}'
fi
if command -v systemctl >/dev/null 2>&1; then
  units=$(bounded systemctl show --property Id,MainPID,ActiveState,UnitFileState docker.service \
    openvswitch-switch.service "provision-$name-follow.service") ||
    units= # where systemd is not the init
fi
for ctl in /etc/provision/"$name"/etcdctl-*; do
  [ -x "$ctl" ] || continue
  answer=$(bounded "$ctl" --command-timeout=3s get --prefix / -w json 2>/dev/null) || answer=down
  printf 'etcd %s %s\n' "${{ctl##*/etcdctl-}}" "$answer"
done
"""


@dataclass(frozen=True, slots=True)
class HostSnapshot:
    """One host at one moment: resources with our mark, and those of others."""

    facts: HostFacts
    ours: State
    foreign: State


def script(
    inventory: str, peers: Iterable[str], *, nonce: str, asked: Mapping[str, str] | None = None
) -> str:
    """The script of one snapshot; `peers` are the addresses to which routes are read.

    `asked` are addresses of the LAN to probe by ARP before the first apply, each with its check of
    `checks/lan.pl`: `own` (no machine may have it) or `router` (one machine must).
    """
    lines = [
        PRELUDE,
        f"name={shlex.quote(inventory)}",
        f"peers={shlex.quote(' '.join(peers))}",
        f"tools={shlex.quote(' '.join(host_probe.TOOLS))}",
        BOUNDED,
        _HELPERS,
        *nics.arp_variables(asked or {}),
    ]
    probes = {"host": host_probe.PROBE} | {kind.kind: kind.probe for kind in kinds.all_kinds()}
    lines += _section("shared", _SHARED.strip(), nonce)
    for section, probe in probes.items():
        # A subshell: a probe may exit, and its variables are its own.
        lines += _section(section, f"(\n{probe.strip()}\n)", nonce)
    return "\n".join(lines) + "\n"


def _section(name: str, probe: str, nonce: str) -> tuple[str, str, str]:
    return (
        f"printf '\\n@{nonce} begin {name}\\n'",
        probe,
        f"status=$?; printf '\\n@{nonce} end {name} %s\\n' \"$status\"",
    )


def parse(host: str, inventory: str, output: Output, *, nonce: str) -> HostSnapshot:
    """Read one snapshot. Raises FactsError when any part of it is missing or malformed."""
    texts = sections(host, output, nonce=nonce)
    origin = Origin(host, inventory)
    resources = [
        entry
        for kind in kinds.all_kinds()
        if texts[kind.kind] != ABSENT
        for entry in _parse_kind(kind, texts[kind.kind], origin)
    ]
    ours = state(entry.resource for entry in resources if entry.ours)
    foreign = state(entry.resource for entry in resources if not entry.ours)
    try:
        facts = host_probe.parse(host, texts["host"])
    except _UNREADABLE as error:
        raise FactsError(host, f"its facts cannot be read: {error!r}") from error
    return HostSnapshot(facts, ours, foreign)


def _parse_kind(kind: type[Resource], text: str, origin: Origin) -> list[Found]:
    try:
        return list(kind.parse(text, origin))
    except _UNREADABLE as error:
        message = f"its {kind.kind} state cannot be read: {error!r}"
        raise FactsError(origin.host, message) from error


def sections(host: str, output: Output, *, nonce: str) -> dict[str, str]:
    """The text of each probe of one snapshot, by section. Raises FactsError."""
    if len(output.stdout) > SIZE_LIMIT:
        raise FactsError(host, f"its snapshot is larger than {SIZE_LIMIT} bytes")
    pattern = re.compile(rf"^@{nonce} begin (\w+)\n(.*?)\n@{nonce} end \1 (\d+)$", re.M | re.S)
    matches = {match[1]: match for match in pattern.finditer(output.stdout)}
    expected = ["host", *(kind.kind for kind in kinds.all_kinds())]
    for section in ("shared", *expected):
        _require_success(host, section, matches.get(section), output)
    shared: dict[str, list[str]] = {}
    for line in matches["shared"][2].splitlines():
        shared.setdefault(line.partition(" ")[0], []).append(line)
    return {section: _expanded(matches[section][2].strip(), shared) for section in expected}


def _require_success(host: str, section: str, match: re.Match[str] | None, output: Output) -> None:
    if match is None or match[3] != "0":
        status = match[3] if match else output.status
        detail = output.stderr.strip()[-500:] or f"exit status {status}"
        raise FactsError(host, f"reading its {section} state failed: {detail}")


def _expanded(text: str, shared: Mapping[str, list[str]]) -> str:
    """A section with the shared lines in place of each `@@KEY`."""
    lines = text.splitlines()
    parts = [shared.get(line[2:], []) if line.startswith("@@") else [line] for line in lines]
    return "\n".join(line for part in parts for line in part)
