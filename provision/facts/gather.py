"""The snapshot of a host: one script with the probes of every kind, and its output read. Pure.

Each probe prints between two marker lines. They carry a random nonce, so that text from the host
(a container's label, a file) is never taken for a marker; the second one carries the exit status.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

from provision.facts import firewall as firewalls
from provision.facts import host_probe
from provision.facts.host import HostFacts
from provision.facts.peer_routes import Addresses
from provision.facts.probe import FactsProbe
from provision.model.errors import FactsError
from provision.model.reading import reading, require_types
from provision.resources import kinds
from provision.resources.base import ABSENT, Found, Origin, Resource, State, secret_fields, state
from provision.resources.kinds.firewall_rule import FirewallRule
from provision.resources.kinds.iptables_chain import IptablesChain
from provision.resources.kinds.nft_table import OwnNftTable
from provision.resources.kinds.package import EVERYWHERE, NEWER_PACKAGE, PACKAGES
from provision.resources.lib import docker_api
from provision.resources.lib.shared_json import one_snapshot
from provision.resources.render import program_text
from provision.resources.script import PRELUDE
from provision.transport.base import Output

SIZE_LIMIT = 8 * 2**20
"""The largest snapshot in bytes; a larger one is an error, never read in part."""

_HELPERS = ("look/bounded.sh", "look/need.sh", "look/prelude.sh")


@dataclass(frozen=True, slots=True)
class HostSnapshot:
    """One host at one moment: resources with our mark, and those of others."""

    facts: HostFacts
    ours: State
    foreign: State


def script(
    inventory: str,
    peers: Iterable[str],
    *,
    nonce: str,
    probes: Iterable[FactsProbe] = (),
    tools: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    ports: Iterable[str] = (),
) -> str:
    """The script of one snapshot; `peers` are the addresses to which routes are read.

    `probes` are those of the methods that the host's networks use, `tools` the commands that they
    need, with the packages of those that the kind `package` does not know, and `ports` those that
    they take, such as `udp/4789`.
    """
    lines = [
        PRELUDE,
        f"name={shlex.quote(inventory)}",
        f"peers={shlex.quote(' '.join(peers))}",
        f"tools={shlex.quote(' '.join(dict.fromkeys((*host_probe.TOOLS, *tools))))}",
        f"packages={shlex.quote(_packages(tools))}",
        f"ports={shlex.quote(' '.join(dict.fromkeys(ports)))}",
        f"docker_program={shlex.quote(docker_api.snapshot_program())}",
        program_text(*_HELPERS),
    ]
    sections = {"host": _apart(host_probe.probe())}
    sections |= {kind.kind: _of_kind(kind) for kind in kinds.all_kinds()}
    sections |= {probe.section: _apart(probe.script) for probe in probes}
    lines += _section("shared", program_text("look/shared.sh").strip(), nonce)
    for section, probe in sections.items():
        lines += _section(section, probe, nonce)
    return "\n".join(lines) + "\n"


def _of_kind(kind: type[Resource]) -> str:
    probe = _apart(kind.probe)
    if not kind.only_where:
        return probe
    return f"if exists {' '.join(kind.only_where)}; then\n{probe}\nelse echo {ABSENT}; fi"


def _apart(probe: str) -> str:
    """The probe in a subshell: `need` ends a probe by `exit`, and its variables stay apart."""
    return f"(\n{probe.strip()}\n)"


def _packages(tools: Mapping[str, tuple[str, ...]]) -> str:
    """A line for each command that the host needs: the command, the package that newer releases
    have it in (or `-`), and its packages."""
    of_tools = {**dict.fromkeys(EVERYWHERE, ()), **tools}
    packages = {tool: PACKAGES.get(tool) or names for tool, names in of_tools.items()}
    return "".join(
        f"{tool} {NEWER_PACKAGE.get(tool, '-')} {' '.join(names)}\n"
        for tool, names in packages.items()
        if names
    )


def _section(name: str, probe: str, nonce: str) -> tuple[str, str, str]:
    return (
        f"printf '\\n@{nonce} begin {name}\\n'",
        probe,
        f"status=$?; printf '\\n@{nonce} end {name} %s\\n' \"$status\"",
    )


def parse(
    host: str,
    inventory: str,
    output: Output,
    *,
    nonce: str,
    probes: Iterable[FactsProbe] = (),
    networks: Mapping[str, IPv4Network] | None = None,
    fleet: Addresses | None = None,
    address: IPv4Address | None = None,
) -> HostSnapshot:
    """Read one snapshot. Raises FactsError when any part of it is missing or malformed.

    `networks` are the ranges of the inventory's networks, by name; `fleet` are the addresses of all
    hosts, and `address` that of this one.
    """
    probes = tuple(probes)
    texts = sections(host, output, nonce=nonce, probes=probes)
    with one_snapshot():
        origin = Origin(host, inventory, tuple(sorted((networks or {}).items())))
        return _snapshot(origin, texts, probes, fleet, address)


def _snapshot(
    origin: Origin,
    texts: Mapping[str, str],
    probes: tuple[FactsProbe, ...],
    fleet: Addresses | None,
    address: IPv4Address | None,
) -> HostSnapshot:
    host = origin.host
    resources = [
        entry
        for kind in kinds.all_kinds()
        if texts[kind.kind] != ABSENT
        for entry in _parse_kind(kind, texts[kind.kind], origin)
    ]
    with reading(host, "resources", ""):
        ours = state(entry.resource for entry in resources if entry.ours)
        foreign = state(entry.resource for entry in resources if not entry.ours)
    with reading(host, "facts", texts["host"]):
        facts = host_probe.parse(host, texts["host"], fleet, address)
        require_types(facts)
    # A Docker that is stopped does not tell its backend, but tables of ours are only for one.
    tables = any(isinstance(resource, OwnNftTable) for resource in ours.values())
    facts = replace(facts, nftables_backend=facts.nftables_backend or (tables and not facts.docker))
    rules = texts.get(IptablesChain.kind, ABSENT)
    firewall = replace(
        facts.firewall,
        table=firewalls.table(rules, "filter"),
        nat=firewalls.table(rules, "nat"),
        is_read=rules != ABSENT,
        docker_nftables=facts.nftables_backend,
        # Also those of which somebody has deleted the claim.
        claims=facts.firewall.claims
        | {rule.claim for rule in ours.values() if isinstance(rule, FirewallRule)},
    )
    facts = replace(facts, firewall=firewall)
    of_methods = [_parse_facts(host, probe, texts[probe.section]) for probe in probes]
    facts = replace(facts, of_methods={type(value): value for value in of_methods})
    return HostSnapshot(facts, ours, foreign)


def _parse_facts(host: str, probe: FactsProbe, text: str) -> object:
    with reading(host, f"{probe.section} facts", text):
        facts = probe.parse(text)
        require_types(facts)
        return facts


def _parse_kind(kind: type[Resource], text: str, origin: Origin) -> list[Found]:
    is_secret = bool(secret_fields(kind))
    with reading(origin.host, f"{kind.kind} state", text, is_secret=is_secret):
        entries = list(kind.parse(text, origin))
        for entry in entries:
            # Of other resources of others only the name matters.
            if entry.ours or kind.edits:
                require_types(entry.resource)
        return entries


def sections(
    host: str, output: Output, *, nonce: str, probes: Iterable[FactsProbe] = ()
) -> dict[str, str]:
    """The text of each probe of one snapshot, by section. Raises FactsError."""
    # A process on the host may print without end: its text must not fill the controller's memory.
    if len(output.stdout) > SIZE_LIMIT:
        raise FactsError(host, f"its snapshot is larger than {SIZE_LIMIT} bytes")
    texts = dict(_marked(output.stdout, nonce))
    expected = ["host", *(kind.kind for kind in kinds.all_kinds())]
    expected += [probe.section for probe in probes]
    for section in ("shared", *expected):
        _require_success(host, section, texts.get(section), output)
    shared: dict[str, list[str]] = {}
    for line in texts["shared"].text.splitlines():
        shared.setdefault(line.partition(" ")[0], []).append(line)
    return {section: _expanded(texts[section].text.strip(), shared) for section in expected}


class _Section(NamedTuple):
    """The output of one probe, and its exit status."""

    text: str
    status: str


def _marked(stdout: str, nonce: str) -> Iterator[tuple[str, _Section]]:
    """Yield each section that has both markers, by name.

    By `split`: a regular expression from marker to marker steps through each character.
    """
    parts = [part.partition("\n") for part in f"\n{stdout}".split(f"\n@{nonce} ")]
    for (begin, _, text), (end, _, _) in pairwise(parts):
        match = re.fullmatch(r"end (\w+) (\d+)", end)
        if match and begin == f"begin {match[1]}":
            yield match[1], _Section(text, match[2])


def _require_success(host: str, section: str, printed: _Section | None, output: Output) -> None:
    if printed is None or printed.status != "0":
        status = printed.status if printed else output.status
        detail = output.stderr.strip()[-500:] or f"exit status {status}"
        raise FactsError(host, f"reading its {section} state failed: {detail}")


def _expanded(text: str, shared: Mapping[str, list[str]]) -> str:
    """A section with the shared lines in place of each `@@KEY`, which `shared KEY` printed."""
    lines = text.splitlines()
    parts = [shared.get(line[2:], []) if line.startswith("@@") else [line] for line in lines]
    return "\n".join(line for part in parts for line in part)
