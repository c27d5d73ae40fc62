"""A lab for the tests: real hosts on ranges of its own, beside a developer's lab."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pytest

from provision.lab import bringup, settings, supervisor, teardown
from provision.lab.layout import Lab
from provision.lab.settings import UpOptions
from tests.lab.free import free_ranges

INVENTORIES = Path(__file__).parents[2] / "inventories"

CAPTURE = r"""
export LC_ALL=C
echo '# links'; ip -br link | awk '{print $1}' | sed 's/@.*//' | grep -v ^veth | sort
echo '# addresses'; ip -o -4 addr | awk '{print $2, $4}' | sort
echo '# routes'; ip -N route | sed 's/ linkdown//' | sort; echo '# rules'; ip rule
echo '# firewall'
for table in filter nat mangle; do
  iptables-save -t $table 2>/dev/null | grep -v '^#' | sed 's/\[[0-9:]*\]//' | sed "s/^/$table /"
done
iptables-save -t raw 2>/dev/null | grep -e '^-A' | sed 's/^/raw /'
echo '# docker'; docker network ls --format '{{.Name}} {{.Driver}}' | sort
docker network inspect bridge --format '{{range .IPAM.Config}}{{.Subnet}}{{end}}'
docker ps -a --format '{{.Names}} {{.State}}' | sort; docker image ls -q | sort
# mtab is the list of mounts: Docker keeps the host's namespace in it once that was asked for.
echo '# files'
find /etc /run/systemd/system /var/lib/provision ! -path /etc/mtab \( -type f -o -type l \) \
  -not -path '/var/lib/provision/guard-*' -not -path '/var/lib/provision/reverted.*' \
  -exec sha256sum {} + 2>/dev/null | sort -k2
find /etc -type d | sort
ls -d /run/provision* /var/lib/provision-* /var/lib/private/provision* 2>/dev/null
ls -d /var/lib/provision/* 2>/dev/null | grep -v -e '/guard-' -e '/reverted\.'
echo '# processes'; pgrep -c -f '[f]ollow.sh'
sysctl net.ipv4.ip_forward
"""


@dataclass(frozen=True)
class Hosts:
    """Booted hosts and how tests use them."""

    place: Lab
    inventories: ClassVar[Path] = INVENTORIES

    @cached_property
    def networks(self) -> tuple[str, str]:
        """Management and data, as what stands before the last dot: `10.130.0`, `10.130.1`."""
        both = settings.require(self.place).ranges.both
        management, data = (str(network[0]) for network in both)
        return management.removesuffix(".0"), data.removesuffix(".0")

    @property
    def environment(self) -> dict[str, str]:
        """What `provision` runs with: its notes stay in the lab's folder."""
        state = str(self.place.folder / "state")
        return os.environ | {"COLUMNS": "120", "XDG_STATE_HOME": state}

    def ssh(self, host: str, command: str, *, check: bool = True) -> str:
        """Run a shell line on a host, past provision's own connection."""
        argv = ("ssh", "-F", str(self.place.ssh_config), "-o", "ConnectTimeout=10", host, command)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=180)
        assert not check or done.returncode == 0, f"{host}: {command}: {done.stderr}"
        return done.stdout

    def inside(self, host: str, text: str) -> str:
        """Run shell text in a host without its network and its sshd."""
        machine = supervisor.running(self.place).machines[host]
        children = Path(f"/proc/{machine}/task/{machine}/children").read_text().split()
        argv = ("nsenter", "-t", children[0], "-a", "sh", "-c", text)
        return subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout

    def everywhere(self, command: str, *, check: bool = True) -> dict[str, str]:
        """Run a shell line on all three hosts at once."""
        names = ("h1", "h2", "h3")
        with ThreadPoolExecutor() as pool:
            said = pool.map(lambda host: self.ssh(host, command, check=check), names)
            return dict(zip(names, said, strict=True))

    def capture(self) -> dict[str, str]:
        """What apply must not leave behind, of every host."""
        return self.everywhere(CAPTURE, check=False)

    def provision(self, *words: str, status: int | None = 0) -> str:
        """Run `provision` in the lab's folder; what it printed on stdout."""
        program = Path(sys.executable).with_name("provision")
        done = subprocess.run(
            (str(program), *words),
            cwd=self.place.folder,
            capture_output=True,
            text=True,
            timeout=300,
            env=self.environment,
        )
        said = f"provision {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert status is None or done.returncode == status, said
        assert "Traceback" not in done.stderr, said
        return done.stdout

    def json(self, *words: str, status: int | None = 0) -> Any:
        """The JSON that `provision … --json` prints."""
        return json.loads(self.provision(*words, "--json", status=status))

    def executions(self, *words: str) -> dict[str, int]:
        """SSH executions a host, as `-v` counts them."""
        program = Path(sys.executable).with_name("provision")
        done = subprocess.run(
            (str(program), *words, "-v"),
            cwd=self.place.folder,
            capture_output=True,
            text=True,
            timeout=300,
            env=self.environment,
        )
        assert done.returncode == 0, done.stderr
        lines = [line.split() for line in done.stderr.splitlines() if "SSH executions" in line]
        return {words[0].rstrip(":"): int(words[1]) for words in lines}

    def verified(self, inventory: str, *, within_s: float = 60) -> Any:
        """What verify says: all of it passes, nothing is skipped, at the latest after that."""
        deadline = time.monotonic() + within_s
        while not (result := self.json("verify", inventory, status=None)).get("ok"):
            if time.monotonic() > deadline:
                failed = [check for check in result.get("checks", ()) if not check["ok"]]
                raise AssertionError((failed, result.get("drift"), result.get("errors")))
            time.sleep(1)
        assert not any(check["skipped"] for check in result["checks"]), result
        return result

    def inventory(self, name: str, *changes: tuple[str, str], to: str | None = None) -> str:
        """An example inventory with the addresses of this lab, in the lab's folder."""
        text = (INVENTORIES / name).read_text().replace("10.78.0.", f"{self.networks[1]}.")
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        target = self.place.folder / (to or name)
        target.write_text(text)
        return target.name


@pytest.fixture(scope="session")
def booted() -> Iterator[Callable[[str], Hosts]]:
    """Boots three hosts of a suite; asked for another suite, the earlier lab goes first."""
    if os.geteuid() != 0:
        pytest.fail("the tests on booted hosts need root: run scripts/test")
    places: dict[str, Lab] = {}

    def boot(suite: str) -> Hosts:
        if suite not in places:
            for other in list(places):
                _down(places.pop(other))
            # Not in pytest's folder: a later run of pytest deletes that of an earlier one.
            folder = Path(tempfile.mkdtemp(prefix=f"provision-lab-{suite}-", dir="/var/tmp"))
            places[suite] = Lab(folder)
            wish = UpOptions(3, suite, False, free_ranges(places[suite]))
            bringup.up(places[suite], wish, say=print)
        return Hosts(places[suite])

    yield boot
    for place in places.values():
        _down(place)


def _down(place: Lab) -> None:
    teardown.down(place, say=print)
    shutil.rmtree(place.folder)


@pytest.fixture
def mixed(booted: Callable[[str], Hosts]) -> Hosts:
    """Three hosts: trixie, bookworm and sid."""
    return booted("mixed")
