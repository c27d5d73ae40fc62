"""`compare`: its candidates, arithmetic, parsers, output, and the order of a run."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from rich.console import Console

from provision import methods
from provision.checks.run import Verification
from provision.compare import answers, candidates, deployment, run
from provision.compare.answers import Clock
from provision.compare.candidates import BASELINE, CANDIDATES, Candidate, Site
from provision.compare.figures import FIGURES, MEASUREMENTS, Measurement, Spread, ratios, spread
from provision.compare.page import PLOT_WIDTH, charts, page
from provision.compare.probe import MeasuredPath
from provision.compare.progress import Progress
from provision.compare.result import Comparison, MeasuredHost, MethodResult, Settings, as_json
from provision.compare.text import figures_table, notes, number_text, ratios_table, times_table
from provision.engine.fleet import Session
from provision.inventory.load import load
from provision.model.errors import ConflictError, ConnectError, FactsError, UnfitError, UsageError
from provision.model.inventory import Host
from provision.resources.render import program_text
from tests.fakes import Hosts, inventory

FOLDER = Path(__file__).parent / "comparison"
HOSTS = tuple(Host(f"h{n}", IPv4Address(f"10.78.0.{10 + n}")) for n in (1, 2, 3))


def site(count: int = 3) -> Site:
    """A site of `count` hosts with a LAN and a free pool on it."""
    pool = IPv4Network("10.78.0.224/28")
    lan = IPv4Network("10.78.0.0/24")
    return Site(HOSTS[:count], candidates.free_ranges(()), lan=lan, pool=pool)


def test_every_method_is_a_candidate() -> None:
    """The first one is routes, whose packets pass no rule of another; NIC movers are last."""
    names = [candidate.name for candidate in CANDIDATES]
    tested = [
        "routes",
        "ports",
        "flannel-vxlan",
        "flannel-host-gw",
        "flannel-udp",
        "vxlan",
        "vxlan-evpn",
        "ovs-gre",
        "ovs-vxlan",
        "pipework",
    ]
    assert [name for name in names if name in tested] == tested
    assert {candidate.method for candidate in CANDIDATES} == {None, *methods.names()}
    nic_movers = [candidate.name for candidate in CANDIDATES if candidate.alone]
    assert {"ovs-gre", "ovs-vxlan", "pipework"} <= set(nic_movers)
    assert names[-len(nic_movers) :] == nic_movers


def test_the_names_of_candidates_are_unique() -> None:
    """So are the names of their inventories, by which compare destroys resources."""
    for names in ([c.name for c in CANDIDATES], [c.mark for c in CANDIDATES]):
        assert len(set(names)) == len(CANDIDATES)
        assert BASELINE not in names and candidates.SWITCH_MARK not in names


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.name)
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("switching", [False, True])
def test_a_candidate_has_a_valid_inventory(
    candidate: Candidate, count: int, switching: bool, tmp_path: Path
) -> None:
    """The loader accepts it, and each host has a container."""
    path = tmp_path / "it.yml"
    path.write_text(candidates.text(candidate, site(count), switching=switching))
    loaded = load(path)
    assert loaded.name == (candidates.SWITCH_MARK if switching else candidate.mark)
    assert [c.host for c in loaded.containers.values()] == [h.name for h in HOSTS[:count]]
    assert {network.method for network in loaded.networks.values()} <= {candidate.method}


def test_candidates_share_no_range_and_no_name(tmp_path: Path) -> None:
    """So they can be applied at the same time."""
    cidrs: list[IPv4Network] = []
    names: list[str] = []
    for candidate in CANDIDATES:
        (tmp_path / "it.yml").write_text(candidates.text(candidate, site()))
        loaded = load(tmp_path / "it.yml")
        cidrs += [network.cidr for network in loaded.networks.values() if not candidate.on_lan]
        names += [*loaded.containers, *loaded.networks]
    assert not any(a.overlaps(b) for k, a in enumerate(cidrs) for b in cidrs[:k])
    assert len(names) == len(set(names))


def test_a_candidate_has_subnets_for_200_hosts(tmp_path: Path) -> None:
    """The subnets are smaller then."""
    hosts = tuple(Host(f"h{n}", IPv4Address("10.78.0.1") + n) for n in range(200))
    (tmp_path / "it.yml").write_text(candidates.text(CANDIDATES[0], replace(site(), hosts=hosts)))
    assert len(load(tmp_path / "it.yml").networks["cmp-routes"].subnets) == 200


def test_methods_are_chosen_by_name() -> None:
    """The table gives the order, and the baseline `host` is always measured."""
    chosen = candidates.chosen("ports, host,routes")
    assert [candidate.name for candidate in chosen] == ["routes", "ports"]
    assert candidates.chosen("host") == ()
    assert candidates.chosen(None) == CANDIDATES
    with pytest.raises(UsageError) as caught:
        candidates.chosen("rutes")
    assert "routes" in caught.value.hint
    with pytest.raises(UsageError, match="--methods is empty"):
        candidates.chosen(",")


def test_groups_separate_candidates_that_exclude_each_other() -> None:
    """A candidate that moves the NIC is alone, and each group has at most one flannel."""
    groups = candidates.groups(CANDIDATES)
    names = sorted(candidate.name for group in groups for candidate in group)
    assert names == sorted(candidate.name for candidate in CANDIDATES)
    for group in groups:
        assert len(group) == 1 or not any(candidate.alone for candidate in group)
        assert sum("flannel" in candidate.name for candidate in group) <= 1
    # Three groups have a variant of flannel, the first of them all methods with one variant.
    assert len(groups) == 3 + sum(candidate.alone for candidate in CANDIDATES)
    assert candidates.groups(()) == ()


def test_the_result_has_the_order_of_the_candidates() -> None:
    """Variants of a method stand together, although they are in different groups."""
    names = [candidate.name for candidate in CANDIDATES]
    left_out = dict.fromkeys(names[1::4], "no iperf3")
    chosen = [candidate for candidate in CANDIDATES if candidate.name not in left_out]
    progress = Progress(lambda _: None, candidates.groups(chosen), left_out)
    assert list(progress.methods) == ["host", *names]
    assert {n for n, m in progress.methods.items() if m.status == "left out"} == set(left_out)


def test_free_ranges_avoid_existing_routes() -> None:
    """A route in the range removes a part of it; if too much is in use, compare refuses."""
    used = IPv4Network("198.18.40.0/24")
    assert not any(block.overlaps(used) for block in candidates.free_ranges([used]))
    with pytest.raises(UsageError, match="use too much of"):
        candidates.free_ranges([IPv4Network("198.18.0.0/16")])


def measurements() -> tuple[Measurement, ...]:
    """Measurements of two groups; in the second one, the machine is half as fast for all."""
    by_group = {
        BASELINE: {1: (10.0, 8.0), 2: (5.0,)},
        "routes": {1: (9.0, 8.0)},
        "ports": {2: (4.0,)},
    }
    return tuple(
        Measurement(name, group, number, key, value)
        for key in ("tcp_1", "tcp_8")
        for name, groups in by_group.items()
        for group, rounds in groups.items()
        for number, value in enumerate(rounds, 1)
    )


def test_a_ratio_is_to_the_baseline_of_the_same_round() -> None:
    """A load that slows both does not change the ratio."""
    assert ratios(measurements(), "routes", "tcp_1") == (0.9, 1.0)
    assert ratios(measurements(), "ports", "tcp_1") == (0.8,)
    assert ratios(measurements(), "ports", "rtt_p50") == ()
    without_baseline = [m for m in measurements() if m.candidate != BASELINE]
    assert ratios(without_baseline, "routes", "tcp_1") == ()


def test_a_spread_has_the_smallest_median_and_largest_value() -> None:
    """The median of an even number of values is the mean of the two in the middle."""
    assert spread([3.0, 1.0, 2.0, 10.0]) == Spread(1.0, 2.5, 10.0)
    assert spread([]) is None


def answer(text: str) -> str:
    """A host's output with `text` between two readings of the clock."""
    clock = "clock cpu  100 0 50 1000 5 0 10 0 0 0\nclock ctxt 777\nclock btime 5\n"
    return f"{clock}{text}\n{clock}"


