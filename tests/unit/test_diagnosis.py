"""The end of a red verify: what failures share, what explains them, and tables that fit."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from ipaddress import IPv4Address
from itertools import permutations
from pathlib import Path

import pytest

from provision.checks import diagnosis, drift_text, matrix
from provision.checks.diagnosis import diagnose
from provision.checks.doctor.findings import HostFinding, Weight
from provision.checks.failure_groups import failure_groups
from provision.checks.lan_probe import LanEndpoint
from provision.checks.page import page
from provision.checks.run import HostRow, Verification
from provision.checks.subjects import Check
from provision.checks.text import as_json, show
from provision.cli.progress import ProgressLine
from provision.engine.plan import Change
from provision.inventory.load import load
from provision.model.errors import ConnectError
from provision.model.inventory import Inventory
from provision.resources.base import Resource
from provision.resources.kinds.ovs_daemon import OvsDaemon
from provision.resources.kinds.routes import Routes, row
from provision.resources.kinds.sysctl import Sysctl


def routes(*rows: tuple[str, str, str]) -> Routes:
    """The routes of h2."""
    return Routes.of("h2", "blue", "demo", [row(*texts) for texts in rows])


ROUTE = routes(("172.20.1.0/24", "10.78.0.11", "eth1"))
LOST = routes(("172.20.1.0/24", "", ""))
NONE, OTHER = routes(), routes(("172.20.1.0/24", "10.78.0.11", "eth2"))
DROP = HostFinding(
    "h2", "firewall_rule", Weight.ERROR, "rule 1 of FORWARD drops", "why", "iptables"
)


def inventory(folder: Path, *, hosts: int = 3, each: int = 2) -> Inventory:
    """Hosts h1, h2, … with containers c1-1, c1-2, … on a network."""
    lines = ["name: demo", "hosts:"]
    lines += [f"  h{number}: {{address: 10.0.0.{number}}}" for number in range(1, hosts + 1)]
    lines += ["networks:", "  blue: {method: routes, cidr: 172.20.0.0/16}", "containers:"]
    lines += [
        f"  c{host}-{number}: {{host: h{host}, network: blue}}"
        for host in range(1, hosts + 1)
        for number in range(1, each + 1)
    ]
    path = folder / "demo.yml"
    path.write_text("\n".join(lines) + "\n")
    return load(path)


def result(folder: Path, failing: str = "", *, hosts: int = 3, each: int = 2) -> Verification:
    """A verify of all pairs in which those between `failing` and other hosts fail."""
    made = inventory(folder, hosts=hosts, each=each)
    containers = tuple(made.containers.values())
    checks = tuple(
        Check(name, source.name, target.name, ok=not fails, detail="lost" if fails else "")
        for source, target in permutations(containers, 2)
        for fails in [source.host != target.host and failing in (source.host, target.host)]
        for name in ("ping", "tcp")
    )
    addresses = {c.name: f"172.20.{c.host[1:]}.{n}" for n, c in enumerate(containers, 2)}
    rows = tuple(HostRow(name, str(host.address)) for name, host in made.hosts.items())
    return Verification(made, containers, (), checks, (), 1.0, addresses=addresses, hosts=rows)


def change(after: Resource | None, before: Resource | None = None) -> Change:
    """A change of one resource."""
    resource = after or before
    assert resource is not None
    verb = "update" if after and before else "create" if after else "delete"
    return Change(resource.ref, verb, before, after, None)


def test_failures_of_one_host_are_told_once(tmp_path: Path) -> None:
    """All pairs between it and the others; those on the host itself pass."""
    red = result(tmp_path, "h2")
    (group,) = failure_groups(red.inventory, red.checks)
    assert str(group) == "All 16 pairs that fail have h2 on their way (ping, tcp)"
    assert group.hosts == ("h2",)


@pytest.mark.parametrize(
    ("pairs", "shared"),
    [
        ({("c1-1", "c2-1")}, "One pair fails: c1-1 → c2-1 (ping)"),
        ({("c1-1", "c2-1"), ("c1-1", "c2-2"), ("c1-2", "c2-1"), ("c1-2", "c2-2")},
         "All 4 pairs that fail go from h1 to h2 (ping)"),
        ({("c1-1", other) for other in ("c1-2", "c2-1", "c2-2", "c3-1", "c3-2")}
         | {(other, "c1-1") for other in ("c1-2", "c2-1", "c2-2", "c3-1", "c3-2")},
         "All 10 pairs that fail have c1-1 (on h1) at one end (ping)"),
        ({(f"c{a}-{i}", f"c{b}-{j}") for a, b in permutations((1, 2, 3), 2)
          for i in (1, 2) for j in (1, 2)},
         "All 24 pairs that fail are in network blue, between hosts (ping)"),
    ],
)  # fmt: skip
def test_what_failures_share_is_found(
    tmp_path: Path, pairs: set[tuple[str, str]], shared: str
) -> None:
    """A pair, a direction, a container, all between hosts: what no pair that passes shares."""
    green = result(tmp_path)
    checks = [
        replace(check, ok=not ((check.source, check.target) in pairs and check.check == "ping"))
        for check in green.checks
    ]
    assert [str(group) for group in failure_groups(green.inventory, checks)] == [shared]


def test_two_faults_are_two_groups(tmp_path: Path) -> None:
    """Each with its hosts."""
    green = result(tmp_path, hosts=4)
    broken = ({"h1", "h2"}, {"h3", "h4"})

    def fails(check: Check) -> bool:
        return {f"h{check.source[1]}", f"h{check.target[1]}"} in broken

    checks = [replace(check, ok=not fails(check)) for check in green.checks]
    groups = [*failure_groups(green.inventory, checks)]
    assert {frozenset(group.hosts) for group in groups} == {frozenset(pair) for pair in broken}
    assert [len(group.pairs) for group in groups] == [8, 8] and groups[0].of == 16


def test_causes_on_the_suspected_host_come_first(tmp_path: Path) -> None:
    """A finding, then differences in a person's words; each host without an answer is one line.

    A command names the file as the person did, so that it works when it is pasted.
    """
    folder = tmp_path / "our lab"
    folder.mkdir()
    red = result(folder, "h2", hosts=4)
    elsewhere = replace(DROP, host="h1", kind="duplicate_mac", text="a MAC")
    drift = [change(ROUTE), change(Sysctl("h1", "net.ipv4.ip_forward", "1", "demo"))]
    lost = ConnectError("h3", "no answer within 10 s")
    told = diagnose(red.inventory, red.checks, drift, [lost], [elsewhere, DROP])
    command = f"provision apply '{folder}/demo.yml'"
    assert [str(cause) for cause in told.causes] == [
        "h3: no answer: no answer within 10 s",
        "h2: rule 1 of FORWARD drops → iptables",
        "h1: a MAC → iptables",
        f"h2: routes of network blue are missing → {command}",
        f"h1: the kernel setting net.ipv4.ip_forward is missing → {command}",
    ]
    lines = [*told.lines("demo.yml")]
    assert len(lines) == diagnosis.LINES and lines[-1].startswith("and 3 more: `provision doctor")
    # Pairs with the silent host are not counted among those that fail.
    assert all("h3" not in pair.hosts for group in told.groups for pair in group.pairs)


def test_consequences_are_left_out(tmp_path: Path) -> None:
    """A NIC that is down takes its routes away, a smaller one changes the size of all packets."""
    red = result(tmp_path, "h2")
    down = replace(DROP, kind="link_down", text="eth1 is down")
    told = diagnose(red.inventory, red.checks, [change(ROUTE)], [], [down])
    assert [cause.text for cause in told.causes] == ["eth1 is down"]
    warning = replace(DROP, weight=Weight.WARNING)
    told = diagnose(red.inventory, red.checks, [], [], [warning, replace(DROP, kind="clock")])
    assert not told.causes


def test_a_remembered_path_mtu_is_a_cause(tmp_path: Path) -> None:
    """One for each host, with the seconds that are left."""
    green = result(tmp_path)
    detail = "0 of 2 packets (send: Message too long; it remembers a path MTU of 1400 for 9 s more)"
    checks = [
        replace(check, ok=False, detail=detail) if check.source == "c2-1" else check
        for check in green.checks
    ]
    (cause,) = diagnose(green.inventory, checks, [], [], []).causes
    assert cause.host == "h2"
    assert cause.text == "c2-1 remembers a path MTU of 1400 for 9 s more"
    assert "docker inspect -f '{{.State.Pid}}' c2-1" in cause.fix


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (change(ROUTE), "routes of network blue are missing"),
        (change(ROUTE, LOST), "route 172.20.1.0/24 via 10.78.0.11 dev eth1 is missing"),
        (change(ROUTE, NONE), "route 172.20.1.0/24 via 10.78.0.11 dev eth1 is missing"),
        (change(NONE, ROUTE),
         "route 172.20.1.0/24 via 10.78.0.11 dev eth1 is not in the inventory"),
        (change(ROUTE, OTHER),
         "route 172.20.1.0/24 goes via 10.78.0.11 dev eth2, not via 10.78.0.11 dev eth1"),
        (change(Sysctl("h1", "net.ipv4.ip_forward", "1", "demo"),
                Sysctl("h1", "net.ipv4.ip_forward", "0", "demo")),
         "net.ipv4.ip_forward is 0, not 1"),
        (change(OvsDaemon("h1", "demo"), OvsDaemon("h1", "demo", enabled=False, active=False)),
         "the daemon of Open vSwitch differs (not enabled, not active)"),
    ],
)  # fmt: skip
def test_drift_is_told_in_a_persons_words(difference: Change, text: str) -> None:
    """What is there, and what should be."""
    assert drift_text.describe(difference) == text


def test_every_kind_has_a_noun() -> None:
    """And a rank: what others follow from comes first."""
    from provision.resources.kinds import all_kinds

    assert {kind.kind for kind in all_kinds()} <= drift_text._NOUNS.keys()
    setting = change(Sysctl("h1", "net.ipv4.ip_forward", "1", "demo"))
    assert drift_text.rank(setting) < drift_text.rank(change(ROUTE))


@pytest.mark.parametrize(
    ("hosts", "each", "expected"),
    [
        (3, 2, "1  c1-1  h1  172.20.1.2     ·   ok FAIL FAIL   ok   ok"),
        (3, 10, "2  h2  10.0.0.2  10 ends  100/100      ok 100/100"),
        (40, 1, "  78 of 1,560 pairs fail:"),
    ],
)
def test_a_table_fits_into_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hosts: int, each: int, expected: str
) -> None:
    """By container, else by host, else the failing pairs; with addresses, and never cut."""
    show(result(tmp_path, "h2", hosts=hosts, each=each))
    out = capsys.readouterr().out
    assert expected in out, out
    table = out[: out.index("ping c1-1 → ")].splitlines()
    assert max(map(len, table)) <= 80 and "…" not in out
    assert "172.20." in out or "10.0.0." in out
    assert "more (--verbose prints all)" in out


def test_the_pairs_that_fail_are_listed_with_addresses(tmp_path: Path) -> None:
    """At most some of them; a network in which none fails says so in one line."""
    red = result(tmp_path, "h2", hosts=40, each=1)
    members = matrix.ends(red)["blue"]
    lines = matrix.lines(red, "blue", members)
    assert "  c1-1 (172.20.1.2) → c2-1 (172.20.2.3): ping tcp" in lines
    assert lines[-1] == "  and 58 more: --json and --html list all"
    green = result(tmp_path, hosts=40, each=1)
    assert matrix.lines(green, "blue", members)[1:] == ["  none of 1,560 pairs fails"]


def test_interfaces_on_a_lan_are_in_the_table(tmp_path: Path) -> None:
    """Under their own names, with their addresses."""
    green = result(tmp_path)
    ends = tuple(
        LanEndpoint(
            f"c{n}-1/eth1", f"h{n}", "lan", 0, 1, "eth1", IPv4Address(f"10.0.0.20{n}"), 1500
        )
        for n in (1, 2)
    )
    checks = tuple(Check("arp", a.name, b.name, ok=True) for a, b in permutations(ends, 2))
    table = replace(green, checks=checks, lans={"lan": ends})
    assert [*matrix.ends(table)] == ["lan"]
    assert "c1-1/eth1  h1  10.0.0.201" in matrix.lines(table, "lan", matrix.ends(table)["lan"])[2]


def test_the_page_tells_all(tmp_path: Path) -> None:
    """Failures first, measured values, meanings, hosts, the date, the drawing; no script."""
    red = result(tmp_path, "h2")
    red = replace(red, diagnosis=diagnose(red.inventory, red.checks, [change(ROUTE)], [], [DROP]))
    measured = replace(red.checks[0], measured="3 of 3 packets in 0.12 ms")
    red = replace(red, checks=(measured, *red.checks[1:]))
    text = page(red, "demo.yml", date="2026-11-26 18:00", drawing="<svg></svg>")
    assert "<script" not in text and "<svg></svg>" in text and "2026-11-26 18:00" in text
    assert "All 16 pairs that fail have h2 on their way" in text
    assert "rule 1 of FORWARD drops" in text and "Every ping" in text and "0.12 ms" in text
    rows = text[text.index('<table class="checks">') :]
    assert rows.index('<tr class="failed') < rows.index('<tr class="passed')
    assert as_json(red)["diagnosis"]["groups"][0]["hosts"] == ["h2"]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_line_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal alone; before other output and at the end it is removed."""
    line = ProgressLine()
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    line.update("Reading hosts", 0, 3)
    line.clear()
    assert pipe.getvalue() == ""
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    line.update("Reading hosts", 1, 3)
    line.update("Reading hosts", 3, 3)
    assert terminal.getvalue() == "\r\x1b[KReading hosts: 1 of 3\r\x1b[K"
