"""Everyday use on booted hosts: logins, Ansible inventories, saved plans, users' own tests."""

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
    """Three hosts with `routes.yml` applied, which is destroyed afterwards."""
    name = mixed.inventory("routes.yml")
    mixed.provision("apply", name)
    yield mixed
    mixed.provision("destroy", name, "--yes")


@pytest.fixture
def user_folder(mixed: Hosts, tmp_path: Path) -> Path:
    """The folder of a user who has the key, but neither the lab's ssh_config nor known_hosts."""
    shutil.copy(mixed.lab.key, tmp_path / "id")
    (tmp_path / "home/.ssh").mkdir(parents=True)
    return tmp_path


def run(folder: Path, *arguments: str, status: int = 0, stdin: int = subprocess.DEVNULL) -> str:
    """Run `provision` in a user's folder; its stdout and stderr."""
    program = str(Path(sys.executable).with_name("provision"))
    process = subprocess.run(
        (program, *arguments),
        cwd=folder,
        stdin=stdin,
        capture_output=True,
        text=True,
        env=os.environ | {"HOME": str(folder / "home")},
        timeout=120,
    )
    assert process.returncode == status, (process.returncode, process.stdout, process.stderr)
    assert "Traceback" not in process.stderr
    return process.stdout + process.stderr


def user_inventory(mixed: Hosts, user_folder: Path) -> str:
    """Write an inventory with the user's key into the folder; its file name."""
    hosts = "".join(f"  h{n}: {{address: {mixed.networks[0]}.1{n}}}\n" for n in (1, 2, 3))
    network = "networks: {blue: {method: routes, cidr: 172.20.0.0/16}}\n"
    text = f"name: own\nssh: {{user: root, key: id}}\nhosts:\n{hosts}{network}"
    (user_folder / "own.yml").write_text(text)
    return "own.yml"


def test_trust_records_host_keys_only_after_a_yes(mixed: Hosts, user_folder: Path) -> None:
    """Plan refuses unknown keys; trust shows their fingerprints, and replaces no changed key."""
    name = user_inventory(mixed, user_folder)
    assert "provision trust INVENTORY" in run(user_folder, "plan", name, status=4)
    assert "confirmation is required" in run(user_folder, "trust", name, status=2)
    known = user_folder / ".provision/known_hosts"
    assert not known.exists()

    output = run(user_folder, "trust", name, "--yes")
    assert "0 known, 3 recorded." in output
    argv = ("ssh-keygen", "-l", "-f", str(mixed.lab.known_hosts))
    listing = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    fingerprints = {line.split()[1] for line in listing.splitlines()}
    assert len(fingerprints) == 3 and all(text in output for text in fingerprints)
    assert "to create on 3 hosts" in run(user_folder, "plan", name)
    assert "3 known, 0 recorded." in run(user_folder, "trust", name)

    subprocess.run(
        ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(user_folder / "x")), check=True
    )
    changed_key = " ".join((user_folder / "x.pub").read_text().split()[:2])
    lines = known.read_text().splitlines()
    known.write_text(f"{lines[0].split()[0]} {changed_key}\n" + "\n".join(lines[1:]) + "\n")
    before = known.read_text()
    output = run(user_folder, "trust", name, "--yes", status=4)
    assert "h1: its host key differs from the recorded one" in output
    assert "delete the line" in output
    assert known.read_text() == before
    assert "another machine may be answering" in run(user_folder, "plan", name, status=4)