def test_the_output_of_iperf3_is_parsed() -> None:
    """The files are captures of version 3.18."""
    tcp = answers.sample("tcp_8", answer((FOLDER / "iperf3-tcp.json").read_text()))
    assert (round(tcp.figures["tcp_8"], 2), tcp.bytes) == (3.95, 500665096)
    udp = answers.sample("udp", answer((FOLDER / "iperf3-udp.json").read_text()))
    assert udp.figures == {"udp_loss": 0.0}


def test_the_output_of_our_programs_is_parsed() -> None:
    """They print microseconds, and requests with the seconds that these took."""
    assert answers.sample("rtt", answer("rtt 4000 31.5 402.1")).figures == {
        "rtt_p50": 31.5,
        "rtt_p99": 402.1,
    }
    assert answers.sample("requests", answer("requests 5000 2.5")).figures == {"requests": 2000}


@pytest.mark.parametrize(
    ("measurement", "output", "message"),
    [
        ("tcp_1", '{"end": {}, "error": "unable to connect to server"}', "unable to connect"),
        ("tcp_1", "iperf3: not found", "not found"),
        ("tcp_1", "", "no answer"),
        ("udp", '{"end": {"streams": []', "streams"),
        ("rtt", "connect: Connection refused", "refused"),
        ("requests", "", "no answer"),
    ],
)
def test_a_failed_measurement_raises_its_reason(
    measurement: str, output: str, message: str
) -> None:
    """The parser returns no figure then."""
    with pytest.raises(ValueError, match=message):
        answers.sample(measurement, answer(output))


