"""Booted hosts, and the commands with which tests use and compare them."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import yaml

from provision.lab import kernels, settings, supervisor
from provision.lab.layout import Lab

INVENTORIES = Path(__file__).parents[2] / "inventories"
HOSTS = ("h1", "h2", "h3")

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
# mtab lists the mounts: Docker keeps the host's network namespace mounted once it was used.
echo '# files'
find /etc /run/systemd/system /var/lib/provision ! -path /etc/mtab \( -type f -o -type l \) \
  -not -path '/var/lib/provision/guard-*' -not -path '/var/lib/provision/reverted.*' \
  -exec sha256sum {} + 2>/dev/null | sort -k2
find /etc -type d | sort
ls -d /run/provision* /var/lib/provision-* /var/lib/private/provision* 2>/dev/null
ls -d /var/lib/provision/* 2>/dev/null | grep -v -e '/guard-' -e '/reverted\.'
# Only those that systemd has started: a follower also has helpers that sleep and end.
echo '# processes'; pgrep -c -P 1 -f '[f]ollow.sh'
sysctl net.ipv4.ip_forward
"""


IDLE = """n=0; while [ $n -lt 15 ]; do
  n=$((n + 1)); sleep 0.1; pgrep -f '[/]volatile.sh' >/dev/null && n=0
done
"""
"""Waits until no follower has put anything back for 1.5 s."""
RESTART_SSHD = "systemctl reset-failed ssh 2>/dev/null; systemctl restart ssh"
RESTART_DOCKER = "systemctl reset-failed docker; systemctl restart docker"
"""systemd refuses the sixth start of a unit within 10 s (StartLimitBurst), except after a reset."""

# OpenSSH 9.2 makes a key for its default exchange, sntrup761, in 0.13 s of processor time.
SSH_OPTIONS = ("-o", "ConnectTimeout=30", "-o", "KexAlgorithms=curve25519-sha256")


