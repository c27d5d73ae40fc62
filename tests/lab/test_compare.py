"""compare on booted hosts: measured, told, and removed without a trace; also by Ctrl-C."""

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
LEFT = r"ls -d /run/provision* 2>/dev/null; pgrep -a iperf3; pgrep -af '[p]erl -e'; true"


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[tuple[Hosts, str]]:
    """Hosts on which nothing of ours is, and an inventory that has nothing but them."""
    power.start(mixed.lab, say=print)
    hosts = "".join(f"  h{n}: {{address: {mixed.networks[1]}.{10 + n}}}\n" for n in (1, 2, 3))
    (mixed.lab.folder / "bare.yml").write_text(f"name: mine\nhosts:\n{hosts}")
    yield mixed, "bare.yml"


def started(hosts: Hosts, *words: str) -> subprocess.Popen[str]:
    """A comparison that runs; its progress can be read from stderr."""
    program = str(Path(sys.executable).with_name("provision"))
    return subprocess.Popen(
        (program, "compare", *words),
        cwd=hosts.lab.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in a shell's background, the signal is ignored from birth.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Lines of progress up to the one that holds `words`."""
    said = ""
    assert process.stderr is not None
    for line in process.stderr:
        said += line
        if words in line:
            return said
    raise AssertionError(f"it never said {words!r}:\n{said}")


def finished(process: subprocess.Popen[str], limit_s: float) -> tuple[Any, str]:
    """The JSON that it printed, and all that it said meanwhile; exit status 0."""
    out, said = process.communicate(timeout=limit_s)
    assert process.returncode == 0, said
    return json.loads(out), said


def assert_nothing_runs(hosts: Hosts) -> None:
    for host in HOSTS:
        assert not hosts.ssh(host, LEFT).strip()


def test_methods_are_measured_and_removed(clean: tuple[Hosts, str]) -> None:
    """Every figure of every method, ratios, a page; and the hosts are as they were."""
    hosts, inventory = clean
    before = hosts.capture()
    words = ("--methods", METHODS, "--seconds", "1", "--rounds", "1", "--html", "compare.html")
    result = hosts.json("compare", inventory, *words)
    assert (result["ok"], result["interrupted"], result["shared_kernel"]) == (True, False, True)
    found = {course["method"]: course for course in result["methods"]}
    assert list(found) == ["host", "routes", "ports"]
    for name, course in found.items():
        assert (course["status"], course["mtu"]) == ("compared", 1500)
        for key in (*RATIOS, "udp_loss"):
            value = course["figures"][key]["median"]
            assert value is not None and (value > 0 or key == "udp_loss"), (name, key)
        if name != "host":
            assert course["beside"]
            assert all(0 < course["ratios"][key]["median"] < 100 for key in RATIOS)
            assert all(value > 0 for value in course["seconds"].values()), course["seconds"]
    assert found["routes"]["switched_from"] == "ports"
    # Another kernel's loopback could not be so quick, nor a network slower than a modem.
    assert 0.05 < found["host"]["figures"]["tcp_1"]["median"] < 1000
    page = (hosts.lab.folder / "compare.html").read_text()
    assert page.count("<svg") == len(RATIOS) and "http" not in page.replace("http-equiv", "")
    assert_nothing_runs(hosts)
    assert_same(before, hosts.capture())


@pytest.mark.full
def test_every_method_in_one_run(clean: tuple[Hosts, str]) -> None:
    """Nothing but the inventory is said: all are made, switched to, and removed without a trace."""
    hosts, inventory = clean
    before = hosts.capture()
    words = ("--seconds", "1", "--rounds", "1", "--json")
    result, said = finished(started(hosts, inventory, *words), 1800)
    assert "Measuring group 6 of 6" in said and "no host answers ARP" in said
    assert (result["ok"], result["interrupted"]) == (True, False), said
    names = [course["method"] for course in result["methods"]]
    assert names == [BASELINE, *(one.name for one in CANDIDATES)]
    for course in result["methods"]:
        assert course["status"] == "compared", course
        assert course["figures"]["tcp_8"]["median"] > 0
        if course["method"] != BASELINE:
            assert all(value > 0 for value in course["seconds"].values()), course
            assert course["switched_from"] and course["ratios"]["tcp_8"]["median"] > 0
    assert_nothing_runs(hosts)
    assert_same(before, hosts.capture())


@pytest.mark.full
@pytest.mark.parametrize("moment", ["apply took", "Round 1 of 50: udp"])
def test_ctrl_c_destroys_and_tells(clean: tuple[Hosts, str], moment: str) -> None:
    """In the middle of making and of measuring: status 130, and nothing is left."""
    hosts, inventory = clean
    before = hosts.capture()
    words = ("--methods", METHODS, "--seconds", "1", "--rounds", "50", "--json")
    process = started(hosts, inventory, *words)
    read_until(process, moment)
    time.sleep(0.4)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=120)
    assert (process.returncode, "Traceback" in said) == (130, False), said
    result = json.loads(out)
    assert (result["interrupted"], result["ok"]) == (True, False)
    routes = result["methods"][1]
    if "Round" in moment:
        assert routes["figures"]["tcp_8"]["median"] > 0
    else:
        assert routes["status"] == "not reached"
    assert_nothing_runs(hosts)
    assert_same(before, hosts.capture())


@pytest.mark.full
def test_what_a_killed_run_left_is_removed_by_the_next(clean: tuple[Hosts, str]) -> None:
    """Its networks, and its servers, which would else end by themselves."""
    hosts, inventory = clean
    before = hosts.capture()
    process = started(hosts, inventory, "--methods", "routes", "--seconds", "1")
    read_until(process, "Round 1")
    process.kill()
    process.communicate()
    assert "cmp-routes-2" in hosts.ssh("h2", "docker ps --format '{{.Names}}'")
    hosts.provision("compare", inventory, "--methods", "host", "--seconds", "1", "--rounds", "1")
    assert_nothing_runs(hosts)
    assert_same(before, hosts.capture())


def test_what_it_needs_is_named_before_anything_changes(clean: tuple[Hosts, str]) -> None:
    """iperf3 on both hosts; a port that somebody holds is told of the method that needs it."""
    hosts, inventory = clean
    hosts.ssh("h2", "mv /usr/bin/iperf3 /usr/bin/iperf3.away")
    try:
        words = ("--methods", "routes", "--seconds", "1", "--rounds", "1")
        told = hosts.json("compare", inventory, *words, status=4)["errors"][0]
        assert (told["host"], told["kind"]) == ("h2", "UnfitError")
        assert "iperf3" in told["message"] and "iperf3" in told["hint"]
        assert not hosts.ssh("h1", "docker ps -aq").strip()
    finally:
        hosts.ssh("h2", "mv /usr/bin/iperf3.away /usr/bin/iperf3")