def test_a_login_by_an_agent_works(
    mixed: Hosts, user_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key has a passphrase that only the agent knows; without the agent, the error says so."""
    name = user_inventory(mixed, user_folder)
    argv = ("ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(user_folder / "id"))
    agent = subprocess.run(("ssh-agent", "-s"), capture_output=True, text=True, check=True).stdout
    variables = dict(
        part.split("=", 1) for part in agent.replace("\n", "").split(";") if "=" in part
    )
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", variables["SSH_AUTH_SOCK"])
        run(user_folder, "trust", name, "--yes")
        (user_folder / "id").chmod(0o600)
        subprocess.run(("ssh-add", "-q", str(user_folder / "id")), check=True)
        subprocess.run(argv, check=True)
        assert "to create on 3 hosts" in run(user_folder, "plan", name)
        subprocess.run(("ssh-add", "-q", "-D"), check=True)
        assert "the key is locked by a passphrase" in run(user_folder, "plan", name, status=4)
    finally:
        os.kill(int(variables["SSH_AGENT_PID"]), 15)


def test_trust_records_a_jump_host_before_the_hosts_behind_it(
    mixed: Hosts, user_folder: Path
) -> None:
    """One run of trust records all three keys, and a changed key of the jump host is refused."""
    name = user_inventory(mixed, user_folder)
    jump = f"jump: root@{mixed.networks[0]}.11"
    text = (user_folder / name).read_text().replace("key: id", f"key: id, {jump}")
    (user_folder / name).write_text(text)
    config = f"Host {mixed.networks[0]}.*\n  IdentityFile {user_folder}/id\n"
    (user_folder / "home/.ssh/config").write_text(config)
    output = run(user_folder, "trust", name, "--yes", "--limit", "h2,h3")
    assert "0 known, 3 recorded." in output.replace("1 known, 2", "0 known, 3")
    assert "to create on 2 hosts" in run(user_folder, "plan", name, "--limit", "h2,h3")
    known = user_folder / ".provision/known_hosts"
    lines = known.read_text().splitlines()
    assert {line.split()[0] for line in lines} == {f"{mixed.networks[0]}.1{n}" for n in (1, 2, 3)}
    keys = {line.split()[0]: line.split(" ", 1)[1] for line in lines}
    swapped = keys | {f"{mixed.networks[0]}.11": keys[f"{mixed.networks[0]}.12"]}
    known.write_text("".join(f"{host} {key}\n" for host, key in swapped.items()))
    output = run(user_folder, "plan", name, "--limit", "h2", status=4)
    jump_host = f"jump host {mixed.networks[0]}.11"
    assert f"h2: {jump_host}: its host key differs from the recorded one" in output


def test_an_ansible_inventory_is_used_unchanged(mixed: Hosts, user_folder: Path) -> None:
    """Hosts, logins and groups come from its file; our inventory adds networks and containers."""
    lines = "".join(f"h{n} ansible_host={mixed.networks[0]}.1{n}\n" for n in (1, 2, 3))
    (user_folder / "hosts.ini").write_text(
        f"[lab]\n{lines}[edge]\nh1\n[all:vars]\nansible_user=root\n"
        "ansible_ssh_private_key_file=id\n"
    )
    network = "networks: {green: {method: routes, cidr: 172.29.0.0/16, hosts: [lab]}}\n"
    containers = "containers: {d1: {host: h1, network: green}, d2: {host: h2, network: green}}\n"
    (user_folder / "a.yml").write_text(f"name: ansi\nhosts_from: hosts.ini\n{network}{containers}")
    run(user_folder, "trust", "a.yml", "--yes")
    before = mixed.capture()
    try:
        run(user_folder, "apply", "a.yml")
        assert json.loads(run(user_folder, "verify", "a.yml", "--json"))["ok"]
        assert run(user_folder, "apply", "a.yml", "--limit", "edge").strip() == "No change."
    finally:
        run(user_folder, "destroy", "a.yml", "--yes")
    assert mixed.capture() == before


def test_a_saved_plan_is_applied_exactly_or_refused(applied: Hosts) -> None:
    """Apply makes exactly its changes, and none if a host has changed since."""
    applied.damage("h1", "ip route del 172.20.1.0/24")
    applied.provision("plan", "routes.yml", "-o", "saved.plan")
    applied.damage("h2", "ip route del 172.20.0.0/24")
    refused = applied.json("apply", "--plan", "saved.plan", status=2)
    assert "h2: its changes are not those of the plan" in refused["errors"][0]["message"]
    assert "h1" not in refused["errors"][0]["message"]
    assert "172.20.1.0/24" not in applied.ssh("h1", "ip route")
    applied.provision("plan", "routes.yml", "-o", "saved.plan")
    result = applied.json("apply", "--plan", "saved.plan")
    rows = [(c["host"], c["name"], row["name"]) for c in result["changes"] for row in c["rows"]]
    assert rows == [("h1", "blue", "172.20.1.0/24"), ("h2", "blue", "172.20.0.0/24")]
    assert applied.provision("apply", "routes.yml").strip() == "No change."


def test_users_own_tests_pass_and_fail(applied: Hosts) -> None:
    """The example of the docs passes, and fails when a container is disconnected."""
    argv = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir")
    argv += (str(EXAMPLES), "-c", os.devnull, "--provision-inventory", "routes.yml", str(EXAMPLES))

    def run_tests() -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, cwd=applied.lab.folder, capture_output=True, text=True)

    passed = run_tests()
    assert passed.returncode == 0 and "19 passed" in passed.stdout, passed.stdout
    applied.ssh("h1", "docker network disconnect --force blue c1")
    failed = run_tests()
    assert failed.returncode == 1 and "test_each_reaches_each" in failed.stdout
    applied.provision("apply", "routes.yml")
    assert run_tests().returncode == 0


class _Page(HTMLParser):
    """The tags and texts of an HTML page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())


