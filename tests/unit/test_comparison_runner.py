"""compare's runner: what it makes of two hosts' answers, with a kernel each or one for both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision.compare import probe, runner
from provision.compare.probe import Endpoints
from provision.compare.result import Settings
from provision.compare.runner import Runner
from provision.engine.fleet import Fleet, Session
from provision.facts import host_probe
from provision.facts.gather import HostSnapshot
from provision.model.errors import FactsError, UnfitError
from provision.transport.base import Output
from tests.fakes import HOST, inventory

IPERF = (Path(__file__).parent / "comparison/iperf3-tcp.json").read_text()
HERE = IPv4Address("10.0.0.1")
LANE = Endpoints("routes", 7, 9, HERE, HERE, 1, 2)
SAYS = """kernel 6.18
system Debian GNU/Linux 13 (trixie)
processors 2
processor  EPYC
load 0.25
iperf3 3.18 (cJSON 1.7.15)
"""


@dataclass
class Two:
    """Two hosts; each reading of a clock is 1 s of busy time later. `refusals` come first."""

    boots: dict[str, int]
    lacking: str = ""
    refusals: int = 0
    log: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    switches: int = 0

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        assert timeout_s > 0
        if "iperf3 -J" in script:
            self.log.append(f"{host} measures")
            if self.refusals:
                self.refusals -= 1
                return Output(1, '{"error": "unable to connect: Connection refused"}', "")
            return Output(0, f"{self._clock(host)}{IPERF}{self._clock(host)}", "")
        if "kernel $(uname" in script:
            return Output(0, f"{self.lacking}{SAYS}{self._clock(host)}", "")
        if re.search("clock", script):
            return Output(0, self._clock(host), "")
        self.log.append(f"{host} stops")
        return Output(0, "", "")

    def _clock(self, host: str) -> str:
        self.seconds[host] = self.seconds.get(host, 0) + 1
        self.switches += 10
        ticks = int(100 * self.seconds[host])
        boot = self.boots[host]
        return (
            f"clock cpu {ticks} 0 0 9 9 0 0 0 0 0\nclock ctxt {self.switches}\nclock btime {boot}\n"
        )

    def send(self, *_given: object, **_more: object) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(runner, "RETRY_S", 0.0)
    yield


def between(hosts: Two) -> tuple[Runner, Fleet]:
    """A bench, and a look at hosts that are none."""
    session = Session(inventory("h1", "h2"), hosts)
    looks = {host: HostSnapshot(host_probe.parse(host, HOST), {}, {}) for host in hosts.boots}
    return Runner(session, "h1", "h2", Settings(2, 1, 100)), Fleet(looks)


def test_one_kernel_counts_once() -> None:
    """Both hosts see all of the machine's time."""
    found, fleet = between(Two({"h1": 5, "h2": 5}))
    machines = found.survey(fleet)
    assert found.shared_kernel
    assert [machine.host for machine in machines] == ["h1", "h2"]
    assert (machines[0].system, machines[0].iperf3) == ("Debian GNU/Linux 13 (trixie)", "3.18")
    assert (machines[0].processors, machines[0].docker) == (2, "28.5.2")
    figures = found.measure("tcp_8", LANE)
    assert set(figures) == {"tcp_8", "cpu"}
    assert figures["cpu"] == pytest.approx(1 / 0.500665096)


def test_two_kernels_count_together_and_each() -> None:
    """The far one is read before and after."""
    found, fleet = between(Two({"h1": 5, "h2": 900}))
    found.survey(fleet)
    assert not found.shared_kernel
    figures = found.measure("tcp_8", LANE)
    assert figures["cpu_from"] == figures["cpu_to"] == pytest.approx(1 / 0.500665096)
    assert figures["cpu"] == pytest.approx(2 / 0.500665096)
    assert set(found.measure("tcp_1", LANE)) == {"tcp_1"}


def test_a_port_that_is_closed_for_a_moment_is_tried_again() -> None:
    """As iperf3 closes its own after each measurement; one that stays closed is told."""
    hosts = Two({"h1": 5, "h2": 5}, refusals=2)
    found, _ = between(hosts)
    assert found.measure("tcp_1", LANE)["tcp_1"] > 0
    assert hosts.log == ["h1 measures"] * 3
    hosts.refusals = 99
    with pytest.raises(FactsError, match="routes: tcp_1: unable to connect"):
        found.measure("tcp_1", LANE)


def test_what_a_host_lacks_is_named() -> None:
    """With the package that brings it."""
    found, fleet = between(Two({"h1": 5, "h2": 5}, lacking="absent iperf3\nabsent ss\n"))
    with pytest.raises(UnfitError) as caught:
        found.survey(fleet)
    assert "iperf3, ss" in caught.value.message
    assert caught.value.hint == "install iperf3 iproute2 on it"


def test_only_what_was_opened_is_closed() -> None:
    """On both hosts."""
    hosts = Two({"h1": 5, "h2": 5})
    found, _ = between(hosts)
    found.stop_servers()
    assert not hosts.log
    assert found.start_servers((), 10) == {}
    hosts.log.clear()
    found.stop_servers()
    assert sorted(hosts.log) == ["h1 stops", "h2 stops"]


def test_a_script_asks_for_what_it_measures() -> None:
    """Streams, rate, seconds, and the namespace."""
    terms = Settings(3, 1, 250)
    assert "within 7 timeout 18 iperf3 -J -c 10.0.0.1 -p 1 -t 3 -P 8" in probe.measure(
        "tcp_8", LANE, terms
    )
    assert "-t 3 -u -b 250M" in probe.measure("udp", LANE, terms)
    assert "rtt 10.0.0.1 2 3" in probe.measure("rtt", LANE, terms)
