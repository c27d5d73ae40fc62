"""One script that looks at a host for every kind; its output → facts and states. Pure."""

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
"""Bytes of a look that are read; a host that says more is not believed."""

# What reading an answer that is not one may raise; the last of JSON that nests without end.
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
_OVS_TABLES = ";".join(f"{line}s/^/{word} /" for line, word in enumerate(ovsdb.TABLES, 1))
# Answers that several kinds read are asked for once: `shared WORD` in a probe stands for them.
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
    """One host as found: what carries our mark, and what stands there without it."""

    facts: HostFacts
    ours: State
    foreign: State


def script(
    inventory: str, peers: Iterable[str], *, nonce: str, asked: Mapping[str, str] | None = None
) -> str:
    """The script of one look; `peers` are the addresses whose ways are asked for.

    `asked` are addresses of the LAN for which is asked before the first apply, with the word of
    `checks/lan.pl` for what is expected: `own` (nobody has it) or `router` (somebody has).
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
        lines += _section(section, f"(\n{probe.strip()}\n)", nonce)
    return "\n".join(lines) + "\n"


def _section(name: str, probe: str, nonce: str) -> tuple[str, str, str]:
    return (
        f"printf '\\n@{nonce} begin {name}\\n'",
        probe,
        f"status=$?; printf '\\n@{nonce} end {name} %s\\n' \"$status\"",
    )


def parse(host: str, inventory: str, output: Output, *, nonce: str) -> HostSnapshot:
    """Read one look. Raises FactsError when any part of it is missing or cannot be read."""
    printed = sections(host, output, nonce=nonce)
    seen: list[Found] = []
    for kind in kinds.all_kinds():
        text = printed[kind.kind]
        if text != ABSENT:
            seen += _parse_kind(kind, text, Origin(host, inventory))
    ours = state(one.resource for one in seen if one.ours)
    foreign = state(one.resource for one in seen if not one.ours)
    try:
        facts = host_probe.parse(host, printed["host"])
    except _UNREADABLE as error:
        raise FactsError(host, f"its facts cannot be read: {error}") from error
    return HostSnapshot(facts, ours, foreign)


def _parse_kind(kind: type[Resource], text: str, scope: Origin) -> list[Found]:
    try:
        return list(kind.parse(text, scope))
    except _UNREADABLE as error:
        raise FactsError(scope.host, f"its {kind.kind} state cannot be read: {error!r}") from error


def sections(host: str, output: Output, *, nonce: str) -> dict[str, str]:
    """What each probe printed in one look. Raises FactsError."""
    if len(output.stdout) > SIZE_LIMIT:
        raise FactsError(host, f"it printed more than {SIZE_LIMIT} bytes when looked at")
    pattern = re.compile(rf"^@{nonce} begin (\w+)\n(.*?)\n@{nonce} end \1 (\d+)$", re.M | re.S)
    found = {match[1]: match for match in pattern.finditer(output.stdout)}
    expected = ["shared", "host", *(kind.kind for kind in kinds.all_kinds())]
    for section in expected:
        match = found.get(section)
        if match is None or match[3] != "0":
            tail = (
                output.stderr.strip()[-500:]
                or f"exit status {match[3] if match else output.status}"
            )
            raise FactsError(host, f"looking at its {section} state failed: {tail}")
    answers: dict[str, list[str]] = {}
    for line in found["shared"][2].splitlines():
        answers.setdefault(line.partition(" ")[0], []).append(line)
    return {section: _expanded(found[section][2].strip(), answers) for section in expected[1:]}


def _expanded(text: str, answers: dict[str, list[str]]) -> str:
    """A section with the shared answers where its probe asked for them."""
    lines = text.splitlines()
    whole = [answers.get(line[2:], []) if line.startswith("@@") else [line] for line in lines]
    return "\n".join(line for part in whole for line in part)
