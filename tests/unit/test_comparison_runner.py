"""The runner of `compare`, on two hosts with one kernel or with one each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision.compare import probe, runner
from provision.compare.probe import MeasuredPath
from provision.compare.result import Settings
from provision.compare.runner import Runner
from provision.engine.fleet import Fleet, Session
from provision.facts import host_probe
from provision.facts.gather import HostSnapshot
from provision.model.errors import FactsError, UnfitError
from provision.transport.base import Output
from tests.fakes import HOST, inventory

IPERF = (Path(__file__).parent / "comparison/iperf3-tcp.json").read_text()
ADDRESS = IPv4Address("10.0.0.1")
PATH = MeasuredPath("routes", 7, 9, ADDRESS, ADDRESS, 1, 2)
SURVEY = """kernel 6.18
system Debian GNU/Linux 13 (trixie)
processors 2
processor  EPYC
load 0.25
iperf3 3.18 (cJSON 1.7.15)
"""


@dataclass
class TwoHosts:
    """A transport to two hosts with the boot times `boots`.

    Each reading of a clock is 1 s of busy time later. The first measurements end with `refusals`
    refused connections. `lacking` are the lines of missing programs.
    """

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
            return Output(0, f"{self.lacking}{SURVEY}{self._clock(host)}", "")
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

    def send(self, *_arguments: object, **_options: object) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The runner waits for no port."""
    monkeypatch.setattr(runner, "RETRY_DELAY_S", 0.0)
    yield


def runner_of(hosts: TwoHosts) -> tuple[Runner, Fleet]:
    """A runner, and the facts of the two hosts."""
    session = Session(inventory("h1", "h2"), hosts)
    snapshots = {host: HostSnapshot(host_probe.parse(host, HOST), {}, {}) for host in hosts.boots}
    return Runner(session, "h1", "h2", Settings(2, 1, 100)), Fleet(snapshots)


def test_a_shared_kernel_counts_once() -> None:
    """Both hosts read the processor time of the whole machine."""
    runner, fleet = runner_of(TwoHosts({"h1": 5, "h2": 5}))
    hosts = runner.survey(fleet)
    assert runner.shared_kernel
    assert [host.host for host in hosts] == ["h1", "h2"]
    assert (hosts[0].system, hosts[0].iperf3) == ("Debian GNU/Linux 13 (trixie)", "3.18")
    assert (hosts[0].processors, hosts[0].docker) == (2, "28.5.2")
    figures = runner.measure("tcp_8", PATH)
    assert set(figures) == {"tcp_8", "cpu"}
    assert figures["cpu"] == pytest.approx(1 / 0.500665096)


def test_two_kernels_count_together_and_separately() -> None:
    """The runner reads the second host's clock before and after a measurement."""
    runner, fleet = runner_of(TwoHosts({"h1": 5, "h2": 900}))
    runner.survey(fleet)
    assert not runner.shared_kernel
    figures = runner.measure("tcp_8", PATH)
    assert figures["cpu_from"] == figures["cpu_to"] == pytest.approx(1 / 0.500665096)
    assert figures["cpu"] == pytest.approx(2 / 0.500665096)
    assert set(runner.measure("tcp_1", PATH)) == {"tcp_1"}


def test_a_refused_connection_is_repeated() -> None:
    """iperf3 closes its port for a moment after each measurement; a closed port is an error."""
    hosts = TwoHosts({"h1": 5, "h2": 5}, refusals=2)
    runner, _ = runner_of(hosts)
    assert runner.measure("tcp_1", PATH)["tcp_1"] > 0
    assert hosts.log == ["h1 measures"] * 3
    hosts.refusals = 99
    with pytest.raises(FactsError, match="routes: tcp_1: unable to connect"):
        runner.measure("tcp_1", PATH)


def test_missing_programs_are_named() -> None:
    """The hint has the packages that contain them."""
    runner, fleet = runner_of(TwoHosts({"h1": 5, "h2": 5}, lacking="absent iperf3\nabsent ss\n"))
    with pytest.raises(UnfitError) as caught:
        runner.survey(fleet)
    assert "iperf3, ss" in caught.value.message
    assert caught.value.hint == "install iperf3 iproute2 on it"


def test_only_started_servers_are_stopped() -> None:
    """On both hosts, and on none before the start."""
    hosts = TwoHosts({"h1": 5, "h2": 5})
    runner, _ = runner_of(hosts)
    runner.stop_servers()
    assert not hosts.log
    assert runner.start_servers((), 10) == {}
    hosts.log.clear()
    runner.stop_servers()
    assert sorted(hosts.log) == ["h1 stops", "h2 stops"]


def test_the_script_of_a_measurement_has_its_settings() -> None:
    """Streams, rate, seconds, and the network namespace."""
    settings = Settings(3, 1, 250)
    assert "within 7 timeout 18 iperf3 -J -c 10.0.0.1 -p 1 -t 3 -P 8" in probe.measure(
        "tcp_8", PATH, settings
    )
    assert "-t 3 -u -b 250M" in probe.measure("udp", PATH, settings)
    assert "rtt 10.0.0.1 2 3" in probe.measure("rtt", PATH, settings)
