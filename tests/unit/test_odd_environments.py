"""A user without a name or a home folder, and a closed standard output: no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sshd import block, serving, transport

# As in a container that runs as any number (OpenShift): the user database does not have it.
NAMELESS = """
import os, pwd, sys
for name in ("HOME", "USER", "LOGNAME"):
    os.environ.pop(name, None)
real = os.getuid()
os.getuid = lambda: 54321
def missing(number):
    raise KeyError(f"uid not found: {number}")
pwd.getpwuid = missing
"""
RUN = "from provision.cli.main import main\nmain()\n"
LOGIN = """
from pathlib import Path
from provision.inventory.load import load
from provision.transport.ssh.transport import SshTransport
ssh = SshTransport(load(Path("demo.yml")), Path("ssh_config"))
print(ssh.run("h1", "echo in", timeout_s=30).stdout)
ssh.close()
"""


def run(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with `program`."""
    argv = (sys.executable, "-c", program, *arguments)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120, env=env)


@pytest.mark.parametrize("verb", ["validate", "plan", "trust", "status"])
def test_a_user_without_a_name(tmp_path: Path, verb: str) -> None:
    """Each command ends with its own message."""
    (tmp_path / "ssh_config").write_text("Host *\n  ConnectTimeout 1\n  ProxyCommand false\n")
    (tmp_path / "demo.yml").write_text("name: demo\nhosts: {h1: {address: 192.0.2.1}}\n")
    process = run(tmp_path, NAMELESS + RUN, verb, "demo.yml", "--ssh-config", "ssh_config")
    assert "Traceback" not in process.stderr
    assert process.returncode == (0 if verb == "validate" else 2), process.stderr
    assert verb == "validate" or "set ssh.user in the inventory" in process.stderr


@pytest.mark.parametrize("home", [{"XDG_CACHE_HOME": "/dev/null/x"}, {}])
def test_a_user_without_a_place_for_programs(tmp_path: Path, home: dict[str, str]) -> None:
    """An inventory that needs one is valid; `fetch` says what is missing."""
    text = "name: demo\nhosts: {h1: {address: 192.0.2.1}, h2: {address: 192.0.2.2}}\n"
    text += "networks: {over: {method: flannel, cidr: 172.16.0.0/16}}\n"
    (tmp_path / "demo.yml").write_text(text)
    program = f"import os\nos.environ.update({home})\nos.environ.setdefault('XDG_CACHE_HOME', '')\n"
    valid = run(tmp_path, NAMELESS + program + RUN, "validate", "demo.yml")
    assert valid.returncode == 0, valid.stderr
    process = run(tmp_path, NAMELESS + program + RUN, "fetch", "flanneld")
    assert (process.returncode, "Traceback" in process.stderr) == (3, False), process.stderr
    assert "set XDG_CACHE_HOME" in process.stderr


def test_a_user_without_a_name_logs_in(tmp_path: Path) -> None:
    """Where ssh_config and the inventory name all that counts."""
    with serving(tmp_path / "sshd") as server:
        known = tmp_path / "known_hosts"
        known.write_text(f"{server.name} {server.host_key()}\n")
        transport(tmp_path, block(server, known))
        process = run(tmp_path, NAMELESS + LOGIN)
        assert process.stdout.strip() == "in", process.stderr


@pytest.mark.parametrize("verb", ["validate", "schema", "plan", "--help"])
def test_a_closed_standard_output(tmp_path: Path, verb: str) -> None:
    """The command says that its output is incomplete, and its status is not 0."""
    (tmp_path / "ssh_config").write_text("Host *\n  ConnectTimeout 1\n  ProxyCommand false\n")
    (tmp_path / "demo.yml").write_text("name: demo\nhosts: {h1: {address: 192.0.2.1}}\n")
    program = str(Path(sys.executable).with_name("provision"))
    options = () if verb in ("schema", "--help") else ("demo.yml", "--ssh-config", "ssh_config")
    options = options if verb == "plan" else options[:1]
    argv = ("sh", "-c", '"$@" >&-', "sh", program, verb, *options)
    process = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in process.stderr
    assert process.returncode in (1, 4) and "standard output is incomplete" in process.stderr
