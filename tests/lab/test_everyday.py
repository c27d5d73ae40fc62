"""The tool on hosts as people have them: logins, other inventories, saved plans, own tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.lab.hosts import Hosts

pytestmark = pytest.mark.lab
EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def applied(mixed: Hosts) -> Iterator[Hosts]:
    """Hosts with `routes.yml` applied, and as they were afterwards."""
    name = mixed.inventory("routes.yml")
    mixed.provision("apply", name)
    yield mixed
    mixed.provision("destroy", name, "--yes")


@pytest.fixture
def apart(mixed: Hosts, tmp_path: Path) -> Path:
    """A folder of a user who has a key and addresses, and no ssh_config of the lab."""
    shutil.copy(mixed.lab.key, tmp_path / "id")
    (tmp_path / "home/.ssh").mkdir(parents=True)
    return tmp_path


def run(folder: Path, *words: str, status: int = 0, stdin: int = subprocess.DEVNULL) -> str:
    program = str(Path(sys.executable).with_name("provision"))
    done = subprocess.run(
        (program, *words),
        cwd=folder,
        stdin=stdin,
        capture_output=True,
        text=True,
        env=os.environ | {"HOME": str(folder / "home")},
        timeout=120,
    )
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def own_inventory(mixed: Hosts, apart: Path) -> str:
    hosts = "".join(f"  h{n}: {{address: {mixed.networks[0]}.1{n}}}\n" for n in (1, 2, 3))
    network = "networks: {blue: {method: routes, cidr: 172.20.0.0/16}}\n"
    text = f"name: own\nssh: {{user: root, key: id}}\nhosts:\n{hosts}{network}"
    (apart / "own.yml").write_text(text)
    return "own.yml"


def test_a_new_host_is_trusted_after_a_yes_only(mixed: Hosts, apart: Path) -> None:
    """Refused before; fingerprints as ssh-keygen prints them; a changed key is never replaced."""
    name = own_inventory(mixed, apart)
    assert "provision trust INVENTORY" in run(apart, "plan", name, status=4)
    assert "confirmation is required" in run(apart, "trust", name, status=2)
    known = apart / ".provision/known_hosts"
    assert not known.exists()

    said = run(apart, "trust", name, "--yes")
    assert "0 known, 3 recorded." in said
    argv = ("ssh-keygen", "-l", "-f", str(mixed.lab.known_hosts))
    printed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    prints = {line.split()[1] for line in printed.splitlines()}
    assert len(prints) == 3 and all(one in said for one in prints)
    assert "to create on 3 hosts" in run(apart, "plan", name)
    assert "3 known, 0 recorded." in run(apart, "trust", name)

    subprocess.run(
        ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(apart / "x")), check=True
    )
    other = " ".join((apart / "x.pub").read_text().split()[:2])
    lines = known.read_text().splitlines()
    known.write_text(f"{lines[0].split()[0]} {other}\n" + "\n".join(lines[1:]) + "\n")
    before = known.read_text()
    said = run(apart, "trust", name, "--yes", status=4)
    assert "h1: its host key differs from the recorded one" in said and "delete the line" in said
    assert known.read_text() == before
    assert "another machine may be answering" in run(apart, "plan", name, status=4)


def test_an_agent_logs_in(mixed: Hosts, apart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a locked key that only the agent holds open."""
    name = own_inventory(mixed, apart)
    argv = ("ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(apart / "id"))
    agent = subprocess.run(("ssh-agent", "-s"), capture_output=True, text=True, check=True).stdout
    words = dict(part.split("=", 1) for part in agent.replace("\n", "").split(";") if "=" in part)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", words["SSH_AUTH_SOCK"])
        run(apart, "trust", name, "--yes")
        (apart / "id").chmod(0o600)
        subprocess.run(("ssh-add", "-q", str(apart / "id")), check=True)
        subprocess.run(argv, check=True)
        assert "to create on 3 hosts" in run(apart, "plan", name)
        subprocess.run(("ssh-add", "-q", "-D"), check=True)
        assert "the key is locked by a passphrase" in run(apart, "plan", name, status=4)
    finally:
        os.kill(int(words["SSH_AGENT_PID"]), 15)


def test_a_jump_host_is_trusted_before_what_is_behind_it(mixed: Hosts, apart: Path) -> None:
    """One round for the jump host, one for those behind; a swapped key of it is refused."""
    name = own_inventory(mixed, apart)
    jump = f"jump: root@{mixed.networks[0]}.11"
    text = (apart / name).read_text().replace("key: id", f"key: id, {jump}")
    (apart / name).write_text(text)
    config = f"Host {mixed.networks[0]}.*\n  IdentityFile {apart}/id\n"
    (apart / "home/.ssh/config").write_text(config)
    said = run(apart, "trust", name, "--yes", "--limit", "h2,h3")
    assert "0 known, 3 recorded." in said.replace("1 known, 2", "0 known, 3")
    assert "to create on 2 hosts" in run(apart, "plan", name, "--limit", "h2,h3")
    known = apart / ".provision/known_hosts"
    lines = known.read_text().splitlines()
    assert {line.split()[0] for line in lines} == {f"{mixed.networks[0]}.1{n}" for n in (1, 2, 3)}
    keys = {line.split()[0]: line.split(" ", 1)[1] for line in lines}
    swapped = keys | {f"{mixed.networks[0]}.11": keys[f"{mixed.networks[0]}.12"]}
    known.write_text("".join(f"{host} {key}\n" for host, key in swapped.items()))
    said = run(apart, "plan", name, "--limit", "h2", status=4)
    assert "h2: its host key differs from the recorded one" in said


def test_an_ansible_inventory_as_it_is(mixed: Hosts, apart: Path) -> None:
    """Hosts, logins and groups from the file; our own says only what joins them."""
    lines = "".join(f"h{n} ansible_host={mixed.networks[0]}.1{n}\n" for n in (1, 2, 3))
    (apart / "hosts.ini").write_text(
        f"[lab]\n{lines}[edge]\nh1\n[all:vars]\nansible_user=root\n"
        "ansible_ssh_private_key_file=id\n"
    )
    network = "networks: {green: {method: routes, cidr: 172.29.0.0/16, hosts: [lab]}}\n"
    containers = "containers: {d1: {host: h1, network: green}, d2: {host: h2, network: green}}\n"
    (apart / "a.yml").write_text(f"name: ansi\nhosts_from: hosts.ini\n{network}{containers}")
    run(apart, "trust", "a.yml", "--yes")
    before = mixed.capture()
    try:
        run(apart, "apply", "a.yml")
        assert json.loads(run(apart, "verify", "a.yml", "--json"))["ok"]
        assert run(apart, "apply", "a.yml", "--limit", "edge").strip() == "No change."
    finally:
        run(apart, "destroy", "a.yml", "--yes")
    assert mixed.capture() == before


def test_a_saved_plan_is_made_or_refused(applied: Hosts) -> None:
    """Just what it says; nothing at all once a host has changed."""
    applied.ssh("h1", "ip route del 172.20.1.0/24")
    applied.provision("plan", "routes.yml", "-o", "saved.plan")
    applied.ssh("h2", "ip route del 172.20.0.0/24")
    refused = applied.json("apply", "--plan", "saved.plan", status=2)
    assert "h2: its changes are not those of the plan" in refused["errors"][0]["message"]
    assert "h1" not in refused["errors"][0]["message"]
    assert "172.20.1.0/24" not in applied.ssh("h1", "ip route")
    applied.provision("plan", "routes.yml", "-o", "saved.plan")
    done = applied.json("apply", "--plan", "saved.plan")
    assert [(c["host"], c["name"]) for c in done["changes"]] == [
        ("h1", "172.20.1.0/24"),
        ("h2", "172.20.0.0/24"),
    ]
    assert applied.provision("apply", "routes.yml").strip() == "No change."


def test_users_own_tests(applied: Hosts) -> None:
    """The example of the docs passes, and fails when a container is cut off."""
    argv = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir")
    argv += (str(EXAMPLES), "-c", os.devnull, "--provision-inventory", "routes.yml", str(EXAMPLES))

    def tests() -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, cwd=applied.lab.folder, capture_output=True, text=True)

    passed = tests()
    assert passed.returncode == 0 and "19 passed" in passed.stdout, passed.stdout
    applied.ssh("h1", "docker network disconnect --force blue c1")
    failed = tests()
    assert failed.returncode == 1 and "test_each_reaches_each" in failed.stdout
    applied.provision("apply", "routes.yml")
    assert tests().returncode == 0


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())


def test_verify_writes_a_page(applied: Hosts) -> None:
    """One file, nothing fetched: the matrix, each check, and what failed."""
    page = applied.lab.folder / "report.html"
    applied.provision("verify", "routes.yml", "--html", str(page))
    cells = _Cells()
    cells.feed(page.read_text())
    assert cells.text.count("ok") == 6 and "routes.yml: passed" in cells.text
    assert not {"script", "img", "link"} & set(cells.tags)
    applied.ssh("h1", "ip route del 172.20.1.0/24")
    applied.provision("verify", "routes.yml", "--html", str(page), status=7)
    assert "h1: create route 172.20.1.0/24" in page.read_text().replace("update", "create")
    applied.provision("apply", "routes.yml")
