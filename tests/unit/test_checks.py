"""The checks of verify: their subjects, and their run by pytest on evidence without hosts."""

from __future__ import annotations

import inspect
import os
import signal
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from provision.checks import gather, run, test_lan, test_network
from provision.checks.gather import NO_OVS, Drift, Evidence
from provision.checks.judge import Judge
from provision.checks.page import page
from provision.checks.probe import Answer, Endpoint, Listener
from provision.checks.run import Verification, run_checks
from provision.checks.subjects import KINDS, Check
from provision.checks.text import as_json, show, summary
from provision.cli import change
from provision.cli.invocation import Invocation
from provision.engine.fleet import Session
from provision.engine.plan import Change, Conflict
from provision.facts.host import HostFacts
from provision.facts.peer_routes import PeerRoutes
from provision.inventory.load import load
from provision.model.errors import ExitStatus, UsageError, VerifyError
from provision.model.problems import Problem
from provision.resources.base import Ref, Resource
from provision.resources.kinds.image import DockerImage
from provision.resources.kinds.ovs_tunnel import OvsTunnel
from provision.resources.kinds.routes import Routes, row
from provision.resources.on_hosts import Mark
from tests.fakes import Hosts
from tests.house.test_structure import ROOT

PAIR_CHECKS = ("ping", "tcp", "mtu", "udp")


def evidence(*, lost: bool = False) -> Evidence:
    """Two containers of routes.yml on two hosts; each pair answers, or with `lost` none does."""
    inventory = load(ROOT / "inventories" / "routes.yml")
    containers = tuple(inventory.containers.values())[:2]
    addresses = [next(iter(inventory.networks["blue"].subnets[c.host].hosts())) for c in containers]
    endpoints = {
        c.name: Endpoint(c.name, c.host, c.network, 100, address, 1500)
        for c, address in zip(containers, addresses, strict=True)
    }
    answers = {
        (check, source.name, target.name): Answer(
            int(lost), f"same {endpoints[source.name].address}" if not lost else "0 of 3 packets"
        )
        for check in PAIR_CHECKS
        for source in containers
        for target in containers
    }
    hosts = tuple(c.host for c in containers)
    return Evidence(
        inventory,
        hosts,
        containers,
        {host: Drift((), ()) for host in hosts},
        {},
        endpoints,
        {c.name: Listener(40000, 200, ()) for c in containers},
        {},
        {},
        answers,
        {},
        {},
        {},
        {},
    )


def verify(patch: pytest.MonkeyPatch, evidence: Evidence, expression: str | None) -> Verification:
    """The results of the checks on this evidence."""
    patch.setattr(gather, "evidence", lambda *_: evidence)
    session = Session(evidence.inventory, Hosts())
    return run_checks(session, evidence.hosts, junit=False, expression=expression)


@pytest.mark.parametrize("module", [test_network, test_lan])
def test_each_check_has_subjects_of_a_known_kind(module: Any) -> None:
    """An argument of another name would be a fixture that nobody defines."""
    checks = [check for name, check in vars(module).items() if name.startswith("test_")]
    for check in checks:
        first, kind = inspect.signature(check).parameters
        assert first == "evidence" and kind in KINDS, check


def test_a_table_is_never_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even where the terminal is narrower: names and addresses stay whole."""
    monkeypatch.setenv("COLUMNS", "20")
    show(verify(monkeypatch, evidence(), None))
    out = capsys.readouterr().out
    assert "1  c1  h1  172.20." in out and "…" not in out


def test_pairs_that_answer_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check of each ordered pair is judged once, by the names of its containers."""
    result = verify(monkeypatch, evidence(), "ping or tcp or udp or source or drift")
    assert result.ok and result.exit_status == ExitStatus.OK
    checks = {(check.check, check.source, check.target) for check in result.checks}
    assert len(checks) == len(result.checks) == 2 * 4 + 2
    assert ("source", "c1", "c2") in checks and ("drift", "h1", "h1") in checks


