"""The booted hosts of the campaign: what they have, and the faults that are made on them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from provision.lab import power
from provision.model.errors import LabError
from provision.resources.kinds.docker_firewall import DockerFirewall
from tests.bench import fault_variants
from tests.bench.fault_oracle import Plan, Record, View
from tests.bench.fault_variants import FILE
from tests.lab.faults import Faults
from tests.lab.hosts import CAPTURE, HOSTS, Hosts

BOOT_S = 120
"""Seconds within which a host is back after a reboot, with Docker."""
SETTLE_S = 120
"""Seconds after the last deadline until which no change may be pending."""

_RECORDS = r"""
cd /var/lib/provision 2>/dev/null || exit 0
for change in txn reverting.* reverted.* confirmed.*; do
  [ -d "$change" ] || continue
  printf '%s' "${change%%.*}"
  for field in id since reason result; do printf '\t%s' "$(cat "$change/$field" 2>/dev/null)"; done
  echo
done
"""
_UP = "docker info >/dev/null 2>&1 && cat /proc/sys/kernel/random/boot_id"
_START_DOCKER = "systemctl reset-failed docker; systemctl start docker.socket docker"


class Site:
    """Three hosts on which one sequence runs, with the inventory's variants A and B."""

    def __init__(self, hosts: Hosts, method: str) -> None:
        self.hosts, self.method = hosts, method
        self.faults = Faults(hosts, {})
        for variant in ("A", "B"):
            name = fault_variants.write(hosts, method, variant)
            (hosts.lab.folder / name).rename(hosts.lab.folder / f"{variant}.yml")
        fault_variants.write(hosts, method, "A")
        self.links = self._links()

    # --- reading the hosts ---

    def views(self) -> dict[str, View]:
        """All hosts as they are now."""
        with ThreadPoolExecutor() as pool:
            plans = {v: pool.submit(self._plan, f"{v}.yml") for v in ("A", "B")}
            status = pool.submit(self.json, "status", FILE)
            captures = dict(zip(HOSTS, pool.map(self._capture, HOSTS), strict=True))
            leftovers = self._leftovers()
        told = status.result().get("hosts", {})
        answers = {variant: plan.result() for variant, plan in plans.items()}
        return {
            host: View(
                captures[host] is not None,
                told.get(host, ""),
                self._records(host),
                {variant: changes.get(host) for variant, (changes, _) in answers.items()},
                captures[host] or "",
                "; ".join(error for _, error in answers.values() if error)[:500],
                leftovers.get(host, ""),
            )
            for host in HOSTS
        }

    def _plan(self, name: str) -> tuple[dict[str, Plan], str]:
        """The changes of each host; empty with an error if the plan is refused."""
        result = self.json("plan", name)
        if errors := result.get("errors"):
            messages = sorted({f"{e.get('host')}: {e['message']}" for e in errors})
            return {}, "; ".join(messages)
        # What a flush took from Docker itself is still gone after a destroy: it is not of ours.
        changes = [c for c in result["changes"] if c["kind"] != DockerFirewall.kind]
        entries = [
            *((c["host"], f"{c['verb']} {c['kind']} {c['name']}") for c in changes),
            *((c["host"], f"conflict {c['kind']} {c['name']}") for c in result["conflicts"]),
        ]
        return {h: frozenset(text for host, text in entries if host == h) for h in HOSTS}, ""

    def json(self, *arguments: str) -> dict[str, Any]:
        """The JSON of a command, whatever its exit status."""
        try:
            result: dict[str, Any] = self.hosts.json(*arguments, status=None)
        except json.JSONDecodeError:
            return {"errors": [{"message": f"provision {arguments[0]} printed no JSON"}]}
        return result

    def _capture(self, host: str) -> str | None:
        """The capture of a host over SSH; None if it does not answer."""
        for _ in range(3):
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                return self.hosts.ssh(host, f"{CAPTURE}\n:")
            time.sleep(2)
        return None

    def _leftovers(self) -> dict[str, str]:
        try:
            return self.faults.leftovers()
        except subprocess.TimeoutExpired:  # a host that does not answer has no capture either
            return {}

    def _records(self, host: str) -> tuple[Record, ...]:
        lines = (line.split("\t") for line in self.inside(host, _RECORDS).splitlines())
        return tuple(
            Record(state, change, int(since or 0), reason, result)
            for state, change, since, reason, result in lines
        )

    def inside(self, host: str, script: str) -> str:
        """Run shell text without SSH; its stdout, "" if the host is off."""
        try:
            return self.hosts.inside(host, script)
        except (KeyError, IndexError, OSError, subprocess.TimeoutExpired):  # it is off, or boots
            return ""

    def _links(self) -> dict[str, list[str]]:
        return {host: self.inside(host, "ls /sys/class/net").split() for host in HOSTS}

    def settle(self) -> None:
        """Wait until no change is pending, at most SETTLE_S after the last deadline."""
        until = time.time() + SETTLE_S
        while time.time() < until:
            states = self.json("status", FILE).get("hosts", {})
            if states and all(self._is_final(text) for text in states.values()):
                return
            for host in HOSTS:
                with contextlib.suppress(OSError, ValueError):
                    text = self.faults.path(host, "var/lib/provision/txn/deadline").read_text()
                    until = max(until, float(text) + SETTLE_S)
            time.sleep(1)

    @staticmethod
    def _is_final(state: str) -> bool:
        return not state.startswith(("pending", "unreachable", "unknown (last", "unknown (no"))

    # --- bringing the hosts back ---

    def boot_ids(self) -> dict[str, str]:
        """The boot id of each host; "" if it is off."""
        return {h: self.inside(h, "cat /proc/sys/kernel/random/boot_id").strip() for h in HOSTS}

    def docker_pids(self) -> dict[str, str]:
        """The process of dockerd on each host, with its boot; "" if it does not run."""
        command = "[ -e /run/docker.pid ] && cat /proc/sys/kernel/random/boot_id /run/docker.pid"
        return {host: self.inside(host, command).strip() for host in HOSTS}

    def wait_until_up(self, rebooted: dict[str, str]) -> None:
        """Wait until hosts are back with Docker; `rebooted`: the boot ids before, by host.

        A host that does not come back is a violation, which the next view shows.
        """
        with contextlib.suppress(LabError):
            power.start(self.hosts.lab, say=_ignore)
        until = time.monotonic() + BOOT_S
        for host, earlier in rebooted.items():
            while time.monotonic() < until and self.inside(host, _UP).strip() in ("", earlier):
                time.sleep(1)

    def heal(self, *, restart_docker: tuple[str, ...]) -> None:
        """Undo every fault that `provision` does not undo."""
        self.wait_until_up({})
        self.faults.heal()
        for host in HOSTS:
            self.inside(host, _START_DOCKER)
            if host in restart_docker:
                self.inside(host, "systemctl restart docker")
        self.wait_until_up(dict.fromkeys(HOSTS, ""))


def _ignore(_progress: str) -> None:
    pass
