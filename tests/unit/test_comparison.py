"""compare: its table of candidates, its arithmetic, what it reads and what it prints."""

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
from provision.compare import answers, candidates, run
from provision.compare.answers import Clock
from provision.compare.candidates import BASELINE, CANDIDATES, Candidate, Site
from provision.compare.figures import FIGURES, MEASUREMENTS, Measurement, Spread, ratios, spread
from provision.compare.page import PLOT, charts, page
from provision.compare.probe import Endpoints
from provision.compare.result import Comparison, MeasuredHost, MethodResult, Settings, as_json
from provision.compare.text import figures_table, notes, number, ratios_table, times_table
from provision.engine.fleet import Session
from provision.inventory.load import load
from provision.model.errors import ConflictError, ConnectError, FactsError, UnfitError, UsageError
from provision.model.inventory import Host
from provision.resources.render import program_text
from tests.fakes import Hosts, inventory

HERE = Path(__file__).parent / "comparison"
HOSTS = tuple(Host(f"h{n}", IPv4Address(f"10.78.0.{10 + n}")) for n in (1, 2, 3))


def ground(count: int = 3) -> Site:
    pool = IPv4Network("10.78.0.224/28")
    lan = IPv4Network("10.78.0.0/24")
    return Site(HOSTS[:count], candidates.free_ranges(()), lan=lan, pool=pool)


def test_every_method_is_compared_by_its_variants() -> None:
    """routes first, as it may pass no rule of another; those that move the NIC last."""
    assert [one.name for one in CANDIDATES] == [
        "routes",
        "ports",
        "vxlan",
        "flannel-vxlan",
        "flannel-host-gw",
        "flannel-udp",
        "ovs-gre",
        "ovs-vxlan",
        "pipework",
    ]
    assert {one.method for one in CANDIDATES} == {None, *methods.names()}
    assert [one.name for one in CANDIDATES if one.alone] == ["ovs-gre", "ovs-vxlan", "pipework"]


def test_the_tables_names_are_each_ones_own() -> None:
    """Also the names of the inventories, by which things are destroyed."""
    for names in ([one.name for one in CANDIDATES], [one.mark for one in CANDIDATES]):
        assert len(set(names)) == len(CANDIDATES)
        assert BASELINE not in names and candidates.SWITCH_MARK not in names


@pytest.mark.parametrize("one", CANDIDATES, ids=lambda one: one.name)
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("switching", [False, True])
def test_a_candidate_makes_an_inventory(
    one: Candidate, count: int, switching: bool, tmp_path: Path
) -> None:
    """That the loader takes, with a container on each host."""
    path = tmp_path / "it.yml"
    path.write_text(candidates.text(one, ground(count), switching=switching))
    found = load(path)
    assert found.name == (candidates.SWITCH_MARK if switching else one.mark)
    assert [c.host for c in found.containers.values()] == [h.name for h in HOSTS[:count]]
    assert {network.method for network in found.networks.values()} <= {one.method}


def test_candidates_stand_on_ranges_of_their_own(tmp_path: Path) -> None:
    """And under names of their own, so that they can stand side by side."""
    cidrs: list[IPv4Network] = []
    names: list[str] = []
    for one in CANDIDATES:
        (tmp_path / "it.yml").write_text(candidates.text(one, ground()))
        found = load(tmp_path / "it.yml")
        cidrs += [network.cidr for network in found.networks.values() if not one.on_lan]
        names += [*found.containers, *found.networks]
    assert not any(a.overlaps(b) for k, a in enumerate(cidrs) for b in cidrs[:k])
    assert len(names) == len(set(names))


def test_many_hosts_have_smaller_parts(tmp_path: Path) -> None:
    """A range holds 200 hosts, too."""
    hosts = tuple(Host(f"h{n}", IPv4Address("10.78.0.1") + n) for n in range(200))
    (tmp_path / "it.yml").write_text(candidates.text(CANDIDATES[0], replace(ground(), hosts=hosts)))
    assert len(load(tmp_path / "it.yml").networks["cmp-routes"].subnets) == 200


