"""`provision explain` on booted hosts names rules of native nft tables, at each hook of a packet.

Also at hooks that netfilter's trace does not show: then the cause is only possible.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.lab import bringup, teardown
from provision.lab.layout import Lab
from provision.lab.settings import UpOptions
from tests.lab.explain_faults import assert_nothing_watches
from tests.lab.free import free_ranges
from tests.lab.hosts import Hosts

pytestmark = [pytest.mark.lab, pytest.mark.full]
TWO = """name: two
hosts: {{h1: {{address: {data}.11}}, h2: {{address: {data}.12}}}}
networks: {{blue: {{method: routes, cidr: 172.20.0.0/16}}}}
containers: {{c1: {{host: h1, network: blue}}, c2: {{host: h2, network: blue}}}}
"""


@dataclass(frozen=True)
class NftDrop:
    """A base chain of `family` on a host with one rule, and whether the trace shows the drop."""

    host: str
    family: str
    hook: str
    rule: str
    certain: bool

    @property
    def script(self) -> str:
        """Make the table `mine`; another table has a rule with the same handle."""
        other = f"table {self.family} first {{ chain base {{ counter; }}; }}\n"
        chain = f"type filter hook {self.hook}; {self.rule};"
        return f"{other}table {self.family} mine {{ chain base {{ {chain} }}; }}"


TO_C2, FROM_C1 = "ip daddr 172.20.1.2 drop", "ip saddr 172.20.0.2 drop"
AT_ETH1 = 'device "eth1" priority'
DROPS = (
    NftDrop("h1", "bridge", "prerouting priority -300", FROM_C1, certain=False),
    NftDrop("h1", "bridge", "input priority -200", FROM_C1, certain=True),
    NftDrop("h1", "netdev", f"egress {AT_ETH1} 0", TO_C2, certain=True),
    NftDrop("h2", "netdev", f"ingress {AT_ETH1} -500", FROM_C1, certain=False),
    NftDrop("h2", "inet", f"ingress {AT_ETH1} 0", FROM_C1, certain=False),
    NftDrop("h2", "inet", "forward priority 0", TO_C2, certain=True),
    NftDrop("h2", "bridge", "output priority 0", TO_C2, certain=True),
)


@pytest.fixture(scope="module")
def applied() -> Iterator[Hosts]:
    """Two hosts that have the program nft, and a network between them."""
    lab = Lab(Path(tempfile.mkdtemp(prefix="provision-lab-nft-", dir="/var/tmp")))
    walls = {host: {"firewall": "nftables"} for host in ("h1", "h2")}
    options = UpOptions(2, "trixie", False, free_ranges(lab), {}, walls)
    try:
        bringup.up(lab, options, say=print)
        hosts = Hosts(lab)
        (lab.folder / "two.yml").write_text(TWO.format(data=hosts.networks[1]))
        hosts.provision("apply", "two.yml")
        yield hosts
    finally:
        teardown.down(lab, say=print)
        shutil.rmtree(lab.folder)


@pytest.mark.parametrize("drop", DROPS, ids=lambda drop: f"{drop.family}-{drop.hook.split()[0]}")
def test_a_rule_of_an_nft_table_is_named(applied: Hosts, drop: NftDrop) -> None:
    """The cause has the rule's text and its own table, and the fix deletes that rule."""
    applied.ssh(drop.host, f"nft -f - <<'END'\n{drop.script}\nEND")
    try:
        answer = applied.json("explain", "two.yml", "c1", "c2", status=7)
    finally:
        tables = f"nft delete table {drop.family} first; nft delete table {drop.family} mine"
        applied.ssh(drop.host, tables)
    cause = answer["cause"]
    assert (cause["host"], cause["kind"]) == (drop.host, "firewall_rule"), cause
    assert cause["object"] == f"nft table mine chain base: {drop.rule}"
    assert cause["fix"].startswith(f"nft delete rule {drop.family} mine base handle ")
    assert cause["certain"] is drop.certain


def test_rules_about_others_are_not_suspected(applied: Hosts) -> None:
    """A rule at a NIC about other addresses is not named for packets that are lost elsewhere."""
    other = NftDrop(
        "h2", "netdev", f"ingress {AT_ETH1} 0", "ip saddr 192.0.2.1 drop", certain=False
    )
    applied.ssh("h2", f"nft -f - <<'END'\n{other.script}\nEND\niptables -I FORWARD -j DROP")
    try:
        answer = applied.json("explain", "two.yml", "c1", "c2", status=7)
    finally:
        applied.ssh(
            "h2",
            "nft delete table netdev first; nft delete table netdev mine; "
            "iptables -D FORWARD -j DROP",
        )
    assert answer["cause"]["object"] == "iptables -t filter -A FORWARD -j DROP"
    assert applied.json("explain", "two.yml", "c1", "c2")["reached"]
    assert_nothing_watches(applied)
