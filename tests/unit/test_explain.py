"""`provision explain` judges evidence that was captured on booted hosts.

A file of tests/unit/explain holds an inventory, a question, and what its hosts printed: the
transport below prints that again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from provision.checks.explain import evidence
from provision.checks.explain.explain import explain
from provision.checks.explain.model import KINDS, Explanation, Probe
from provision.checks.explain.page import marks, page
from provision.checks.explain.words import lines
from provision.cli.main import provision
from provision.engine.fleet import Session
from provision.inventory.load import load
from provision.model.errors import ConnectError, ExitStatus, UsageError
from provision.show.graph.draw import drawing
from provision.show.graph.formats import svg
from provision.show.graph.lit import lit
from provision.show.view import View
from provision.transport.base import Output
from tests.lab.explain_faults import faults

CAPTURES = sorted((Path(__file__).with_name("explain")).glob("*.json"))


class Replay:
    """A transport that answers each script of a host by the next captured output."""

    def __init__(self, runs: dict[str, list[list[Any]]], dead: tuple[str, ...] = ()) -> None:
        self._runs = {host: iter(outputs) for host, outputs in runs.items()}
        self._dead = dead

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        """The next output."""
        del script, timeout_s
        if host in self._dead:
            raise ConnectError(host, "unreachable (No route to host)")
        return Output(*next(self._runs[host]))

    def send(self, host: str, source: Path, target: str, *, timeout_s: float) -> None:
        """Never called."""
        raise AssertionError((host, source, target, timeout_s))

    def close(self) -> None:
        """Nothing is open."""


def explained(path: Path, folder: Path, dead: tuple[str, ...] = ()) -> Explanation:
    """The explanation that the captured outputs lead to."""
    capture = json.loads(path.read_text())
    file = folder / "inventory.yml"
    file.write_text(capture["inventory"])
    inventory = load(file)
    protocol, _, port = capture["probe"].partition(" ")
    session = Session(inventory, Replay(capture["runs"], dead))
    probe = Probe(protocol, int(port or 0))
    return explain(session, inventory, capture["from"], capture["to"], probe)


def capture_of(name: str) -> Path:
    """The captured outputs of a fault."""
    return next(path for path in CAPTURES if path.stem == name)


def test_an_encrypted_packet_is_not_called_unseen(tmp_path: Path) -> None:
    """Nobody can tell which packet of WireGuard holds the probe; the other devices have seen it."""
    hops = explained(capture_of("healthy-wireguard"), tmp_path).hops
    assert {(hop.device, hop.seen) for hop in hops if hop.device == "eth1"} == {("eth1", None)}
    assert all(hop.seen for hop in hops if hop.device != "eth1")


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_captured_evidence_leads_to_the_cause(path: Path, tmp_path: Path) -> None:
    """The cause of each planted fault, from what its hosts printed."""
    explanation = explained(path, tmp_path)
    fault = next((fault for fault in faults() if fault.name == path.stem), None)
    if fault is None:
        assert explanation.reached and explanation.cause is None, explanation.cause
        assert explanation.exit_status == ExitStatus.OK
        return
    assert not explanation.reached and explanation.exit_status == ExitStatus.VERIFY
    cause = explanation.cause
    assert cause is not None and cause.certain
    assert (cause.host, cause.kind) == (fault.cause["host"], fault.cause["kind"])
    assert fault.cause["object"].rpartition("$D")[2] in cause.object
    assert fault.fix.rpartition("$D")[2] in cause.fix


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_the_text_fits_a_terminal(path: Path, tmp_path: Path) -> None:
    """At most 80 columns, except for objects and commands, which a reader copies."""
    texts = list(lines(explained(path, tmp_path)))
    whole = ("  fix: ", "  object: ")
    assert not [text for text in texts if len(text) > 80 and not text.startswith(whole)]


def test_a_host_that_cannot_be_asked_is_the_cause(tmp_path: Path) -> None:
    """The exit status is 4, and the cause is not certain."""
    explanation = explained(capture_of("healthy-routes"), tmp_path, dead=("h2",))
    assert explanation.cause is not None
    assert (explanation.cause.host, explanation.cause.kind) == ("h2", "host_unreachable")
    assert explanation.exit_status == ExitStatus.HOST and not explanation.cause.certain


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    """With the nearest name as a hint, and before any host is asked."""
    capture = json.loads(capture_of("healthy-routes").read_text())
    file = tmp_path / "inventory.yml"
    file.write_text(capture["inventory"])
    inventory = load(file)
    session = Session(inventory, Replay({}))
    with pytest.raises(UsageError, match="FROM C1") as error:
        explain(session, inventory, "C1", "c2")
    assert "Did you mean c1" in error.value.hint
    with pytest.raises(UsageError, match="FROM"):
        explain(session, inventory, "192.0.2.1", "c2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("c1", "c2", "--icmp", "--tcp", "80"), "--icmp and --tcp exclude each other"),
        (("c1", "c2", "--limit", "h1"), "--limit h1 does not apply to explain"),
        (("c1", "172.20.1.300"), "TO 172.20.1.300: the inventory has no container"),
        (("c1", "c2", "--html", "/nowhere/path.html"), "--html /nowhere/path.html"),
    ],
)
def test_a_wrong_command_line_is_refused(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    """With one error, before any host is contacted."""
    capture = json.loads(capture_of("healthy-routes").read_text())
    file = tmp_path / "inventory.yml"
    file.write_text(capture["inventory"])
    with pytest.raises(UsageError) as error:
        provision.main(["explain", str(file), *arguments], standalone_mode=False)
    assert error.value.message.startswith(message)


def test_a_page_shows_the_path(tmp_path: Path) -> None:
    """It is one file with the cause, each hop, and the drawing in which the path is lit."""
    explanation = explained(capture_of("routes-forward-drop-target"), tmp_path)
    inventory = load(tmp_path / "inventory.yml")
    view = View(inventory, tuple(explanation.topologies), explanation.topologies, ())
    lights = marks(explanation)
    assert lights["h1", "c1"] and lights["h2", "eth1"] and not lights["h2", "c2"]
    text = page(explanation, svg(lit(drawing(view), lights)))
    assert "iptables -t filter -D FORWARD -p icmp -j DROP" in text
    assert text.count('<rect class="container ok"') == 1
    assert text.count('<rect class="container failed"') == 1


# Captured by xtables-monitor 1.8.9 from a table that nft made.
_NATIVE = """\
trace PACKET: 1 b6321a8c IN=exb NFPROTO=2 SRC=10.9.9.1 DST=10.9.9.2 LEN=71 ID=52836 DF
trace  TRACE: 1 b6321a8c fire:inp:rule:0x2:DROP
trace PACKET: 2 b6321a8d IN=exb SRC=10.9.9.1 DST=10.9.9.2 LEN=71 TOS=0x0 TTL=64 ID=52837 DF
trace  TRACE: 2 b6321a8d filter:INPUT:policy:DROP
watched
"""


def test_verdicts_of_native_tables_and_of_policies_are_read() -> None:
    """Their lines have no rule: the table, the chain and the handle name it."""
    rule, policy = evidence.parse(_NATIVE).verdicts
    assert (rule.table, rule.chain, rule.handle, rule.verdict) == ("fire", "inp", "0x2", "DROP")
    assert (policy.table, policy.chain, policy.handle) == ("filter", "INPUT", "policy")
    assert rule.packet["LEN"] == "71"


def test_every_fault_has_a_documented_kind() -> None:
    """The kinds of planted faults are those of the contract, and the manual names all of them."""
    assert {fault.cause["kind"] for fault in faults()} <= set(KINDS)
    page = (Path(__file__).parents[2] / "docs/explain.md").read_text()
    missing = [kind for kind in KINDS if f"`{kind}`" not in page]
    assert set(missing) <= {"vlan", "source_check"}, missing


GRE_DROP = """\
trace PACKET: 2 604d2dbb IN=eth1 SRC=10.174.119.11 DST=10.174.119.12 LEN=125 TOS=0x0 TTL=64 ID=0
trace  TRACE: 2 604d2dbb filter:INPUT:rule:0x5a:DROP  -4 -t filter -A INPUT -p gre -j DROP
"""
"""A trace as xtables-monitor prints it: without the protocol of GRE, and without ports."""


def test_a_rule_that_drops_gre_is_named(tmp_path: Path) -> None:
    """On hosts whose kernel carries the tunnel: its packets pass netfilter, the probe is inside."""
    capture = json.loads(capture_of("ovs-vxlan-tunnel-other-key").read_text())
    capture["inventory"] = capture["inventory"].replace("method: ovs-vxlan", "method: ovs-gre")
    output = capture["runs"]["h2"][-1]
    output[1] = output[1].replace("watched\n", f"{GRE_DROP}watched\n")
    path = tmp_path / "gre.json"
    path.write_text(json.dumps(capture))
    cause = explained(path, tmp_path).cause
    assert cause is not None and cause.certain
    assert (cause.host, cause.kind) == ("h2", "tunnel_port_blocked")
    assert cause.fix == "iptables -t filter -D INPUT -p gre -j DROP"
    assert "GRE" in cause.text


SPOOFING = "-A FORWARD ! -s 02:00:00:00:00:01 -i vethe6a96ad -j DROP"


@pytest.mark.parametrize(
    ("rule", "certain"),
    [
        ("-A FORWARD -i vethe6a96ad -s ! 02:00:00:00:00:01 -j DROP", True),
        ("-A FORWARD -i vnet9 ! -s 52:54:00:11:11:11 -j DROP", False),
        ("-A FORWARD -p IPv4 -i vnet9 ! --ip-src 10.0.0.9 -j DROP", False),
        ("-A FORWARD -i vethe6a96ad ! -s 00:00:00:00:00:00/00:00:00:00:00:00 -j DROP", False),
        ("-A FORWARD -s 00:00:00:00:00:00/00:00:00:00:00:00 -j DROP", True),
        ("-A FORWARD -p IPv6 -s 00:00:00:00:00:00/00:00:00:00:00:00 -j DROP", False),
        ("-A FORWARD ! -s 02:00:00:00:00:01 -j DROP", False),
        ("-A FORWARD -i vethe6a96ad ! -s 02:00:00:00:00:01 --ip-proto tcp -j DROP", False),
    ],
)
def test_a_source_check_is_certain_only_if_it_matches_the_probe(
    rule: str, certain: bool, tmp_path: Path
) -> None:
    """Counters of ebtables also grow by frames of others."""
    text = capture_of("pipework-source-spoofing").read_text()
    assert SPOOFING in text
    path = tmp_path / "rule.json"
    path.write_text(text.replace(SPOOFING, rule))
    cause = explained(path, tmp_path).cause
    assert cause is not None
    assert (cause.certain and cause.kind == "source_check") == certain, cause


@pytest.mark.parametrize(
    ("step", "fix"),
    [
        ("filter:input:policy:DROP", "nft insert rule inet filter input meta l4proto gre accept"),
        ("filter:input:rule:0x5:DROP", "nft delete rule inet filter input handle 5"),
    ],
)
def test_chains_of_nft_are_mended_by_nft(step: str, fix: str, tmp_path: Path) -> None:
    """Not by iptables, which knows neither the table nor the chain."""
    capture = json.loads(capture_of("ovs-vxlan-tunnel-other-key").read_text())
    capture["inventory"] = capture["inventory"].replace("method: ovs-vxlan", "method: ovs-gre")
    output = capture["runs"]["h2"][-1]
    trace = GRE_DROP.splitlines()[0] + f"\ntrace  TRACE: 1 604d2dbb {step}\n"
    output[1] = output[1].replace("watched\n", f"{trace}watched\n")
    path = tmp_path / "nft.json"
    path.write_text(json.dumps(capture))
    cause = explained(path, tmp_path).cause
    assert cause is not None and cause.fix == fix