def test_methods_are_named_one_by_one() -> None:
    """In the table's order; the limit is always there, and may be said."""
    found = candidates.chosen("ports, host,routes")
    assert [one.name for one in found] == ["routes", "ports"]
    assert candidates.chosen("host") == ()
    assert candidates.chosen(None) == CANDIDATES
    with pytest.raises(UsageError) as caught:
        candidates.chosen("rutes")
    assert "routes" in caught.value.hint
    with pytest.raises(UsageError, match="--methods is empty"):
        candidates.chosen(",")


def test_turns_keep_apart_what_cannot_stand_together() -> None:
    """One that moves the NIC is alone; of one claim there is one in each turn."""
    groups = candidates.groups(CANDIDATES)
    assert sorted(one.name for group in groups for one in group) == sorted(
        o.name for o in CANDIDATES
    )
    for group in groups:
        assert len(group) == 1 or not any(one.alone for one in group)
        assert sum("flannel" in one.name for one in group) <= 1
    assert len(groups) == 6
    assert candidates.groups(()) == ()


def test_ranges_avoid_what_is_taken() -> None:
    """A route of anybody in the range takes a part of it; too many leave none."""
    taken = IPv4Network("198.18.40.0/24")
    assert not any(block.overlaps(taken) for block in candidates.free_ranges([taken]))
    with pytest.raises(UsageError, match="use too much of"):
        candidates.free_ranges([IPv4Network("198.18.0.0/16")])


def readings() -> tuple[Measurement, ...]:
    """Two turns; the second machine is half as fast, for the limit too."""
    each = {
        BASELINE: {1: (10.0, 8.0), 2: (5.0,)},
        "routes": {1: (9.0, 8.0)},
        "ports": {2: (4.0,)},
    }
    return tuple(
        Measurement(name, turn, number, key, value)
        for key in ("tcp_1", "tcp_8")
        for name, turns in each.items()
        for turn, found in turns.items()
        for number, value in enumerate(found, 1)
    )


def test_a_ratio_is_to_the_limit_of_the_same_round() -> None:
    """So that what slowed both falls out of it."""
    assert ratios(readings(), "routes", "tcp_1") == (0.9, 1.0)
    assert ratios(readings(), "ports", "tcp_1") == (0.8,)
    assert ratios(readings(), "ports", "rtt_p50") == ()
    without = [one for one in readings() if one.candidate != BASELINE]
    assert ratios(without, "routes", "tcp_1") == ()


def test_a_spread_is_smallest_middle_and_largest() -> None:
    """Of an even number the middle is between two."""
    assert spread([3.0, 1.0, 2.0, 10.0]) == Spread(1.0, 2.5, 10.0)
    assert spread([]) is None


def answer(text: str) -> str:
    clock = "clock cpu  100 0 50 1000 5 0 10 0 0 0\nclock ctxt 777\nclock btime 5\n"
    return f"{clock}{text}\n{clock}"


def test_iperf3s_own_words_are_read() -> None:
    """As version 3.18 printed them."""
    tcp = answers.sample("tcp_8", answer((HERE / "iperf3-tcp.json").read_text()))
    assert (round(tcp.figures["tcp_8"], 2), tcp.bytes) == (3.95, 500665096)
    udp = answers.sample("udp", answer((HERE / "iperf3-udp.json").read_text()))
    assert udp.figures == {"udp_loss": 0.0}


def test_our_own_words_are_read() -> None:
    """Microseconds, and requests by the time that they took."""
    assert answers.sample("rtt", answer("rtt 4000 31.5 402.1")).figures == {
        "rtt_p50": 31.5,
        "rtt_p99": 402.1,
    }
    assert answers.sample("requests", answer("requests 5000 2.5")).figures == {"requests": 2000}


@pytest.mark.parametrize(
    ("what", "said", "told"),
    [
        ("tcp_1", '{"end": {}, "error": "unable to connect to server"}', "unable to connect"),
        ("tcp_1", "iperf3: not found", "not found"),
        ("tcp_1", "", "no answer"),
        ("udp", '{"end": {"streams": []', "streams"),
        ("rtt", "connect: Connection refused", "refused"),
        ("requests", "", "no answer"),
    ],
)
def test_a_failed_measurement_says_why(what: str, said: str, told: str) -> None:
    """And gives no figure."""
    with pytest.raises(ValueError, match=told):
        answers.sample(what, answer(said))