def test_two_clocks_show_if_two_hosts_share_a_kernel() -> None:
    """They do if one host's context switches lie between two readings of the other one's."""
    first, second = answers.clocks(answer(""))
    assert first == second == Clock(boot=5, busy=160, switches=777)
    assert answers.is_same_kernel(Clock(5, 0, 10), Clock(5, 0, 12), Clock(5, 0, 15))
    assert not answers.is_same_kernel(Clock(5, 0, 10), Clock(5, 0, 99), Clock(5, 0, 15))
    assert not answers.is_same_kernel(Clock(5, 0, 10), Clock(900, 0, 12), Clock(5, 0, 15))


@pytest.mark.skipif(shutil.which("perl") is None, reason="needs perl")
def test_the_programs_for_small_messages_measure_the_loopback() -> None:
    """The two Perl programs run here, and a closed port is reported."""
    port = "28431"
    argv = ("perl", "-e", program_text("compare/answer.pl"), "60", "127.0.0.1", port)
    leader = int(subprocess.run(argv, capture_output=True, check=True, text=True).stdout)
    try:
        for measurement in ("rtt", "requests"):
            code = program_text("compare/ask.pl")
            ask = ("perl", "-e", code, measurement, "127.0.0.1", port, "1")
            output = subprocess.run(ask, capture_output=True, check=True, text=True).stdout
            figures = answers.sample(measurement, output).figures
            assert all(0 < value < 1e6 for value in figures.values()), output
            if measurement == "rtt":
                assert figures["rtt_p50"] <= figures["rtt_p99"]
    finally:
        subprocess.run(("kill", "--", f"-{leader}"), check=True)
    time.sleep(0.2)
    refused = subprocess.run(ask, capture_output=True, text=True)
    assert refused.returncode and "refused" in refused.stderr