def test_the_message_of_a_failed_check_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The expression that pytest appends to the message is left out."""
    result = verify(monkeypatch, evidence(lost=True), "ping")
    assert [check.detail for check in result.checks] == ["0 of 3 packets"] * 2
    assert not result.ok and result.exit_status == ExitStatus.VERIFY


def test_a_sniffer_that_did_not_run_skips_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """A skipped check is neither passed nor failed."""
    result = verify(monkeypatch, evidence(), "wire")
    assert [check.skipped for check in result.checks] == [
        "no frame counts from h1: the host did not answer",
        "no frame counts from h2: the host did not answer",
    ]
    assert result.ok


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("nothing", "matches no check"),
        ("provision or checks", "matches no check"),  # names of folders above the checks
        ("a b", "cannot read"),
    ],
)
def test_an_expression_without_checks_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, expression: str, message: str
) -> None:
    """A misspelt check must not pass as a verify of nothing."""
    with pytest.raises(UsageError, match=message):
        verify(monkeypatch, evidence(), expression)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("c1-c2 and (ping or TCP)", {("ping", "c1", "c2"), ("tcp", "c1", "c2")}),
        ("ping and not c1-c2", {("ping", "c2", "c1")}),
        ("ping[c2", {("ping", "c2", "c1")}),
        ("test_network and drift and not h1", {("drift", "h2", "h2")}),
    ],
)
def test_an_expression_selects_single_pairs(
    monkeypatch: pytest.MonkeyPatch, expression: str, expected: set[tuple[str, str, str]]
) -> None:
    """Although the pairs of one source are one item of pytest."""
    checks = verify(monkeypatch, evidence(), expression).checks
    assert {(check.check, check.source, check.target) for check in checks} == expected


def test_junit_has_a_row_for_each_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the name that an item for each pair would have, and with the message of its own."""
    gathered = evidence()
    answers = {**gathered.answers, ("ping", "c1", "c2"): Answer(1, "0 of 3 packets")}
    monkeypatch.setattr(gather, "evidence", lambda *_: replace(gathered, answers=answers))
    session = Session(gathered.inventory, Hosts())
    result = run_checks(session, gathered.hosts, junit=True, expression="ping or wire")
    suite = ElementTree.fromstring(result.junit).find("testsuite")
    assert suite is not None
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4", "failures": "2", "errors": "0", "skipped": "1"
    }  # fmt: skip
    rows = {
        (case.get("classname"), case.get("name")): [(end.tag, end.get("message")) for end in case]
        for case in suite.iter("testcase")
    }
    unknown = "no frame counts from h2: the host did not answer"
    assert rows == {
        ("test_network", "test_ping[c1-c2]"): [("failure", "Failed: 0 of 3 packets")],
        ("test_network", "test_ping[c2-c1]"): [],
        ("test_network", "test_wire[c1-c2]"): [("failure", "Failed: 0 of 3 packets")],
        ("test_network", "test_wire[c2-c1]"): [("skipped", unknown)],
    }


def test_pytest_has_one_item_for_each_check_and_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """An item for each pair would cost a hundred times as much as its judgement."""
    gathered = evidence()
    containers = tuple(gathered.inventory.containers.values())
    judge = Judge(replace(gathered, containers=containers), "ping or tcp", junit=False)
    arguments = (str(test_network.__file__), "-p", "no:terminal", "-p", "no:cacheprovider")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytest.main([*arguments, "-c", os.devnull, "--rootdir", "/", "--collect-only"], plugins=[judge])
    assert (judge.items, judge.total) == (2 * 3, 2 * 3 * 2)


OF_PYTEST = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "0",
    "PYTEST_ADDOPTS": "-v --no-such-option",
    "PYTEST_PLUGINS": "no_such_module",
}


@pytest.mark.parametrize("is_set", [True, False])
def test_the_environment_of_pytest_does_not_count(
    monkeypatch: pytest.MonkeyPatch, *, is_set: bool
) -> None:
    """Options and plug-ins for tests of the user neither change nor end a verify."""
    for name, text in OF_PYTEST.items():
        if is_set:
            monkeypatch.setenv(name, text)
        else:
            monkeypatch.delenv(name, raising=False)
    result = verify(monkeypatch, evidence(), "ping")
    assert {check.check for check in result.checks} == {"ping"}
    assert {name: os.environ.get(name) for name in OF_PYTEST} == {
        name: text if is_set else None for name, text in OF_PYTEST.items()
    }


def test_a_failure_of_pytest_is_no_green_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a check that was judged, the status said that there was nothing to check."""
    monkeypatch.setattr(run, "_QUIET", ("--no-such-option",))
    with pytest.raises(VerifyError, match="pytest has failed, not a check"):
        verify(monkeypatch, evidence(), None)


class _InterruptedAnswers(dict[tuple[str, str, str], Answer]):
    """Answers of which the second one comes with a Ctrl-C."""

    reads = 0

    def _read(self) -> None:
        self.reads += 1
        if self.reads == 2:
            signal.raise_signal(signal.SIGINT)

    def __getitem__(self, key: tuple[str, str, str]) -> Answer:
        self._read()
        return super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        self._read()
        return super().get(key, default)


def test_an_interrupted_verify_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 130; text, JSON, JUnit and HTML tell after how many of the checks."""
    gathered = evidence()
    gathered = replace(gathered, answers=_InterruptedAnswers(gathered.answers))
    monkeypatch.setattr(gather, "evidence", lambda *_: gathered)
    session = Session(gathered.inventory, Hosts())
    result = run_checks(session, gathered.hosts, junit=True, expression="ping or tcp")
    assert (result.ok, result.exit_status) == (False, ExitStatus.INTERRUPTED)
    text = "Interrupted after 1 of 4 checks: 1 passed, 0 failed, 0 skipped."
    assert summary(result) == text
    shape = as_json(result)
    assert (shape["interrupted"], shape["ok"], shape["total"]) == (True, False, 4)
    assert text in page(result, "x") and "INTERRUPTED" in page(result, "x")
    suite = ElementTree.fromstring(result.junit).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("errors")) == ("2", "1")
    errors = [error.get("message") for error in suite.iter("error")]
    assert errors == ["interrupted after 1 of 4 checks"]