@dataclass(frozen=True)
class Hosts:
    """The booted hosts of a lab."""

    lab: Lab
    inventories: ClassVar[Path] = INVENTORIES

    @cached_property
    def networks(self) -> tuple[str, str]:
        """The first three bytes of the management and data networks: `10.130.0`, `10.130.1`."""
        both = settings.require(self.lab).ranges.both
        management, data = (str(network[0]) for network in both)
        return management.removesuffix(".0"), data.removesuffix(".0")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The hosts of the examples that this lab has: h1, h2, h3, or fewer."""
        return tuple(name for name in HOSTS if name in settings.require(self.lab).hosts)

    @cached_property
    def slowness(self) -> int:
        """The factor by which the hosts are slower than hosts that share the kernel."""
        return kernels.machine_of(self.lab).slowness

    @property
    def environment(self) -> dict[str, str]:
        """The environment of `provision`: its state files stay in the lab's folder."""
        state = str(self.lab.folder / "state")
        return os.environ | {"COLUMNS": "120", "XDG_STATE_HOME": state}

    def ssh(self, host: str, command: str, *, check: bool = True, limit_s: float = 180) -> str:
        """Run a shell line on a host by OpenSSH, not by provision's connection; its stdout."""
        argv = ("ssh", "-F", str(self.lab.ssh_config), *SSH_OPTIONS, host, command)
        process = subprocess.run(
            argv, capture_output=True, text=True, timeout=limit_s * self.slowness
        )
        assert not check or process.returncode == 0, f"{host}: {command}: {process.stderr}"
        return process.stdout

    def damage(self, host: str, command: str) -> str:
        """Run a shell line that breaks something a follower puts back at the next event.

        The follower may still be answering what came before, such as the start of the containers,
        and a load makes it late. So this waits until it is idle.
        """
        return self.ssh(host, IDLE + command)

    def inside(self, host: str, script: str) -> str:
        """Run shell text in a host's namespaces: needs neither its network nor its sshd."""
        machine = supervisor.running(self.lab).machines[host]
        children = Path(f"/proc/{machine}/task/{machine}/children").read_text().split()
        argv = ("nsenter", "-t", children[0], "-a", "sh", "-c", script)
        return subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout

    def everywhere(self, command: str, *, check: bool = True) -> dict[str, str]:
        """Run a shell line on all hosts at once; its stdout by host."""
        with ThreadPoolExecutor() as pool:
            outputs = pool.map(lambda host: self.ssh(host, command, check=check), self.names)
            return dict(zip(self.names, outputs, strict=True))

    def capture(self) -> dict[str, str]:
        """Everything on each host that destroy must restore."""
        return self.everywhere(CAPTURE, check=False)

    def provision(self, *arguments: str, status: int | None = 0) -> str:
        """Run `provision` in the lab's folder; its stdout. `status`: None accepts any."""
        process = self._run(*arguments)
        output = f"{process.returncode}\n{process.stdout}\n{process.stderr}"
        message = f"provision {' '.join(arguments)}: {output}"
        assert status is None or process.returncode == status, message
        assert "Traceback" not in process.stderr, message
        return process.stdout

    def destroy_all(self) -> None:
        """Destroy and forget every inventory of the lab's folder, also after a failed test."""
        for path in self.lab.folder.glob("*.yml"):
            self.provision("destroy", path.name, "--yes", status=None)
            path.unlink()

    def warnings(self, *arguments: str) -> str:
        """The warnings and progress of `provision`."""
        process = self._run(*arguments)
        assert process.returncode == 0, process.stderr
        return process.stderr

    def json(self, *arguments: str, status: int | None = 0) -> Any:
        """The JSON that `provision … --json` prints."""
        return json.loads(self.provision(*arguments, "--json", status=status))

    def executions(self, *arguments: str) -> dict[str, int]:
        """The number of SSH executions on each host, as `-v` prints it."""
        process = self._run(*arguments, "-v")
        assert process.returncode == 0, process.stderr
        lines = [line.split() for line in process.stderr.splitlines() if "SSH executions" in line]
        return {fields[0].rstrip(":"): int(fields[1]) for fields in lines}

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).with_name("provision")
        return subprocess.run(
            (str(program), *arguments),
            cwd=self.lab.folder,
            capture_output=True,
            text=True,
            timeout=600 * self.slowness,  # flannel's first apply took 300 s at a load of 12
            env=self.environment,
        )

    def verified(self, inventory: str, *, within_s: float = 60, skips: Collection[str] = ()) -> Any:
        """Repeat `verify` until it passes, at most `within_s` seconds.

        `skips` are names of checks that may be skipped, such as `wire` for two containers of one
        host.
        """
        deadline = time.monotonic() + within_s
        while not (result := self.json("verify", inventory, status=None)).get("ok"):
            if time.monotonic() > deadline:
                failed = [check for check in result.get("checks", ()) if not check["ok"]]
                raise AssertionError((failed, result.get("drift"), result.get("errors")))
            time.sleep(1)
        skipped = {check["check"] for check in result["checks"] if check["skipped"]}
        assert skipped <= set(skips), result
        return result

    def inventory(self, name: str, *changes: tuple[str, str], to: str | None = None) -> str:
        """Write an example inventory with this lab's addresses into its folder; the file name.

        `changes` are (old text, new text); `to` is another file name. A lab of fewer hosts has
        only the containers of these.
        """
        text = (INVENTORIES / name).read_text().replace("10.78.0.", f"{self.networks[1]}.")
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        target = self.lab.folder / (to or name)
        target.write_text(text if self.names == HOSTS else _without_others(text, self.names))
        return target.name


def _without_others(text: str, names: Collection[str]) -> str:
    """An inventory without hosts that are not one of these, and without their containers."""
    inventory = yaml.safe_load(text)
    hosts, containers = inventory["hosts"], inventory.get("containers", {})
    inventory["hosts"] = {name: host for name, host in hosts.items() if name in names}
    inventory["containers"] = {c: row for c, row in containers.items() if row["host"] in names}
    return yaml.safe_dump(inventory, sort_keys=False)


def assert_same(before: dict[str, str], after: dict[str, str]) -> None:
    """Two captures of all hosts are equal, line by line."""
    for host, text in before.items():
        diff = difflib.unified_diff(text.splitlines(), after[host].splitlines(), lineterm="", n=0)
        assert not (lines := list(diff)), f"{host}:\n" + "\n".join(lines)


def without_records(capture: dict[str, str]) -> dict[str, str]:
    """A capture without the record of the last change."""
    return {
        host: "\n".join(line for line in text.splitlines() if "/confirmed." not in line)
        for host, text in capture.items()
    }