def test_verify_writes_a_page(applied: Hosts) -> None:
    """One file that fetches nothing has the matrix, each check, and the failures."""
    page = applied.lab.folder / "report.html"
    applied.provision("verify", "routes.yml", "--html", str(page))
    parsed = _Page()
    parsed.feed(page.read_text())
    assert parsed.text.count("ok") == 6 and "routes.yml: passed" in parsed.text
    assert not {"script", "img", "link"} & set(parsed.tags)
    applied.damage("h1", "ip route del 172.20.1.0/24")
    applied.provision("verify", "routes.yml", "--html", str(page), status=7)
    assert "h1: route 172.20.1.0/24" in page.read_text()
    assert "All 2 pairs that fail are between h1 and h2" in page.read_text()
    applied.provision("apply", "routes.yml")


def family(mixed: Hosts, folder: Path, *, hosts: tuple[int, ...] = (1, 2, 3), nets: str) -> str:
    """Write the inventory `demo` with these hosts and networks into a folder; its path."""
    members = "".join(f"  h{n}: {{address: {mixed.networks[1]}.1{n}}}\n" for n in hosts)
    containers = "".join(f"  c{n}: {{host: h{n}, network: blue}}\n" for n in hosts)
    folder.mkdir(exist_ok=True)
    path = folder / "demo.yml"
    path.write_text(f"name: demo\nhosts:\n{members}networks:\n{nets}containers:\n{containers}")
    return str(path)


@pytest.mark.full
def test_what_others_and_earlier_files_hold_is_told(mixed: Hosts, tmp_path: Path) -> None:
    """Overlaps, hosts and networks that left the file, and the same name from another folder."""
    login = ("--ssh-config", str(mixed.lab.ssh_config))
    blue = "  blue: {method: routes, cidr: 172.20.0.0/16}\n"
    over = "  over: {method: vxlan, cidr: 172.21.0.0/16}\n"
    before = mixed.capture()
    ours = family(mixed, tmp_path / "ours", nets=blue + over)
    # The guard of another version, which stays on a host: the change is not confirmed by that.
    old_guard = "/var/lib/provision/guard-0000000000000000"
    mixed.everywhere(f"mkdir -p /var/lib/provision && echo exit 99 >{old_guard}")
    mixed.provision("apply", ours, *login)
    containers = mixed.everywhere("docker ps -q --no-trunc")
    try:
        for method, cidr in (("routes", "172.20.128.0/17"), ("ovs-gre", "172.21.64.0/18")):
            keys = f"  other: {{method: {method}, cidr: {cidr}}}\n"
            path = Path(family(mixed, tmp_path / "second", nets=keys))
            text = path.read_text().partition("containers")[0]
            path.write_text(text.replace("name: demo", "name: second"))
            conflicts = mixed.json("plan", str(path), *login, status=9)["conflicts"]
            assert {conflict["host"] for conflict in conflicts} == {"h1", "h2", "h3"}
            assert f"of network '{'blue' if method == 'routes' else 'over'}'" in str(conflicts)
            mixed.provision("apply", str(path), *login, status=9)
        assert mixed.provision("plan", ours, *login) == "No change.\n"

        family(mixed, tmp_path / "ours", hosts=(1, 3), nets=blue)
        warnings = mixed.json("plan", ours, *login)["warnings"]
        assert len(warnings) == 3, warnings
        peers = f"FDB entries and routes of hosts that are not in this file: {mixed.networks[1]}.12"
        assert warnings[0].startswith(f"h1, h3: {peers} (with 172.20.1.0/24 of network 'blue'). ")
        assert warnings[1] == (
            "network 'over' is not in this file any more: it is removed from h1, h3"
        )
        assert warnings[2].endswith("write: networks.blue.subnets: {h3: 172.20.2.0/24}")
        family(mixed, tmp_path / "ours", nets=blue + over)

        moved = family(mixed, tmp_path / "moved", nets=blue + over)
        assert mixed.provision("plan", moved, *login) == "No change.\n"
        theirs = family(
            mixed, tmp_path / "theirs", nets="  blue: {method: vxlan, cidr: 172.29.0.0/16}\n"
        )
        for verb in ("plan", "apply", "destroy"):
            printed = json.dumps(mixed.json(verb, theirs, "--yes", *login, status=9))
            assert f"was applied from {ours} by " in printed and "--take-over" in printed
        assert mixed.provision("plan", ours, *login) == "No change.\n"
        assert mixed.everywhere("docker ps -q --no-trunc") == containers

        mixed.provision("apply", theirs, "--take-over", *login)
        assert f"was applied from {theirs} by " in mixed.provision("plan", ours, *login, status=9)
    finally:
        mixed.provision("destroy", ours, "--yes", "--take-over", *login)
    assert mixed.capture() == before