def test_the_clock_tells_whether_two_hosts_are_one_kernel() -> None:
    """By a count that lies between two readings of the other host."""
    first, again = answers.clocks(answer(""))
    assert first == again == Clock(boot=5, busy=160, switches=777)
    assert answers.is_same_kernel(Clock(5, 0, 10), Clock(5, 0, 12), Clock(5, 0, 15))
    assert not answers.is_same_kernel(Clock(5, 0, 10), Clock(5, 0, 99), Clock(5, 0, 15))
    assert not answers.is_same_kernel(Clock(5, 0, 10), Clock(900, 0, 12), Clock(5, 0, 15))


@pytest.mark.skipif(shutil.which("perl") is None, reason="needs perl")
def test_the_small_messages_go_there_and_back() -> None:
    """The two programs themselves, over this machine's loopback."""
    port = "28431"
    argv = ("perl", "-e", program_text("compare/answer.pl"), "60", "127.0.0.1", port)
    leader = int(subprocess.run(argv, capture_output=True, check=True, text=True).stdout)
    try:
        for what in ("rtt", "requests"):
            ask = ("perl", "-e", program_text("compare/ask.pl"), what, "127.0.0.1", port, "1")
            said = subprocess.run(ask, capture_output=True, check=True, text=True).stdout
            found = answers.sample(what, said).figures
            assert all(0 < value < 1e6 for value in found.values()), said
            if what == "rtt":
                assert found["rtt_p50"] <= found["rtt_p99"]
    finally:
        subprocess.run(("kill", "--", f"-{leader}"), check=True)
    time.sleep(0.2)
    refused = subprocess.run(ask, capture_output=True, text=True)
    assert refused.returncode and "refused" in refused.stderr


def comparison() -> Comparison:
    """All kinds of courses, with values that are easy to divide."""
    machine = MeasuredHost("h1", "Debian 13", "6.18", 2, "EPYC", "26.1.5", "3.18", 0.5)
    values: Mapping[str, Sequence[float]] = {
        "tcp_1": (10.0, 8.0), "tcp_8": (20.0, 20.0), "requests": (5000.0, 4000.0),
        "rtt_p50": (20.0, 25.0), "rtt_p99": (100.0, 110.0), "cpu": (0.5, 0.4), "udp_loss": (0, 0),
    }  # fmt: skip
    shares = {BASELINE: 1.0, "routes": 0.95, "vxlan": 0.5}
    found = tuple(
        Measurement(name, 1, number, key, value * share * (number if name == "vxlan" else 1))
        for name, share in shares.items()
        for key, both in values.items()
        for number, value in enumerate(both, 1)
    )
    took = {"apply": 2.04, "verify": 1.0, "destroy": 1.51}
    return Comparison(
        (machine, replace(machine, host="h2", system="Debian 12", load=9.0)),
        True,
        Settings(2, 2, 100),
        (
            MethodResult(BASELINE, "compared", group=1, mtu=1500),
            MethodResult("routes", "compared", "", 1, 1500, {**took, "switch": 3.0}, "vxlan"),
            MethodResult("vxlan", "compared", "", 1, 1450, took),
            MethodResult("ports", "failed", "h2: ports: <iperf3> died", 1, None, {"apply": 1.0}),
            MethodResult("pipework", "left out", "it takes addresses of the LAN"),
            MethodResult("ovs-gre", "not reached", group=2),
        ),
        found,
        (UnfitError("h2", "ports: <iperf3> died"),),
        took_s=61.234,
    )


def golden(name: str, found: str) -> None:
    """Compare with the file; a new one is written, to be read, and fails."""
    path = HERE / name
    if not path.exists():
        path.write_text(found)
        pytest.fail(f"{path} is new: read it")
    assert found == path.read_text()


def test_the_json_is_the_documented_one() -> None:
    """Its shape is a promise."""
    golden("compare.json", json.dumps(as_json(comparison()), indent=2, ensure_ascii=False) + "\n")


def test_the_tables_are_as_people_read_them() -> None:
    """In a terminal of 100 columns."""
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    for table in (figures_table, ratios_table, times_table):
        console.print(table(comparison()))
    for line in notes(comparison()):
        console.print(line, markup=False)
    text = "\n".join(line.rstrip() for line in console.export_text().splitlines())
    golden("compare.txt", text + "\n")


