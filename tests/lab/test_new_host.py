"""A new host of a network with FRR touches no other host, and `--limit` connects to it alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.lab.hosts import HOSTS, Hosts

pytestmark = [pytest.mark.lab, pytest.mark.full]


class Example(NamedTuple):
    """An example: its `name`, its line of settings, and the entry of the container on h3."""

    name: str
    settings: str
    member: str


EXAMPLES = {
    "bgp.yml": Example("mesh", "    # mtu: 1500 ", "  b3: {host: h3, network: core}\n"),
    "vxlan-evpn.yml": Example("fabric", "    # mtu: 1450 ", "  e3: {host: h3, network: lan}\n"),
}
WRITTEN = "    mtu: 1400\n    subnets: {h3: %s}\n    # mtu: "
SUBNETS = {"bgp.yml": "172.27.2.0/24", "vxlan-evpn.yml": "172.24.2.0/24"}


@pytest.fixture(params=EXAMPLES)
def example(mixed: Hosts, request: pytest.FixtureRequest) -> Iterator[str]:
    """The file of an example; afterwards it is destroyed."""
    yield request.param
    mixed.provision("destroy", mixed.inventory(request.param), "--yes", status=None)


@pytest.mark.parametrize("written", [True, False], ids=["written", "by-default"])
def test_a_new_host_touches_no_other(mixed: Hosts, example: str, written: bool) -> None:
    """h3 is added to h1 and h2: no file of theirs is changed, and no daemon restarted.

    With its subnet and the MTU in the file, h3 is the only host that is asked.
    """
    name, settings, member = EXAMPLES[example]
    wanted = settings.replace("# mtu: ", WRITTEN.lstrip() % SUBNETS[example])
    change = ((settings, wanted),) if written else ()
    entry = f"  h3: {{address: {mixed.networks[1]}.13}}\n"
    without = ((old, "") for old in (entry, member))
    two = mixed.inventory(example, *without, (settings, "    mtu: 1400 #") if written else ("", ""))
    mixed.provision("apply", two)
    texts = (
        f"cat /etc/provision/{name}/* /etc/systemd/system/provision-{name}-*; pgrep -x bgpd;"
        "docker ps -q --no-trunc; ls -l --full-time /var/lib/provision"
    )
    before = mixed.everywhere(texts, check=False)

    whole = mixed.inventory(example, *change)
    asked = mixed.executions("apply", whole, "--yes", "--limit", "h3")
    assert (set(asked) == {"h3"}) is written, asked
    mixed.verified(whole)
    after = mixed.everywhere(texts, check=False)
    assert [before[host] == after[host] for host in HOSTS] == [True, True, False]
    assert mixed.json("plan", whole)["changes"] == []
    assert set(mixed.executions("plan", whole, "--limit", "h3")) == asked.keys()
