"""The pairs that --pairs chooses, and what verify says about them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from provision.checks import gather, lan_probe, ports, probe
from provision.checks.limits import USUAL_FILES, Limits
from provision.checks.page import page
from provision.checks.pair_choice import ALL_PAIRS, PairChoice, choice
from provision.checks.run import Verification, run_checks
from provision.checks.text import as_json, show, summary
from provision.engine.fleet import Session
from provision.inventory.load import load
from provision.model.errors import UsageError
from provision.model.inventory import Inventory
from tests.bench import judging
from tests.fakes import Hosts
from tests.unit.test_commands import run

HOSTS = 12
SAMPLE = PairChoice(others=3, seed=7)


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Inventory:
    """Twelve hosts with two containers on `blue` each, and one on Docker's default bridge."""
    lines = ["name: demo", "hosts:"]
    lines += [f"  h{n}: {{address: 10.78.0.{n}}}" for n in range(1, HOSTS + 1)]
    lines += ["networks: {blue: {method: routes, cidr: 172.20.0.0/16}}", "containers:"]
    for n in range(1, HOSTS + 1):
        lines += [f"  {name}{n}: {{host: h{n}, network: blue}}" for name in "ab"]
        lines += [f"  p{n}: {{host: h{n}, network: bridge, ports: ['8080:80']}}"]
    path = tmp_path_factory.mktemp("pairs") / "inventory.yml"
    path.write_text("\n".join(lines) + "\n")
    return load(path)


def chosen(inventory: Inventory, choice: PairChoice) -> list[tuple[str, str]]:
    """The names of the chosen pairs."""
    containers = inventory.containers.values()
    return [(s.name, t.name) for s, t in gather.pairs(inventory, containers, choice)]


def test_in_the_ring_each_host_is_source_and_target_once(inventory: Inventory) -> None:
    """`hosts`: one ring over all hosts, not several; no pair on one host alone."""
    pairs = chosen(inventory, PairChoice(0))
    assert pairs[0] == ("a1", "a2") and pairs[-1] == (f"a{HOSTS}", "a1")
    following = dict(pairs)
    assert len(following) == len(pairs) == HOSTS
    reached, here = [], "a1"
    for _ in range(HOSTS):
        here = following[here]
        reached.append(here)
    assert len(set(reached)) == HOSTS


def test_a_sample_has_the_ring_and_as_many_random_targets_of_each_container(
    inventory: Inventory,
) -> None:
    """No container is its own target, and no pair comes twice."""
    pairs = chosen(inventory, SAMPLE)
    assert len(set(pairs)) == len(pairs) == HOSTS + 2 * HOSTS * 3
    assert set(chosen(inventory, PairChoice(0))) <= set(pairs)
    assert set(pairs) <= set(chosen(inventory, ALL_PAIRS))
    assert set(Counter(source for source, _ in pairs).values()) == {3, 4}


def test_equal_seeds_choose_equal_pairs(inventory: Inventory) -> None:
    """Another seed chooses others: the targets are drawn."""
    assert chosen(inventory, SAMPLE) == chosen(inventory, replace(SAMPLE))
    assert chosen(inventory, SAMPLE) != chosen(inventory, replace(SAMPLE, seed=8))


def test_a_sample_of_more_than_there_are_is_all(inventory: Inventory) -> None:
    """Every pair once, in the order of all pairs."""
    assert chosen(inventory, PairChoice(500, 1)) == chosen(inventory, ALL_PAIRS)


def test_all_pairs_are_the_default_up_to_50_containers() -> None:
    """Above, four random targets of each; a seed is drawn unless one is given."""
    assert choice(None, None, containers=50, fresh_seed=9) == ALL_PAIRS
    assert choice(None, None, containers=51, fresh_seed=9) == PairChoice(4, 9)
    assert choice(None, 3, containers=51, fresh_seed=9) == PairChoice(4, 3)
    assert choice("all", None, containers=51, fresh_seed=9) == ALL_PAIRS
    assert choice("hosts", None, containers=2, fresh_seed=9) == PairChoice(0)
    assert choice("sample:10000", 3, containers=2, fresh_seed=9) == PairChoice(10000, 3)