def test_the_page_is_whole() -> None:
    """One file: nothing is fetched, and a host's words are text."""
    found = page(comparison(), "demo.yml")
    golden("compare.html", found)
    for word in ("http://", "https://", "src=", "<script", "<iperf3>"):
        assert word not in found
    assert "&lt;iperf3&gt;" in found


def test_a_chart_fits_its_frame() -> None:
    """Bars, dots and the limit's line; each figure with a ratio has one."""
    slow = tuple(Measurement("ports", 1, n, "cpu", 0.5 * 40) for n in (1, 2))
    found = list(charts(replace(comparison(), measurements=(*comparison().measurements, *slow))))
    assert len(found) == sum(one.has_ratio for one in FIGURES) - 2
    for chart in found:
        ends = [x for bar in chart.bars for x in (bar.median, bar.low, bar.high, *bar.dots)]
        assert all(0 <= x <= PLOT for x in (*ends, chart.baseline))
        assert 2 <= len(chart.ticks) <= 7
    (far,) = [bar for bar in found[-1].bars if bar.name == "ports"]
    assert (far.beyond, far.median, far.label) == (True, PLOT, "45.0")


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "0"), (0.01234, "0.0123"), (3.456, "3.46"), (34.56, "34.6"), (34567.8, "34568")],
)
def test_numbers_have_three_digits(value: float, told: str) -> None:
    """As many as a measurement can have, and no exponent."""
    assert number(value) == told


def test_the_exit_status_is_the_worst() -> None:
    """As the interface orders them."""
    whole = replace(comparison(), errors=())
    assert whole.exit_status == 0
    assert comparison().exit_status == 4
    both = (UnfitError("h2", "x"), ConflictError("y"))
    assert replace(whole, errors=both).exit_status == 4
    assert replace(whole, interrupted=True).exit_status == 130


class Bench:
    """Measures nothing: says who was asked. `break_at` interrupts at that measurement."""

    shared_kernel = True
    break_at = 0
    deaf: tuple[str, ...] = ()
    log: list[str]

    def __init__(self, *_given: object) -> None:
        self.count = 0
        self.closed = True

    def stop_all(self) -> None:
        pass

    def survey(self, _fleet: object) -> tuple[MeasuredHost, ...]:
        return comparison().hosts

    def start_servers(self, _paths: Sequence[Endpoints], _life_s: int) -> dict[str, str]:
        self.closed = False
        return {}

    def mtus(self, paths: Sequence[Endpoints]) -> dict[str, int]:
        return {path.candidate: 1500 for path in paths}

    def measure(self, measurement: str, path: Endpoints) -> dict[str, float]:
        self.count += 1
        if self.count == self.break_at:
            raise KeyboardInterrupt
        if path.candidate in self.deaf:
            raise FactsError("h1", f"{path.candidate}: {measurement}: no answer")
        self.log.append(f"{measurement} {path.candidate}")
        return {{"udp": "udp_loss", "rtt": "rtt_p50"}.get(measurement, measurement): 1.0}

    def stop_servers(self) -> None:
        self.closed = True


