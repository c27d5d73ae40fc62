"""This version desires the same files on hosts as version 0.1.0, byte by byte, except `CHANGED`.

Version 0.1.0 wrote a claim for each route, this one has one for the routes of a network. A host
with the old claims is taken over without a change of its routes, and destroyed exactly.

`on_hosts/0.1.0.txt` was written by version 0.1.0: a line for each file of each case of this folder,
`<case> <host> <mode> <first half of the text's sha256> <path>`. Never regenerate it: a host that
an older version applied must be seen as unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from provision.engine import desired
from provision.engine.plan import plan
from provision.inventory.load import load
from provision.methods.flannel import binary
from provision.resources.base import Origin, state
from provision.resources.kinds.binary import Binary
from provision.resources.kinds.routes import Routes
from provision.resources.rows import row_changes
from provision.resources.steps import Attempt, Put, Run, Steps, Unless
from tests.cases.test_cases import facts

FOLDER = Path(__file__).parent
GOLDEN = FOLDER / "on_hosts" / "0.1.0.txt"
CASES = sorted({line.split(" ")[0] for line in GOLDEN.read_text().splitlines()})


def files(steps: Steps) -> Iterator[Put]:
    """Every file that steps write, nested steps included."""
    for step in steps:
        match step:
            case Put():
                yield step
            case Unless(_, inner, _) | Attempt(inner, _):
                yield from files(inner)


def written(case: str) -> list[str]:
    """A line for each file of a case, sorted as the golden file is."""
    inventory = load(FOLDER / case / "inventory.yml")
    state = yaml.safe_load((FOLDER / case / "found.yml").read_text())
    lines: dict[tuple[str, str], str] = {}
    for resource in desired.wanted(inventory, facts(inventory, state)).values():
        if isinstance(resource, Binary) and resource.source is None:
            continue  # flanneld is not built yet: its upload has no source
        for put in files(resource.create()):
            digest = sha256(put.text.encode()).hexdigest()[:32]
            lines[resource.host, put.path] = f"{put.mode:04o} {digest}"
    return [f"{case} {host} {text} {path}" for (host, path), text in sorted(lines.items())]


WITH_DOCKER_USER = (
    r"(?:(?:flannel|routes)/.*|modes/(?!container).*|pipework/(?!open-vswitch).*|vxlan/routed)"
)
"""The cases with a chain of ours to which DOCKER-USER jumps."""
WITH_UPLINK = (
    r"(?:ovs-gre/(?:after-faults|docker0|first-apply|mixed-.*|nic-in-the-way|veth-.*)"
    r"|ovs-vxlan/first-apply)"
)
"""The cases in which a NIC becomes a port of Open vSwitch."""
KEPT = r"ovs-(?:gre|vxlan)/kernel-datapath"
"""Other cases with a bridge of Docker."""
CHANGED = {
    r"/etc/provision/[^/]+/follow\.sh": "its events are for root alone; it sees a flush",
    WITH_DOCKER_USER + r" /etc/provision/[^/]+/volatile\.sh": "no chain without DOCKER-USER",
    KEPT + r" /etc/provision/[^/]+/volatile\.sh": "a bridge gets its ports and address back",
    r"modes/container /etc/provision/[^/]+/volatile\.sh": "it restarts no container of others",
    WITH_UPLINK + r" /etc/provision/[^/]+/volatile\.sh": "it moves NetworkManager's routes, too",
    r"vxlan/\S+ /etc/provision/[^/]+/volatile\.sh": "its FDB entries are one batch",
    r"/etc/systemd/system/provision-[^/]+-follow\.service": "it has the digest of follow.sh",
    r"/etc/systemd/system/provision-[^/]+-flanneld\.service": "it waits for its settings in etcd",
    r"/etc/systemd/network/05-provision-[^/]+-ovsbr0\.network": "the bridge is kept up",
}
"""Files that differ from those of 0.1.0 on purpose, and why: the next `apply` updates them."""
ROUTED = r"/etc/provision/[^/]+/volatile\.sh"
"""A file that differs on hosts with routes only: one program restores the routes of a network."""
OLD_CLAIM = r"/etc/provision/[^/]+/routes/\d[\d.]+_\d+"
CLAIM = r"/etc/provision/[^/]+/routes/[a-z][a-z0-9-]*"


class Line(NamedTuple):
    """A line of the golden file."""

    case: str
    host: str
    mode: str
    digest: str
    path: str


def lines_of(text: Iterable[str]) -> list[Line]:
    """The lines, read."""
    return [Line(*line.split(" ", 4)) for line in text]


def of_case(case: str) -> list[Line]:
    """What version 0.1.0 has written in a case."""
    return [line for line in lines_of(GOLDEN.read_text().splitlines()) if line.case == case]


def without(pattern: str, lines: Iterable[Line]) -> list[Line]:
    """The lines of other files."""
    return [line for line in lines if not re.fullmatch(pattern, line.path)]


def routed_hosts(case: str) -> set[str]:
    """The hosts on which version 0.1.0 has made routes."""
    return {line.host for line in of_case(case) if re.fullmatch(OLD_CLAIM, line.path)}


def without_text(line: Line) -> Line:
    """A line without the digest if its file differs on purpose: mode and path are the same."""
    patterns = [*CHANGED, *([ROUTED] if line.host in routed_hosts(line.case) else [])]
    names = (line.path, f"{line.case} {line.path}")
    changed = any(re.fullmatch(pattern, name) for pattern in patterns for name in names)
    return line._replace(digest="changed") if changed else line


@pytest.mark.parametrize("case", CASES)
def test_files_on_hosts_are_those_of_0_1_0(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit files, the follower's scripts, networkd files, claims and first values."""
    monkeypatch.setattr(binary, "cached", lambda: None)
    golden = without(OLD_CLAIM, of_case(case))
    lines = without(CLAIM, lines_of(written(case)))
    assert list(map(without_text, lines)) == list(map(without_text, golden))
    # A file that is as it was has no place in CHANGED.
    different = {line.path for line in set(lines) - set(golden)}
    assert different == {line.path for line in golden if without_text(line) != line}


