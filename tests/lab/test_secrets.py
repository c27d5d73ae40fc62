"""Values of containers' variables reach Docker, and nothing else: no argument, file or output."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.faults import KILL_ACT, Faults
from tests.lab.hosts import HOSTS, Hosts

pytestmark = pytest.mark.lab

# The pattern in an argument of a command does not match itself.
PATTERN = "CAN[A]RY"
FIRST, SECOND = "CANARY-first \"'$x\nits second line", "CANARY-second\n# third\n"
ENV = """env: {PASSWORD: {file: secret.txt}, TOKEN: {from_env: CANARY_TOKEN},
    DOCKER_HOST: "tcp://CANARY-literal", EMPTY: ""}"""
SAMPLER = r"""
use strict; use warnings;
while (1) {
  for my $path (glob '/proc/[0-9]*/cmdline') {
    open(my $file, '<', $path) or next;
    my $arguments = do { local $/; <$file> } // '';
    print STDERR $arguments if $arguments =~ /CAN[A]RY/;
  }
  select undef, undef, undef, 0.01;
}
"""
# Not Docker's own folders, which have the variables of each container and are root's alone.
IN_FILES = f"""
{{ grep -rlaE --exclude-dir=docker --exclude-dir=containerd --exclude-dir=fault '{PATTERN}' \
  /etc /root /home /tmp /var /run 2>/dev/null; journalctl -o export | grep -aE '{PATTERN}'; }}"""


class Outputs:
    """Runs `provision` with the token in its environment, and keeps everything that it prints."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts, self.texts = hosts, list[str]()

    def run(self, *arguments: str, status: int | None = 0) -> str:
        """The stdout of a command with `status`; None accepts any."""
        process = subprocess.run(
            (str(Path(sys.executable).with_name("provision")), *arguments),
            cwd=self.hosts.lab.folder,
            capture_output=True,
            text=True,
            timeout=300,
            env=self.hosts.environment | {"CANARY_TOKEN": "CANARY-token"},
        )
        text = process.stdout + process.stderr
        assert status in (None, process.returncode), (arguments, process.returncode, text)
        self.texts.append(text)
        return process.stdout


@contextmanager
def sampled(hosts: Hosts) -> Iterator[None]:
    """Sample the arguments of all processes on each host; none may have a value at the end."""
    unit = "systemd-run -q --collect --unit=sampler -p StandardError=file:/run/sampled"
    for host in HOSTS:
        argv = ("ssh", "-F", str(hosts.lab.ssh_config), host, "cat >/run/sampler.pl")
        subprocess.run(argv, input=SAMPLER, text=True, check=True)
        hosts.ssh(host, f"{unit} perl /run/sampler.pl")
    try:
        yield
    finally:
        hosts.everywhere("systemctl stop sampler; rm /run/sampler.pl")
    arguments = hosts.everywhere("cat /run/sampled; rm /run/sampled")
    assert arguments == dict.fromkeys(HOSTS, "")


def test_no_value_of_a_variable_is_seen(faults: Faults) -> None:
    """Over apply, a change that is rolled back, verify, graph and destroy, with three Dockers."""
    hosts = faults.hosts
    folder = hosts.lab.folder
    changes = [(f"c{n}: {{host: h{n},", f"c{n}: {{{ENV}, host: h{n},") for n in (1, 2, 3)]
    inventory = hosts.inventory("routes.yml", *changes, to="secrets.yml")
    (folder / "secret.txt").write_text(FIRST + "\n")
    outputs = Outputs(hosts)
    with sampled(hosts):
        assert "PASSWORD=(hidden)" in outputs.run("plan", inventory, "-o", "secret.plan")
        outputs.run("plan", inventory, "--json")
        outputs.run("apply", "--plan", "secret.plan", "-v")
        for number, host in enumerate(HOSTS, start=1):
            inside = hosts.ssh(host, f"docker exec c{number} env")
            assert f"PASSWORD={FIRST}\n" in inside and "TOKEN=CANARY-token\n" in inside
            assert "DOCKER_HOST=tcp://CANARY-literal\n" in inside and "EMPTY=\n" in inside
        assert outputs.run("apply", inventory).strip() == "No change."
        _a_change_that_is_rolled_back(faults, outputs, inventory)
        outputs.run("apply", inventory, "--json")
        assert f"PASSWORD={SECOND}" in hosts.ssh("h2", "docker exec c2 env")
        hosts.ssh("h3", "docker rm -f c3")
        outputs.run("verify", inventory, "--json", "--junit", "j.xml", "--html", "v.html", status=7)
        for verb in ("status", "show", "graph"):
            outputs.run(verb, inventory)
        assert hosts.everywhere(IN_FILES, check=False) == dict.fromkeys(HOSTS, "")
        outputs.run("destroy", inventory, "--yes", "-v")
    assert hosts.everywhere(IN_FILES, check=False) == dict.fromkeys(HOSTS, "")
    assert not [text for text in outputs.texts if "CANARY" in text]
    _assert_not_in_files_of_the_controller(folder)


def _a_change_that_is_rolled_back(faults: Faults, outputs: Outputs, inventory: str) -> None:
    """No file of h2 has a value in the middle of the change; the old container runs again."""
    hosts = faults.hosts
    (hosts.lab.folder / "secret.txt").write_text(SECOND + "\n")
    assert "PASSWORD=(hidden, differs)" in outputs.run("plan", inventory)
    shown = outputs.run("plan", inventory, "--show-secrets")
    assert "(hidden" not in shown and "CANARY-second" in shown
    outputs.texts.pop()
    id_ = hosts.ssh("h2", "docker ps -q --no-trunc")
    faults.at_step("h2", 2, f"({IN_FILES}) >/run/fault/files; {KILL_ACT}")
    outputs.run("apply", inventory, status=5)
    assert hosts.ssh("h2", "cat /run/fault/files; rm -r /run/fault") == ""
    faults.heal()
    assert hosts.ssh("h2", "docker ps -q --no-trunc") == id_
    assert f"PASSWORD={FIRST}\n" in hosts.ssh("h2", "docker exec c2 env")


def _assert_not_in_files_of_the_controller(folder: Path) -> None:
    argv = ("grep", "-rlaE", "--exclude-dir=hosts", "--exclude-dir=images", PATTERN, ".")
    process = subprocess.run(argv, cwd=folder, capture_output=True, text=True, env=os.environ)
    left = set(process.stdout.split()) - {"./secret.txt", "./secrets.yml"}
    assert not {name for name in left if not name.startswith("./.provision/")}, left
    assert not list(folder.glob(".provision-*"))
