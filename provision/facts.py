"""One script that looks at a host for every kind; its output → facts and states. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from provision import hostfacts, resources
from provision.errors import FactsError
from provision.hostfacts import HostFacts
from provision.resource import ABSENT, Resource, Scope, Seen, State, state
from provision.script import PRELUDE
from provision.transport import Output

SIZE_LIMIT = 8 * 2**20
"""Bytes of a look that are read; a host that says more is not believed."""

_HELPERS = r"""
docker_format='{"version":{{json .ServerVersion}},"live_restore":{{json .LiveRestoreEnabled}},'
docker_format=$docker_format'"security":{{json .SecurityOptions}}}'
docker= docker_error='docker is not installed'
if command -v docker >/dev/null 2>&1; then
  docker=$(docker info --format "$docker_format" 2>/dev/null) &&
  case $docker in '{"version":""'*) false ;; esac || {
    docker= docker_error='its daemon does not answer'
  }
fi
need() { command -v "$1" >/dev/null 2>&1 || { echo @absent; exit 0; }; }
need_docker() { [ -n "$docker" ] || { echo @absent; exit 0; }; }
inspect() { # format, what, names
  format=$1 what=$2; shift 2
  [ $# = 0 ] || docker "$what" inspect --format "$format" "$@"
}
twice() { # a probe of several objects, of which one may vanish while it asks
  answer=$("$@") || answer=$("$@") || exit 1
  printf '%s\n' "$answer"
}
files() { # path, mode and content of each file
  for path in "$@"; do
    [ -f "$path" ] && [ ! -h "$path" ] || continue
    printf '%s %s %s\n' "$(stat -c %a "$path")" "$(base64 -w0 <"$path")" "$path" || exit 1
  done
}
"""


@dataclass(frozen=True, slots=True)
class Look:
    """One host as found: what carries our mark, and what stands there without it."""

    facts: HostFacts
    found: State
    foreign: State


def script(inventory: str, peers: Iterable[str], *, nonce: str) -> str:
    """The script of one look; `peers` are the addresses whose ways are asked for."""
    lines = [
        PRELUDE,
        f"name={shlex.quote(inventory)}",
        f"peers={shlex.quote(' '.join(peers))}",
        f"tools={shlex.quote(' '.join(hostfacts.TOOLS))}",
        _HELPERS,
    ]
    probes = {"host": hostfacts.PROBE} | {kind.kind: kind.probe for kind in resources.kinds()}
    for section, probe in probes.items():
        lines.append(f"printf '\\n@{nonce} begin {section}\\n'")
        lines.append(f"(\n{probe.strip()}\n)")
        lines.append(f"status=$?; printf '\\n@{nonce} end {section} %s\\n' \"$status\"")
    return "\n".join(lines) + "\n"


def parse(host: str, inventory: str, output: Output, *, nonce: str) -> Look:
    """Read one look. Raises FactsError when any part of it is missing or cannot be read."""
    sections = _sections(host, output, nonce=nonce)
    seen: list[Seen] = []
    for kind in resources.kinds():
        text = sections[kind.kind]
        if text != ABSENT:
            seen += _parse_kind(kind, text, Scope(host, inventory))
    ours = state(one.resource for one in seen if one.ours)
    foreign = state(one.resource for one in seen if not one.ours)
    try:
        facts = hostfacts.parse(host, sections["host"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise FactsError(host, f"its facts cannot be read: {error}") from error
    return Look(facts, ours, foreign)


def _parse_kind(kind: type[Resource], text: str, scope: Scope) -> list[Seen]:
    try:
        return list(kind.parse(text, scope))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise FactsError(scope.host, f"its {kind.kind} state cannot be read: {error!r}") from error


def _sections(host: str, output: Output, *, nonce: str) -> dict[str, str]:
    if len(output.stdout) > SIZE_LIMIT:
        raise FactsError(host, f"it printed more than {SIZE_LIMIT} bytes when looked at")
    pattern = re.compile(rf"^@{nonce} begin (\w+)\n(.*?)\n@{nonce} end \1 (\d+)$", re.M | re.S)
    found = {match[1]: match for match in pattern.finditer(output.stdout)}
    expected = ["host", *(kind.kind for kind in resources.kinds())]
    for section in expected:
        match = found.get(section)
        if match is None or match[3] != "0":
            tail = (
                output.stderr.strip()[-500:]
                or f"exit status {match[3] if match else output.status}"
            )
            raise FactsError(host, f"looking at its {section} state failed: {tail}")
    return {section: found[section][2].strip() for section in expected}