class Stand:
    """Applies nothing; `unfit` cannot be, and `stuck` cannot be removed."""

    log: list[str]
    unfit: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()

    def __init__(self, *_given: object) -> None:
        pass

    def apply(self, one: Candidate, *, switching: bool = False) -> float:
        self.log.append(f"{'switch to' if switching else 'apply'} {one.name}")
        if one.name in self.unfit:
            raise UnfitError("h1", "it cannot")
        return 1.0

    def verify(self, _one: Candidate) -> float:
        return 0.5

    def path(self, one: Candidate) -> Endpoints:
        here = IPv4Address("10.0.0.1")
        return Endpoints(one.name, 1, 1, here, here, 1, 1)

    def destroy(self, one: Candidate | None) -> float:
        name = one.name if one else "switched"
        self.log.append(f"destroy {name}")
        if name in self.stuck:
            raise FactsError("h1", "it stays")
        return 1.0


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a run did, on hosts that are none."""
    said: list[str] = []
    monkeypatch.setattr(run, "Runner", type("B", (Bench,), {"log": said}))
    monkeypatch.setattr(run, "Deployment", type("S", (Stand,), {"log": said}))
    monkeypatch.setattr(run, "find_site", lambda *_given, **_said: (ground(), None, {}))
    monkeypatch.setattr(run, "remove_leftovers", lambda *_given: None)
    yield said


A, B = Candidate("a", "a", "routes"), Candidate("b", "b", "routes")
MOVER = Candidate("mover", "m", "routes", alone=True)


def went(*chosen: Candidate, rounds: int = 2, strict: bool = False) -> Comparison:
    session = Session(inventory("h1", "h2"), Hosts())
    terms = Settings(1, rounds, 100)
    return run.compared(session, ("h1", "h2"), chosen, terms, strict=strict)


def test_a_run_interleaves_and_destroys(log: list[str]) -> None:
    """Each measurement of all in turn, another one first in each round; then switching.

    The first is made last: a packet passes the rules of those made later before its own.
    """
    result = went(A, B)
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


def test_the_limit_is_measured_before_and_after_what_moves_the_nic(log: list[str]) -> None:
    """Never beside it; each of its rounds has a pair."""
    result = went(MOVER)
    where = [log.index("apply mover"), log.index("destroy mover")]
    hosts = [k for k, line in enumerate(log) if line.endswith(" host")]
    assert len([k for k in hosts if k < where[0]]) == len(MEASUREMENTS)
    assert len([k for k in hosts if k > where[1]]) == len(MEASUREMENTS)
    assert len(ratios(result.measurements, "mover", "tcp_1")) == 2


def test_an_interrupted_run_destroys_and_tells(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured until then is kept."""
    monkeypatch.setattr(run.Runner, "break_at", 5)
    result = went(A, B)
    assert log[-2:] == ["destroy a", "destroy b"]
    assert (result.exit_status, result.interrupted, len(result.measurements)) == (130, True, 4)
    assert not any("switch" in line for line in log)


def test_one_that_fails_is_not_the_end_of_the_others(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is measured no more, told, destroyed, and not switched to."""
    monkeypatch.setattr(run.Runner, "deaf", ("a",))
    result = went(A, B)
    status = {course.candidate: course.status for course in result.methods}
    assert status == {BASELINE: "compared", "a": "failed", "b": "compared"}
    assert ("destroy a" in log, log.count("tcp_1 b"), result.exit_status) == (True, 2, 4)
    assert len(result.errors) == 1


def test_one_that_cannot_be_is_left_out_unless_it_was_named(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its reason."""
    monkeypatch.setattr(run.Deployment, "unfit", ("a",))
    course = went(A, B).methods[1]
    assert (course.status, course.reason) == ("left out", "h1: it cannot")
    assert went(A, B).exit_status == 0
    assert went(A, B, strict=True).exit_status == 4
    assert log.count("destroy a") == 3


def test_what_stays_is_told_and_tried_again(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of the run."""
    monkeypatch.setattr(run.Deployment, "stuck", ("a",))
    result = went(A, B)
    assert log.count("destroy a") == 2
    assert result.exit_status == 4
    assert "it stays" in result.methods[1].reason


def test_a_lost_host_ends_the_run_with_a_report(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands is tried to be destroyed, and what was measured is told."""

    def lost(*_given: object) -> dict[str, int]:
        raise ConnectError("h2", "it is gone")

    monkeypatch.setattr(run.Runner, "mtus", lost)
    result = went(A, B)
    assert log[-2:] == ["destroy a", "destroy b"]
    assert (result.exit_status, [str(error) for error in result.errors]) == (4, ["h2: it is gone"])
    assert {course.status for course in result.methods} == {"not reached"}


def test_servers_that_do_not_end_hide_no_interruption(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are told."""

    def stuck(_bench: object) -> None:
        raise FactsError("h2", "it serves on")

    monkeypatch.setattr(run.Runner, "break_at", 3)
    monkeypatch.setattr(run.Runner, "stop_servers", stuck)
    result = went(A)
    assert (result.interrupted, result.exit_status) == (True, 130)
    assert "h2: it serves on" in map(str, result.errors)
    assert log[-1] == "destroy a"


def test_one_host_is_too_few(log: list[str]) -> None:
    """There is nothing between a host and itself."""
    session = Session(inventory("h1"), Hosts())
    with pytest.raises(UsageError, match="two hosts"):
        run.compared(session, ("h1",), (A,), Settings(1, 1, 1))
    assert not log