def test_a_verify_that_is_interrupted_before_the_checks_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the hosts are asked there is no number yet; JUnit has an error nevertheless."""

    def interrupted(*_: Any) -> Evidence:
        raise KeyboardInterrupt

    monkeypatch.setattr(gather, "evidence", interrupted)
    inventory = evidence().inventory
    result = run_checks(
        Session(inventory, Hosts()), tuple(inventory.hosts), junit=True, expression=None
    )
    assert result.exit_status == ExitStatus.INTERRUPTED
    show(result)
    assert capsys.readouterr().out == (
        "Interrupted before the first check: 0 passed, 0 failed, 0 skipped.\n"
    )
    suite = ElementTree.fromstring(result.junit).find("testsuite")
    assert suite is not None and suite.get("errors") == "1"


def test_a_diagnosis_that_is_interrupted_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks are all judged, and what explains their failures is missing."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    gathered = replace(evidence(), answers={})
    monkeypatch.setattr(gather, "evidence", lambda *_: gathered)
    monkeypatch.setattr("provision.checks.run._diagnosis", interrupted)
    session = Session(gathered.inventory, Hosts())
    result = run_checks(session, gathered.hosts, junit=True, expression="ping")
    assert result.exit_status == ExitStatus.INTERRUPTED
    assert summary(result).startswith("Interrupted after 2 of 2 checks: 0 passed, 2 failed")
    assert "interrupted after 2 of 2 checks" in result.junit


def test_a_drawing_that_is_interrupted_costs_no_results(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is read from the hosts anew, after the checks."""

    def interrupted(*_: Any) -> str:
        raise KeyboardInterrupt

    gathered = evidence()
    session = Session(gathered.inventory, Hosts())
    judged = verify(monkeypatch, gathered, "ping")
    monkeypatch.setattr("provision.checks.run.run_checks", lambda *_, **__: judged)
    monkeypatch.setattr("provision.cli.change._drawing", interrupted)
    invocation = Invocation(
        **dict.fromkeys(("limit", "ssh_config", "yes", "verbose")),
        inventory=gathered.inventory.path, as_json=True, jobs=1, timeout=9,
    )  # fmt: skip
    vars(invocation)["inventory"] = gathered.inventory
    monkeypatch.setattr(invocation, "session", lambda: nullcontext((session, gathered.hosts)))
    file = tmp_path / "page"
    options: dict[str, Any] = dict.fromkeys(("junit", "expression", "pairs", "seed"))
    status = change.verify.callback.__wrapped__(  # type: ignore[union-attr]
        invocation, html=file, everyone=False, no_explain=True, **options
    )
    assert status == ExitStatus.INTERRUPTED
    assert "INTERRUPTED" in file.read_text() and "2 passed" in file.read_text()


