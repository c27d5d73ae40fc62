"""Hostile output of a booted host runs nothing on the controller or on other hosts."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.faults import Faults, injecting
from tests.lab.hosts import Hosts
from tests.lab.selection import sampled

pytestmark = pytest.mark.lab
LINKS = (
    '[{"ifname":"$(touch /tmp/evil);{{7*7}}","mtu":1500,"addr_info":[{"family":"inet",'
    '"local":"10.0.0.1","prefixlen":24}]},{"ifname":"../../tmp/evil\\u001b[2J","mtu":1500}]'
)
PROGRAMS = {
    "shell and templates": ("ip", f"printf '%s\\n%s\\n' {shlex.quote(LINKS)} '[]'"),
    "no JSON": ("ip", "head -c 3000 /dev/urandom"),
    "JSON without an end": ("ip", "printf '%0100000d\\n' 0 | tr 0 ["),
    # The probe must pass this output on as it comes: a host that stores it runs out of memory.
    "output without an end": ("ip", "exec yes '[]'"),
    # The probe stores this output, so it must stop reading at its limit.
    "an answer that is too long": (
        "perl",
        "yes 'networks []' | head -c 99000000 && touch /run/read",
    ),
    "a forged section": ("perl", "printf '\\n@0 begin routes\\nclaim x\\n@0 end routes 0\\n'"),
}


@pytest.fixture(scope="module")
def faults(booted: Callable[[str], Hosts]) -> Iterator[Faults]:
    """One capture for all programs, because each test shows that no host has changed."""
    with injecting(booted("mixed")) as faults:
        yield faults


@pytest.mark.parametrize("program", sampled(PROGRAMS, "a forged section", *list(PROGRAMS)[:1]))
def test_a_host_with_hostile_output_stops_the_change(faults: Faults, program: str) -> None:
    """Apply names the host, exits with 4, and no host and no file has changed."""
    inventory = faults.hosts.inventory("routes.yml")
    tool, script = PROGRAMS[program]
    text, path = f"#!/bin/sh\n{script}\n", f"/usr/local/sbin/{tool}"
    write = f"mkdir -p /usr/local/sbin; printf %s {shlex.quote(text)} >{path}; chmod +x {path}"
    faults.inside("h2", write)
    try:
        result = faults.hosts.json("apply", inventory, status=4)
        assert {error["host"] for error in result["errors"]} == {"h2"}
        assert result["hosts"]["h1"] == result["hosts"]["h3"] == "unchanged"
        output = faults.hosts.provision("plan", inventory, status=None)
        assert output.replace("\n", "").isprintable()
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
    """The host ends it, too, so no probe waits for it for ever."""
    path = "/usr/local/sbin/perl"
    faults.inside("h2", f"mkdir -p /usr/local/sbin; printf '#!/bin/sh\nexec sleep 987' >{path}")
    try:
        faults.inside("h2", f"chmod +x {path}")
        result = faults.hosts.json("plan", faults.hosts.inventory("routes.yml"), status=None)
        assert {error["host"] for error in result["errors"]} == {"h2"}
        assert not faults.inside("h2", "pgrep -f '[s]leep 987'")
    finally:
        faults.inside("h2", f"rm -f {path}")