def comparison() -> Comparison:
    """A comparison with results of every status, and values that are easy to divide."""
    host = MeasuredHost("h1", "Debian 13", "6.18", 2, "EPYC", "26.1.5", "3.18", 0.5)
    values: Mapping[str, Sequence[float]] = {
        "tcp_1": (10.0, 8.0), "tcp_8": (20.0, 20.0), "requests": (5000.0, 4000.0),
        "rtt_p50": (20.0, 25.0), "rtt_p99": (100.0, 110.0), "cpu": (0.5, 0.4), "udp_loss": (0, 0),
    }  # fmt: skip
    shares = {BASELINE: 1.0, "routes": 0.95, "vxlan": 0.5}
    measured = tuple(
        Measurement(name, 1, number, key, value * share * (number if name == "vxlan" else 1))
        for name, share in shares.items()
        for key, rounds in values.items()
        for number, value in enumerate(rounds, 1)
    )
    seconds = {"apply": 2.04, "verify": 1.0, "destroy": 1.51}
    return Comparison(
        (host, replace(host, host="h2", system="Debian 12", load=9.0)),
        True,
        Settings(2, 2, 100),
        (
            MethodResult(BASELINE, "compared", group=1, mtu=1500),
            MethodResult("routes", "compared", "", 1, 1500, {**seconds, "switch": 3.0}, "vxlan"),
            MethodResult("vxlan", "compared", "", 1, 1450, seconds),
            MethodResult("ports", "failed", "h2: ports: <iperf3> died", 1, None, {"apply": 1.0}),
            MethodResult("pipework", "left out", "it takes addresses of the LAN"),
            MethodResult("ovs-gre", "not reached", group=2),
        ),
        measured,
        (UnfitError("h2", "ports: <iperf3> died"),),
        took_s=61.234,
    )


def assert_golden(name: str, text: str) -> None:
    """Compare with the golden file. A missing one is written for review, and the test fails."""
    path = FOLDER / name
    if not path.exists():
        path.write_text(text)
        pytest.fail(f"{path} is new: read it")
    assert text == path.read_text()


def test_the_json_has_the_documented_shape() -> None:
    """Users' scripts read it."""
    assert_golden(
        "compare.json", json.dumps(as_json(comparison()), indent=2, ensure_ascii=False) + "\n"
    )


def test_the_tables_fit_a_terminal() -> None:
    """The golden file has their text for 100 columns."""
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    for table in (figures_table, ratios_table, times_table):
        console.print(table(comparison()))
    for line in notes(comparison()):
        console.print(line, markup=False)
    text = "\n".join(line.rstrip() for line in console.export_text().splitlines())
    assert_golden("compare.txt", text + "\n")


def test_the_page_fetches_nothing_and_escapes_text() -> None:
    """One file has everything, and the output of a host cannot become HTML."""
    html = page(comparison(), "demo.yml")
    assert_golden("compare.html", html)
    for text in ("http://", "https://", "src=", "<script", "<iperf3>"):
        assert text not in html
    assert "&lt;iperf3&gt;" in html


def test_a_chart_fits_its_frame() -> None:
    """No bar, dot or line is outside; each figure with a ratio has a chart."""
    slow = tuple(Measurement("ports", 1, n, "cpu", 0.5 * 40) for n in (1, 2))
    drawn = list(charts(replace(comparison(), measurements=(*comparison().measurements, *slow))))
    assert len(drawn) == sum(figure.has_ratio for figure in FIGURES) - 2
    for chart in drawn:
        ends = [x for bar in chart.bars for x in (bar.median, bar.low, bar.high, *bar.dots)]
        assert all(0 <= x <= PLOT_WIDTH for x in (*ends, chart.baseline))
        assert 2 <= len(chart.ticks) <= 7
    (cut,) = [bar for bar in drawn[-1].bars if bar.name == "ports"]
    assert (cut.cut_off, cut.median, cut.label) == (True, PLOT_WIDTH, "45.0")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (3.456, "3.46"), (34.56, "34.6"), (34567.8, "34568")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    """A measurement is not more exact than that; no number has an exponent."""
    assert number_text(value) == text


def test_the_exit_status_is_the_worst() -> None:
    """An unfit host counts more than a conflict, and an interruption more than both."""
    successful = replace(comparison(), errors=())
    assert successful.exit_status == 0
    assert comparison().exit_status == 4
    errors = (UnfitError("h2", "x"), ConflictError("y"))
    assert replace(successful, errors=errors).exit_status == 4
    assert replace(successful, interrupted=True).exit_status == 130