def probed(table: Routes, claims: Iterable[Line]) -> str:
    """What the probe of the kind prints on a host that version 0.1.0 has applied."""
    names = [line.path.rpartition("/")[2] for line in claims]
    routes = [
        {"dst": row.key, "gateway": str(row.via), "dev": row.dev, "protocol": "240"}
        | {"flags": ["onlink"] if row.tunnel == "vxlan" else []}
        for row in table.rows
    ]
    lines = [f"claim {table.inventory} {name}" for name in names]
    return "\n".join([*lines, f"routes {json.dumps(routes)}"])


def removed(steps: Steps) -> set[str]:
    """The claims of version 0.1.0 that steps remove."""
    words = (word for step in steps if isinstance(step, Run) for word in step.argv)
    return {word for word in words if re.fullmatch(OLD_CLAIM, word)}


def rewritten(table: Routes) -> dict[str, str]:
    """The claims of version 0.1.0 that a rollback writes: digests by path."""
    (run,) = (step for step in table.unstash("") if isinstance(step, Run) and step.argv[0] == "sh")
    digests = {}
    for line in (run.stdin or "").splitlines(keepends=True):
        path = f"{run.argv[-1]}/{line.split(' ')[0].replace('/', '_')}"
        digests[path] = sha256(line.encode()).hexdigest()[:32]
    return digests


@pytest.mark.parametrize("case", [case for case in CASES if routed_hosts(case)])
def test_routes_of_0_1_0_are_taken_over_and_destroyed(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan has an update without a row. Just the old claims go, and a rollback writes them."""
    monkeypatch.setattr(binary, "cached", lambda: None)
    inventory = load(FOLDER / case / "inventory.yml")
    found = yaml.safe_load((FOLDER / case / "found.yml").read_text())
    wanted = desired.wanted(inventory, facts(inventory, found)).values()
    tables = [resource for resource in wanted if isinstance(resource, Routes)]
    assert {table.host for table in tables} == routed_hosts(case)
    ranges = tuple((name, network.cidr) for name, network in inventory.networks.items())
    for table in tables:
        claims = [line for line in of_case(case) if line.host == table.host]
        claims = [line for line in claims if re.fullmatch(OLD_CLAIM, line.path)]
        origin = Origin(table.host, inventory.name, ranges)
        (entry,) = Routes.parse(probed(table, claims), origin)
        assert entry.ours and isinstance(entry.resource, Routes)
        (change,) = plan(state([entry.resource]), state([table])).changes
        assert (change.verb, change.disruption) == ("update", None)
        assert row_changes(change.before, change.after) == []
        paths = {line.path for line in claims}
        assert removed(table.update(entry.resource)) == paths
        assert removed(entry.resource.delete()) == paths
        assert rewritten(entry.resource) == {line.path: line.digest for line in claims}
