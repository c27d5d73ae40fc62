"""`provision compare` on booted hosts: it measures, reports, and removes all that it created."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.compare.candidates import BASELINE, CANDIDATES
from provision.lab import power
from tests.lab.hosts import HOSTS, Hosts, assert_same

pytestmark = pytest.mark.lab

METHODS = "routes,ports"
RATIOS = ("tcp_1", "tcp_8", "requests", "rtt_p50", "rtt_p99", "cpu")
LEFTOVERS = r"ls -d /run/provision* 2>/dev/null; pgrep -a iperf3; pgrep -af '[p]erl -e'; true"


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[tuple[Hosts, str]]:
    """Three hosts, and the file name of an inventory that contains only them."""
    power.start(mixed.lab, say=print)
    hosts = "".join(f"  h{n}: {{address: {mixed.networks[1]}.{10 + n}}}\n" for n in (1, 2, 3))
    (mixed.lab.folder / "bare.yml").write_text(f"name: mine\nhosts:\n{hosts}")
    yield mixed, "bare.yml"


def start(hosts: Hosts, *arguments: str) -> subprocess.Popen[str]:
    """Start a comparison; its stderr shows the progress."""
    program = str(Path(sys.executable).with_name("provision"))
    return subprocess.Popen(
        (program, "compare", *arguments),
        cwd=hosts.lab.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with SIGINT ignored, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read lines of progress up to the one that contains `text`."""
    progress = ""
    assert process.stderr is not None
    for line in process.stderr:
        progress += line
        if text in line:
            return progress
    raise AssertionError(f"no line contains {text!r}:\n{progress}")


def wait(process: subprocess.Popen[str], limit_s: float) -> tuple[Any, str]:
    """Wait for exit status 0; the JSON from stdout, and the progress from stderr."""
    stdout, progress = process.communicate(timeout=limit_s)
    assert process.returncode == 0, progress
    return json.loads(stdout), progress


def assert_nothing_runs(hosts: Hosts) -> None:
    """No host has a program or file of a comparison."""
    for host in HOSTS:
        assert not hosts.ssh(host, LEFTOVERS).strip()


def test_methods_are_measured_and_removed(clean: tuple[Hosts, str]) -> None:
    """Each method has all figures and ratios, the page has charts, and the hosts are restored."""
    hosts, inventory = clean
    before = hosts.capture()
    options = ("--methods", METHODS, "--seconds", "1", "--rounds", "1", "--html", "compare.html")
    result = hosts.json("compare", inventory, *options)
    assert (result["ok"], result["interrupted"], result["shared_kernel"]) == (True, False, True)
    methods = {method["method"]: method for method in result["methods"]}
    assert list(methods) == ["host", "routes", "ports"]
    for name, method in methods.items():
        assert (method["status"], method["mtu"]) == ("compared", 1500)
        for key in (*RATIOS, "udp_loss"):
            value = method["figures"][key]["median"]
            assert value is not None and (value > 0 or key == "udp_loss"), (name, key)
        if name != "host":
            assert method["beside"]
            assert all(0 < method["ratios"][key]["median"] < 100 for key in RATIOS)
            assert all(value > 0 for value in method["seconds"].values()), method["seconds"]
    assert methods["routes"]["switched_from"] == "ports"
    # Gbit/s: no network here is as slow as a modem, and no link is faster than 1 Tbit/s.
    assert 0.05 < methods["host"]["figures"]["tcp_1"]["median"] < 1000
    page = (hosts.lab.folder / "compare.html").read_text()
    assert page.count("<svg") == len(RATIOS) and "http" not in page.replace("http-equiv", "")
    assert_nothing_runs(hosts)
    assert_same(before, hosts.capture())


@pytest.mark.full
def test_all_methods_are_measured_by_default(clean: tuple[Hosts, str]) -> None:
    """Each method is created, switched to, measured and removed, and the hosts are restored."""
    hosts, inventory = clean
    before = hosts.capture()
    options = ("--seconds", "1", "--rounds", "1", "--json")
    result, progress = wait(start(hosts, inventory, *options), 1800)
    assert "Measuring group 7 of 7" in progress and "no host answers ARP" in progress
    assert (result["ok"], result["interrupted"]) == (True, False), progress
    names = [method["method"] for method in result["methods"]]
    assert names == [BASELINE, *(candidate.name for candidate in CANDIDATES)]
    for method in result["methods"]:
        assert method["status"] == "compared", method
        assert method["figures"]["tcp_8"]["median"] > 0
        if method["method"] != BASELINE:
            assert all(value > 0 for value in method["seconds"].values()), method
            assert method["switched_from"] and method["ratios"]["tcp_8"]["median"] > 0
    assert_nothing_runs(hosts)
    assert_same(before, hosts.capture())


@pytest.mark.full
@pytest.mark.parametrize("moment", ["apply took", "Round 1 of 50: udp"])
def test_ctrl_c_removes_the_methods_and_prints_the_figures(
    clean: tuple[Hosts, str], moment: str
) -> None:
    """Compare exits with 130 and restores the hosts, during an apply and during a measurement."""
    hosts, inventory = clean
    before = hosts.capture()
    options = ("--methods", METHODS, "--seconds", "1", "--rounds", "50", "--json")
    process = start(hosts, inventory, *options)
    read_until(process, moment)
    time.sleep(0.4)
    process.send_signal(signal.SIGINT)
    stdout, progress = process.communicate(timeout=120)
    assert (process.returncode, "Traceback" in progress) == (130, False), progress
    result = json.loads(stdout)
    assert (result["interrupted"], result["ok"]) == (True, False)
    routes = result["methods"][1]
    if "Round" in moment:
        assert routes["figures"]["tcp_8"]["median"] > 0
    else:
        assert routes["status"] == "not reached"
    assert_nothing_runs(hosts)
    assert_same(before, hosts.capture())


@pytest.mark.full
def test_the_next_run_removes_what_a_killed_run_left(clean: tuple[Hosts, str]) -> None:
    """A run first removes the networks and servers of an earlier one."""
    hosts, inventory = clean
    before = hosts.capture()
    process = start(hosts, inventory, "--methods", "routes", "--seconds", "1")
    read_until(process, "Round 1")
    process.kill()
    process.communicate()
    assert "cmp-routes-2" in hosts.ssh("h2", "docker ps --format '{{.Names}}'")
    hosts.provision("compare", inventory, "--methods", "host", "--seconds", "1", "--rounds", "1")
    assert_nothing_runs(hosts)
    assert_same(before, hosts.capture())


def test_a_host_without_iperf3_is_refused_before_any_change(clean: tuple[Hosts, str]) -> None:
    """The error names the host and iperf3, and no container was created."""
    hosts, inventory = clean
    hosts.ssh("h2", "mv /usr/bin/iperf3 /usr/bin/iperf3.away")
    try:
        options = ("--methods", "routes", "--seconds", "1", "--rounds", "1")
        error = hosts.json("compare", inventory, *options, status=4)["errors"][0]
        assert (error["host"], error["kind"]) == ("h2", "UnfitError")
        assert "iperf3" in error["message"] and "iperf3" in error["hint"]
        assert not hosts.ssh("h1", "docker ps -aq").strip()
    finally:
        hosts.ssh("h2", "mv /usr/bin/iperf3.away /usr/bin/iperf3")