class FakeRunner:
    """Measures nothing, and notes the measurements.

    The measurement number `break_at` is interrupted. Those of the candidates in `failing` fail.
    """

    shared_kernel = True
    break_at = 0
    failing: tuple[str, ...] = ()
    log: list[str]

    def __init__(self, *_arguments: object) -> None:
        self.count = 0
        self.closed = True

    def stop_all(self) -> None:
        pass

    def survey(self, _fleet: object) -> tuple[MeasuredHost, ...]:
        return comparison().hosts

    def start_servers(self, _paths: Sequence[MeasuredPath], _life_s: int) -> dict[str, str]:
        self.closed = False
        return {}

    def mtus(self, paths: Sequence[MeasuredPath]) -> dict[str, int]:
        return {path.candidate: 1500 for path in paths}

    def measure(self, measurement: str, path: MeasuredPath) -> dict[str, float]:
        self.count += 1
        if self.count == self.break_at:
            raise KeyboardInterrupt
        if path.candidate in self.failing:
            raise FactsError("h1", f"{path.candidate}: {measurement}: no answer")
        self.log.append(f"{measurement} {path.candidate}")
        return {{"udp": "udp_loss", "rtt": "rtt_p50"}.get(measurement, measurement): 1.0}

    def stop_servers(self) -> None:
        self.closed = True


class FakeDeployment:
    """Applies nothing, and notes the calls. It cannot apply `unfit`, and cannot remove `stuck`."""

    log: list[str]
    unfit: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()

    def __init__(self, *_arguments: object) -> None:
        pass

    def apply(self, candidate: Candidate, *, switching: bool = False) -> float:
        self.log.append(f"{'switch to' if switching else 'apply'} {candidate.name}")
        if candidate.name in self.unfit:
            raise UnfitError("h1", "it cannot")
        return 1.0

    def verify(self, _candidate: Candidate) -> float:
        return 0.5

    def path(self, candidate: Candidate) -> MeasuredPath:
        address = IPv4Address("10.0.0.1")
        return MeasuredPath(candidate.name, 1, 1, address, address, 1, 1)

    def destroy(self, candidate: Candidate | None) -> float:
        name = candidate.name if candidate else "switched"
        self.log.append(f"destroy {name}")
        if name in self.stuck:
            raise FactsError("h1", "it stays")
        return 1.0


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The calls of a run whose runner and deployment are fakes."""
    calls: list[str] = []
    monkeypatch.setattr(run, "Runner", type("R", (FakeRunner,), {"log": calls}))
    monkeypatch.setattr(run, "Deployment", type("D", (FakeDeployment,), {"log": calls}))
    monkeypatch.setattr(run, "find_site", lambda *_given, **_options: (site(), None, {}))
    monkeypatch.setattr(run, "remove_leftovers", lambda *_given: None)
    yield calls


A, B = Candidate("a", "a", "routes"), Candidate("b", "b", "routes")
MOVER = Candidate("mover", "m", "routes", alone=True)


def compare(*chosen: Candidate, rounds: int = 2, strict: bool = False) -> Comparison:
    """Compare these candidates between two hosts."""
    session = Session(inventory("h1", "h2"), Hosts())
    settings = Settings(1, rounds, 100)
    return run.compared(session, ("h1", "h2"), chosen, settings, strict=strict)


def test_a_run_interleaves_the_candidates_and_destroys_them(log: list[str]) -> None:
    """Candidates take turns in each measurement, and another one is first in each round.

    The first candidate is applied last, because a packet passes the rules of candidates that
    were applied later before its own. Switching comes after the measurements.
    """
    result = compare(A, B)
    assert log[:2] == ["apply b", "apply a"]
    assert log[2:5] == ["tcp_1 a", "tcp_1 b", "tcp_1 host"]
    assert log[2 + 3 * len(MEASUREMENTS) :][:3] == ["tcp_1 b", "tcp_1 host", "tcp_1 a"]
    assert log[-6:] == [
        "destroy a", "destroy b", "switch to a", "switch to b", "switch to a", "destroy switched",
    ]  # fmt: skip
    assert {c.candidate: c.switched_from for c in result.methods} == {
        BASELINE: None, "a": "b", "b": "a"
    }  # fmt: skip
    assert (result.exit_status, {c.status for c in result.methods}) == (0, {"compared"})


def test_the_baseline_is_measured_before_and_after_a_candidate_that_moves_the_nic(
    log: list[str],
) -> None:
    """The baseline is never measured meanwhile, and each round of the candidate has one."""
    result = compare(MOVER)
    apply, destroy = log.index("apply mover"), log.index("destroy mover")
    baseline = [k for k, line in enumerate(log) if line.endswith(" host")]
    assert len([k for k in baseline if k < apply]) == len(MEASUREMENTS)
    assert len([k for k in baseline if k > destroy]) == len(MEASUREMENTS)
    assert len(ratios(result.measurements, "mover", "tcp_1")) == 2


def test_an_interrupted_run_destroys_the_candidates(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result has the measurements until then."""
    monkeypatch.setattr(run.Runner, "break_at", 5)
    result = compare(A, B)
    assert log[-2:] == ["destroy a", "destroy b"]
    assert (result.exit_status, result.interrupted, len(result.measurements)) == (130, True, 4)
    assert not any("switch" in line for line in log)