def test_a_verify_to_its_end_says_nothing_of_interruptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is in the JSON of an interrupted command only."""
    assert "interrupted" not in as_json(verify(monkeypatch, evidence(), "ping"))


# Differences that cannot be seen.

FACTS = HostFacts(
    host="h1", systemd=True, uid=0, tools=frozenset(), docker=(26,), docker_error="",
    live_restore=False, rootless=False, links={}, peer_routes=PeerRoutes({}), routes=(),
)  # fmt: skip
NO_DOCKER = replace(FACTS, docker=(), docker_error="it is stopped, hangs, or starts")
MARK = Mark("demo", "blue")


def created(resource: Resource) -> Change:
    return Change(resource.ref, "create", None, resource, None)


IMAGE = created(DockerImage("h1", "busybox:latest", "demo"))
LOST = [row("172.20.1.0/24", "", ""), row("172.20.2.0/24", "10.78.0.13", "eth1")]
WANTED = [row("172.20.1.0/24", "10.78.0.12", "eth1"), LOST[1]]
BEFORE, AFTER = (Routes.of("h1", "blue", "demo", rows) for rows in (LOST, WANTED))
ROUTE = Change(AFTER.ref, "update", BEFORE, AFTER, None)
TUNNEL = created(OvsTunnel("h1", "gre-h2", "ov-blue", "gre", (), True, MARK))
OVERLAP = Conflict(Ref("h1", "network", "blue"), "it overlaps br-blue, outside this inventory")


@pytest.mark.parametrize(
    ("facts", "problems", "without_ovs", "expected", "reasons"),
    [
        (FACTS, (), (), (IMAGE, ROUTE, TUNNEL), ()),
        (NO_DOCKER, (Problem("h1", "dockerd does not answer: it is dead", hides_docker=True),), (),
         (ROUTE, TUNNEL),
         ("dockerd does not answer: it is dead",)),
        (FACTS, (), ("h1",), (IMAGE, ROUTE), (NO_OVS,)),
        (FACTS, (Problem("h1", "eth1, which leads to h2, is down"),), (), (),
         ("eth1, which leads to h2, is down",)),
    ],
)  # fmt: skip
def test_what_merely_cannot_be_seen_is_no_difference(
    facts: HostFacts,
    problems: tuple[Problem, ...],
    without_ovs: tuple[str, ...],
    expected: tuple[Change, ...],
    reasons: tuple[str, ...],
) -> None:
    """The reason is told in its place; what else differs still is."""
    drift = gather.seen_drift(
        Drift((IMAGE, ROUTE, TUNNEL), ()), facts, problems, frozenset(without_ovs)
    )
    assert drift == Drift(expected, (), reasons)


def test_without_docker_a_device_on_its_bridge_is_neither_drift_nor_of_others() -> None:
    """The bridge of a Docker network that cannot be seen looks like that of somebody else."""
    anew = Change(AFTER.ref, "replace", AFTER, AFTER, None)
    problem = Problem("h1", "dockerd does not answer", hides_docker=True)
    drift = Drift((IMAGE, anew), (OVERLAP,))
    seen = gather.seen_drift(drift, NO_DOCKER, (problem,), frozenset())
    assert seen == Drift((), (), ("dockerd does not answer",))
    assert gather.seen_drift(drift, FACTS, (), frozenset()) == drift


def test_a_problem_without_a_difference_is_not_drift() -> None:
    """What was applied works: only `plan` tells of the problem."""
    problem = Problem("h1", "Docker 20.9 is too old")
    assert gather.seen_drift(Drift((), ()), FACTS, (problem,), frozenset()) == Drift((), ())


def test_the_message_of_drift_tells_what_cannot_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the differences, and without `create` for what is hidden."""
    hidden = Drift((ROUTE,), (), ("dockerd does not answer: it is dead",))
    result = verify(monkeypatch, replace(evidence(), drift={"h1": hidden, "h2": hidden}), "drift")
    assert {check.detail for check in result.checks} == {
        "cannot be compared: dockerd does not answer: it is dead; "
        "differs: route 172.20.1.0/24 via 10.78.0.12 dev eth1 is missing"
    }


def test_containers_of_a_dead_docker_are_not_said_to_be_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They may run: nobody knows."""
    seen = evidence()
    blind = replace(seen, endpoints={}, facts={"h1": NO_DOCKER, "h2": NO_DOCKER})
    details = {check.detail for check in verify(monkeypatch, blind, "ping").checks}
    assert details == {
        f"the containers of {host} cannot be seen: dockerd does not answer" for host in ("h1", "h2")
    }


def test_a_verify_of_no_pair_prints_no_matrix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither as text nor as HTML; one check is not `1 checks`."""
    result = verify(monkeypatch, evidence(), "drift and h1")
    show(result)
    printed = capsys.readouterr().out
    assert "network" not in printed and printed.startswith("1 check passed, 0 failed")
    assert "Network blue" not in page(result, "t")
    show(verify(monkeypatch, evidence(), "ping"))
    assert "network blue: ping from (row) to (column)" in capsys.readouterr().out


def test_tables_have_no_rows_for_what_was_not_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`-k` chooses some containers and ports; an empty result would look like none."""
    (tmp_path / "demo.yml").write_text(
        "name: demo\nhosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}\n"
        "containers:\n"
        '  web: {host: h1, network: bridge, ports: ["8080:80"]}\n'
        '  app: {host: h2, network: bridge, ports: ["8081:80"]}\n'
    )
    inventory = load(tmp_path / "demo.yml")
    checks = (
        Check("mode", "web", "web", ok=True),
        Check("port", "h1", "web", port="8080:80/tcp", ok=True, host_ends=("from",)),
    )
    show(Verification(inventory, tuple(inventory.containers.values()), (), checks, (), 1.0))
    printed = capsys.readouterr().out
    assert printed.count("web") == 2 and "app" not in printed, printed