@pytest.mark.parametrize(
    "text",
    ["", "some", "sample", "sample:", "sample:0", "sample:-1", "sample:x", "sample:10001", "ALL",
     "sample:4 ", "sample:٤", "hosts:3"],
)  # fmt: skip
def test_another_choice_is_a_usage_error(text: str) -> None:
    """The hint names the three that there are."""
    with pytest.raises(UsageError, match="no such choice of pairs") as caught:
        choice(text, None, containers=3, fresh_seed=0)
    assert "all, hosts, or sample:K" in caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--pairs", "sample:0"), "--pairs sample:0: no such choice of pairs"),
        (("--pairs", "hosts", "--seed", "3"), "--seed 3: --pairs hosts draws no pairs"),
        (("--seed", "-1"), "-1 is not in the range"),
        (("--seed", "x"), "'x' is not a valid integer"),
    ],
)
def test_a_bad_value_is_one_error_before_a_host_is_contacted(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """Status 2; nobody answers at the address of the inventory."""
    (tmp_path / "i.yml").write_text("name: demo\nhosts: {h1: {address: 192.0.2.1}}\n")
    status, out, err = run(tmp_path, "verify", "i.yml", *arguments)
    assert (status, out) == (2, "")
    assert err.count(message) == 1 and len(err.splitlines()) <= 4


def test_a_sampled_port_is_opened_from_the_next_host_and_some_others(inventory: Inventory) -> None:
    """All of a port's callers are three containers and a host for each other host."""
    hosts = tuple(inventory.hosts)
    every = list(ports.publications(inventory, hosts))
    sampled = list(ports.publications(inventory, hosts, SAMPLE))
    assert set(sampled) <= set(every)
    assert Counter(p.target.name for p in every).most_common(1)[0][1] == (HOSTS - 1) * 4
    assert {Counter(p.target.name for p in sampled)[f"p{n}"] for n in range(1, 13)} == {1 + 3}
    of_last = [p.source for p in sampled if p.target.name == f"p{HOSTS}"]
    assert of_last[0] == "h1"
    ring = ports.publications(inventory, hosts, PairChoice(0))
    assert [(p.source, p.target.name) for p in ring][:2] == [("h2", "p1"), ("h3", "p2")]


def test_a_sampled_lan_has_the_ring_and_some_others(inventory: Inventory) -> None:
    """The own address and the router are probed in any case."""
    address = inventory.hosts["h1"].address
    ends = [
        lan_probe.LanEndpoint(f"h{n}", f"h{n}", "lan", 0, 0, "eth1", address + n, 1500)
        for n in range(HOSTS)
    ]
    probes = Counter(probe.kind for probe in lan_probe.lan_probes(ends, SAMPLE))
    assert probes == {"own": HOSTS, "reach": HOSTS * 4}
    probes = Counter(probe.kind for probe in lan_probe.lan_probes(ends))
    assert probes == {"own": HOSTS, "reach": HOSTS * (HOSTS - 1)}


# What a verify of a sample judges and says.


def verify(
    patch: pytest.MonkeyPatch, folder: Path, choice: PairChoice, expression: str = "ping or tcp"
) -> Verification:
    """The result of a verify of eight containers, on evidence of all pairs."""
    evidence = replace(judging.gathered(8, folder), choice=choice)
    patch.setattr(gather, "evidence", lambda *_: evidence)
    session = Session(evidence.inventory, Hosts())
    return run_checks(session, evidence.hosts, junit=True, expression=expression, choice=choice)


def test_only_the_chosen_pairs_are_judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Text, page and JSON tell how many of how many pairs, and how to choose the same again."""
    result = verify(monkeypatch, tmp_path, PairChoice(2, 7))
    pairs = {(check.source, check.target) for check in result.checks}
    assert len(result.checks) == 2 * len(pairs) == 2 * (8 + 8 * 2)
    assert result.ok
    said = "Sampled 24 of 56 pairs of containers by --pairs sample:2 --seed 7; --pairs all checks"
    assert said in summary(result) and said in page(result, "x")
    assert as_json(result)["pairs"] == {
        "choice": "sample:2", "seed": 7, "checked": 24, "all": 56
    }  # fmt: skip
    json.dumps(as_json(result))


def test_a_sample_is_printed_by_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row for each source, as text and as HTML; a failure names its check."""
    result = verify(monkeypatch, tmp_path, PairChoice(0))
    (first, *rest) = result.checks
    failed = replace(result, checks=(replace(first, ok=False, detail="lost"), *rest))
    show(failed)
    out = capsys.readouterr().out
    assert "network blue: ping, tcp of sampled pairs" in out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    assert ["c1 on h1", "c2", "FAILED ping"] in rows and ["c8 on h8", "c1", "ok"] in rows
    assert "ping c1 → c2: FAILED: lost" in out
    assert '<tr><th>c1 on h1</th><td>c2</td><td class="failed">FAILED ping</td></tr>' in page(
        failed, "x"
    )
    assert as_json(result)["pairs"]["seed"] is None


def test_all_pairs_are_not_called_a_sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither where the sample happens to have every pair."""
    for choice_of_all in (ALL_PAIRS, PairChoice(500, 1)):
        (tmp_path / str(choice_of_all.seed)).mkdir()
        result = verify(monkeypatch, tmp_path / str(choice_of_all.seed), choice_of_all)
        assert len(result.checks) == 2 * 56
        assert "pairs" not in as_json(result) and "Sampled" not in summary(result)


# Limits.


def test_limits_grow_with_the_peers_of_a_source() -> None:
    """A listener outlives the round in which others connect to it."""
    small, large = Limits(2), Limits(999)
    assert (small.call_s, small.round_s, small.listen_s) == (10, 120, 180)
    assert (large.call_s, large.round_s, large.listen_s) == (59, 316, 572)
    for limits in (small, large):
        assert limits.call_s < limits.round_s < limits.listen_s


def test_a_connection_outlives_the_pings_of_its_caller() -> None:
    """The caller connects before its pings and sends data after them."""
    end = probe.Endpoint("c1", "h1", "blue", 4711, None, 1500)
    assert " 180 35 4711 " in probe.listen_script([end], Limits(2))


def test_a_script_asks_for_more_files_only_where_it_needs_them() -> None:
    """Each peer takes a socket."""
    assert Limits(49).files == Limits(USUAL_FILES - 64).files == ":"
    assert "ulimit -n 2064 " in Limits(2000).files


def test_the_evidence_is_not_printed_for_a_failed_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """pytest prints the arguments of a failed check, of which this one is large."""
    result = verify(monkeypatch, tmp_path, ALL_PAIRS, "mode")
    assert not result.ok and result.junit.count("<failure") == 8
    assert "HostFacts" not in result.junit and "answers=" not in result.junit
    assert len(result.junit) < 100_000