def test_a_candidate_that_fails_does_not_end_the_others(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run reports and destroys it, and neither measures it again nor switches to it."""
    monkeypatch.setattr(run.Runner, "failing", ("a",))
    result = compare(A, B)
    status = {method.candidate: method.status for method in result.methods}
    assert status == {BASELINE: "compared", "a": "failed", "b": "compared"}
    assert ("destroy a" in log, log.count("tcp_1 b"), result.exit_status) == (True, 2, 4)
    assert len(result.errors) == 1


def test_an_unfit_candidate_is_left_out_unless_it_was_named(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result has the reason; a named candidate is an error."""
    monkeypatch.setattr(run.Deployment, "unfit", ("a",))
    method = compare(A, B).methods[1]
    assert (method.status, method.reason) == ("left out", "h1: it cannot")
    assert compare(A, B).exit_status == 0
    assert compare(A, B, strict=True).exit_status == 4
    assert log.count("destroy a") == 3


def test_a_destroy_that_fails_is_reported_and_repeated(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second attempt is at the end of the run."""
    monkeypatch.setattr(run.Deployment, "stuck", ("a",))
    result = compare(A, B)
    assert log.count("destroy a") == 2
    assert result.exit_status == 4
    assert "it stays" in result.methods[1].reason


def test_a_lost_host_ends_the_run_with_a_result(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run tries to destroy the candidates, and reports the error."""

    def lost(*_arguments: object) -> dict[str, int]:
        raise ConnectError("h2", "it is gone")

    monkeypatch.setattr(run.Runner, "mtus", lost)
    result = compare(A, B)
    assert log[-2:] == ["destroy a", "destroy b"]
    assert (result.exit_status, [str(error) for error in result.errors]) == (4, ["h2: it is gone"])
    assert {method.status for method in result.methods} == {"not reached"}


def test_servers_that_do_not_end_hide_no_interruption(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result has both the interruption and the error."""

    def stuck(_runner: object) -> None:
        raise FactsError("h2", "it serves on")

    monkeypatch.setattr(run.Runner, "break_at", 3)
    monkeypatch.setattr(run.Runner, "stop_servers", stuck)
    result = compare(A)
    assert (result.interrupted, result.exit_status) == (True, 130)
    assert "h2: it serves on" in map(str, result.errors)
    assert log[-1] == "destroy a"


def test_an_interrupted_verify_interrupts_the_comparison(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """pytest ends the checks itself on Ctrl-C: the checks that passed are no success."""
    hosts = inventory("h1")
    result = Verification(hosts, (), (), (), (), 0, interrupted=True)
    monkeypatch.setattr(deployment, "run_checks", lambda *_, **__: result)
    monkeypatch.setattr(deployment.Deployment, "_inventory", lambda *_, **__: hosts)
    with pytest.raises(KeyboardInterrupt):
        deployment.Deployment(Session(hosts, Hosts()), ("h1",), site(), tmp_path).verify(A)


def test_one_host_is_too_few(log: list[str]) -> None:
    """A comparison needs a network between two hosts."""
    session = Session(inventory("h1"), Hosts())
    with pytest.raises(UsageError, match="two hosts"):
        run.compared(session, ("h1",), (A,), Settings(1, 1, 1))
    assert not log
