"""This version desires the same files on hosts as version 0.1.0, byte by byte, except `CHANGED`.

`on_hosts/0.1.0.txt` was written by version 0.1.0: a line for each file of each case of this folder,
`<case> <host> <mode> <first half of the text's sha256> <path>`. Never regenerate it: a host that
an older version applied must be seen as unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from provision.engine import desired
from provision.inventory.load import load
from provision.methods.flannel import binary
from provision.resources.kinds.binary import Binary
from provision.resources.steps import Attempt, Put, Steps, Unless
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
CHANGED = {
    r"/etc/provision/[^/]+/follow\.sh": "its events are for root alone; it sees a flush",
    WITH_DOCKER_USER + r" /etc/provision/[^/]+/volatile\.sh": "no chain without DOCKER-USER",
    r"/etc/systemd/system/provision-[^/]+-follow\.service": "it has the digest of follow.sh",
    r"/etc/systemd/network/05-provision-[^/]+-ovsbr0\.network": "the bridge is kept up",
}
"""Files that differ from those of 0.1.0 on purpose, and why: the next `apply` updates them."""


def without_text(line: str) -> str:
    """A line without the digest if its file differs on purpose: mode and path are the same."""
    case, host, mode, digest, path = line.split(" ", 4)
    names = (path, f"{case} {path}")
    changed = any(re.fullmatch(pattern, name) for pattern in CHANGED for name in names)
    return " ".join((case, host, mode, "changed" if changed else digest, path))


@pytest.mark.parametrize("case", CASES)
def test_files_on_hosts_are_those_of_0_1_0(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit files, the follower's scripts, networkd files, claims and first values."""
    monkeypatch.setattr(binary, "cached", lambda: None)
    golden = [line for line in GOLDEN.read_text().splitlines() if line.split(" ")[0] == case]
    lines = written(case)
    assert list(map(without_text, lines)) == list(map(without_text, golden))
    # A file that is as it was has no place in CHANGED.
    different = {line.split(" ", 4)[4] for line in set(lines) - set(golden)}
    on_purpose = {line.split(" ", 4)[4] for line in golden if " changed " in without_text(line)}
    assert different == on_purpose
