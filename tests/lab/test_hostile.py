"""A booted host whose programs lie: nothing of it runs here or on other hosts."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.faults import Faults, injecting
from tests.lab.hosts import Hosts

pytestmark = pytest.mark.lab
LINKS = (
    '[{"ifname":"$(touch /tmp/evil);{{7*7}}","mtu":1500,"addr_info":[{"family":"inet",'
    '"local":"10.0.0.1","prefixlen":24}]},{"ifname":"../../tmp/evil\\u001b[2J","mtu":1500}]'
)
LIES = {
    "shell and templates": ("ip", f"printf '%s\\n%s\\n' {shlex.quote(LINKS)} '[]'"),
    "no JSON": ("ip", "head -c 3000 /dev/urandom"),
    "JSON without an end": ("ip", "printf '%0100000d\\n' 0 | tr 0 ["),
    # By a program whose answer is passed on as it comes: a host that keeps it eats its own memory.
    "output without an end": ("ip", "exec yes '[]'"),
    # By one whose answer is kept: it is not read to its end.
    "an answer that is too long": (
        "perl",
        "yes 'networks []' | head -c 99000000 && touch /run/read",
    ),
    "a forged section": ("perl", "printf '\\n@0 begin route\\nclaim x\\n@0 end route 0\\n'"),
}


@pytest.fixture(scope="module")
def faults(booted: Callable[[str], Hosts]) -> Iterator[Faults]:
    """One for all lies: each is shown to have changed nothing."""
    with injecting(booted("mixed")) as found:
        yield found


@pytest.mark.parametrize("lie", LIES)
def test_a_host_that_lies_stops_the_change(faults: Faults, lie: str) -> None:
    """It is named, status 4; nothing is written or changed anywhere."""
    inventory = faults.hosts.inventory("routes.yml")
    tool, what = LIES[lie]
    text, path = f"#!/bin/sh\n{what}\n", f"/usr/local/sbin/{tool}"
    put = f"mkdir -p /usr/local/sbin; printf %s {shlex.quote(text)} >{path}; chmod +x {path}"
    faults.inside("h2", put)
    try:
        done = faults.hosts.json("apply", inventory, status=4)
        assert {error["host"] for error in done["errors"]} == {"h2"}
        assert done["hosts"]["h1"] == done["hosts"]["h3"] == "unchanged"
        shown = faults.hosts.provision("plan", inventory, status=None)
        assert shown.replace("\n", "").isprintable()
        assert not faults.inside("h2", "ls /run/read 2>/dev/null")
    finally:
        faults.inside("h2", f"rm -f {path}")
    assert not Path("/tmp/evil").exists()
    faults.assert_restored()
    assert not any(
        faults.hosts.ssh(host, "ls /tmp/evil", check=False) for host in ("h1", "h2", "h3")
    )


@pytest.mark.full
def test_a_program_that_never_answers_is_ended(faults: Faults) -> None:
    """On the host, too: what asked it does not wait for ever."""
    path = "/usr/local/sbin/perl"
    faults.inside("h2", f"mkdir -p /usr/local/sbin; printf '#!/bin/sh\nexec sleep 987' >{path}")
    try:
        faults.inside("h2", f"chmod +x {path}")
        done = faults.hosts.json("plan", faults.hosts.inventory("routes.yml"), status=None)
        assert {error["host"] for error in done["errors"]} == {"h2"}
        assert not faults.inside("h2", "pgrep -f '[s]leep 987'")
    finally:
        faults.inside("h2", f"rm -f {path}")
