"""The inventory: what a good file becomes, and what every bad one is told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from provision.inventory.load import load
from provision.model.errors import InventoryError
from provision.model.inventory import Container, Image, Inventory, Ssh

ROOT = Path(__file__).parents[2]
BAD = ROOT / "tests/cases/bad-input"
HOSTS = """
hosts:
  h1: {address: 10.78.0.11}
  h2: {address: 10.78.0.12, nic: eth1}
  h3: {address: 10.78.0.13}
"""


def inventory(folder: Path, text: str) -> Inventory:
    path = folder / "inventory.yml"
    path.write_text(text)
    return load(path)


def findings(path: Path) -> str:
    with pytest.raises(InventoryError) as caught:
        load(path)
    assert caught.value.exit_status == 3
    return str(caught.value)


@pytest.mark.parametrize("case", sorted(BAD.glob("*.yml")), ids=lambda path: path.stem)
def test_bad_input_is_told(
    case: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(BAD)
    told = findings(Path(case.name))
    if request.config.getoption("update_goldens"):
        case.with_suffix(".txt").write_text(told + "\n")
    assert told + "\n" == case.with_suffix(".txt").read_text()


@pytest.mark.parametrize("case", sorted(BAD.glob("*.yml")), ids=lambda path: path.stem)
def test_findings_are_in_file_order_and_once(case: Path) -> None:
    with pytest.raises(InventoryError) as caught:
        load(case)
    places = [(f.position, f.message) for f in caught.value.findings]
    assert places == sorted(set(places))


def test_worked_example() -> None:
    demo = load(ROOT / "inventories/routes.yml")
    assert demo.name == "demo"
    assert [str(host.address) for host in demo.hosts.values()] == [
        "10.78.0.11",
        "10.78.0.12",
        "10.78.0.13",
    ]
    blue = demo.networks["blue"]
    assert blue.hosts == ("h1", "h2", "h3")
    assert {name: str(subnet) for name, subnet in blue.subnets.items()} == {
        "h1": "172.20.0.0/24",
        "h2": "172.20.1.0/24",
        "h3": "172.20.2.0/24",
    }
    assert (blue.method, blue.egress, blue.mtu) == ("routes", "masquerade", None)
    assert {c.host for c in demo.containers.values()} == {"h1", "h2", "h3"}


def test_classic_example() -> None:
    classic = load(ROOT / "inventories/routes-docker0.yml")
    assert classic.networks["blue"].options.bridge == "docker0"  # type: ignore[attr-defined]


def test_defaults_of_a_container(tmp_path: Path) -> None:
    found = inventory(
        tmp_path,
        "name: demo"
        + HOSTS
        + """
networks: {blue: {method: routes, cidr: 172.20.0.0/16}}
containers:
  plain: {host: h1, network: blue}
  named: {host: h1, network: blue, image: busybox}
  other: {host: h1, network: blue, image: nginx}
  given: {host: h2, network: blue, command: [httpd, -f], address: 172.20.1.9, restart: no}
  empty: {host: h2, network: blue, command: []}
  digest: {host: h2, network: blue, image: "localhost:5000/a/b@sha256:%s"}
"""
        % ("0" * 64),
    ).containers
    sleeping = Container(
        "plain",
        "h1",
        "blue",
        Image("busybox:latest"),
        ("sleep", "infinity"),
        None,
        "unless-stopped",
    )
    assert found["plain"] == sleeping
    assert found["named"].command == ("sleep", "infinity")
    assert (found["other"].image.ref, found["other"].command) == ("nginx:latest", ())
    assert found["given"].command == ("httpd", "-f")
    assert (found["given"].address, found["given"].restart) == (IPv4Address("172.20.1.9"), "no")
    assert found["empty"].command == ()
    assert found["digest"].image.ref == "localhost:5000/a/b@sha256:" + "0" * 64


def test_network_keys(tmp_path: Path) -> None:
    found = inventory(
        tmp_path,
        "name: demo"
        + HOSTS
        + """
groups: {edge: [h3, h1]}
networks:
  blue:
    method: routes
    cidr: 172.20.0.0/16
    hosts: [edge, h2, h1]
    subnet_size: 26
    subnets: {h3: 172.20.9.0/24}
    mtu: 1400
    egress: none
""",
    )
    blue = found.networks["blue"]
    assert found.groups == {"edge": ("h3", "h1")}
    assert dict(blue.subnets) == {
        "h3": IPv4Network("172.20.9.0/24"),
        "h1": IPv4Network("172.20.0.64/26"),
        "h2": IPv4Network("172.20.0.128/26"),
    }
    assert (blue.hosts, blue.mtu, blue.egress) == (("h3", "h1", "h2"), 1400, "none")


def test_another_host_at_the_end_moves_nobody(tmp_path: Path) -> None:
    networks = "networks: {blue: {method: routes, cidr: 172.20.0.0/16}}"
    few = inventory(tmp_path, "name: demo" + HOSTS + networks)
    more = inventory(tmp_path, f"name: demo{HOSTS}  h4: {{address: 10.78.0.14}}\n{networks}")
    before, after = few.networks["blue"].subnets, more.networks["blue"].subnets
    assert dict(before) == {name: after[name] for name in before}


def test_empty_sections_are_no_sections(tmp_path: Path) -> None:
    found = inventory(tmp_path, f"name: demo{HOSTS}ssh:\ngroups:\nnetworks:\ncontainers:\n")
    assert (found.hosts["h1"].ssh, dict(found.groups), dict(found.networks)) == (Ssh(), {}, {})


def test_text_stays_text(tmp_path: Path) -> None:
    """What YAML 1.1 would make a float, a boolean, an octal or a base-60 number."""
    words = "NO, yes, 1.10, 22:22, 0o17, 010, 1e3, 0x1F, 1_000, .inf, 2026-11-24, =, 0b1"
    found = inventory(
        tmp_path,
        f"name: demo{HOSTS}networks: {{on: {{method: routes, cidr: 172.20.0.0/16}}}}\n"
        f"containers: {{web: {{host: h1, network: on, command: [{words}]}}}}\n",
    )
    assert ", ".join(found.containers["web"].command) == words


def test_long_and_odd_text_makes_no_long_or_odd_message(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yml"
    key, long, digits = "x" * 1000, "x" * 20_000, "9" * 20_000
    path.write_text(
        f"name: {long}\nssh: {{port: {digits}, user: {long}, jump: {long}, key: {long}}}\n"
        f"hosts:\n  {key}: {{address: {digits}, nic: {long}}}\n"
        f'  "h\\u202e\\n": {{address: 10.78.0.11}}\n  h3: {{address: 10.78.0.11}}\n'
        f"networks: {{{key}: {{method: {long}, cidr: {digits}}},\n"
        f"  b: {{method: routes, cidr: 1.{digits}/{digits}, mtu: '{digits}', {key}: {long}}}}}\n"
        f"containers: {{{key}: {{host: {long}, network: {long}, image: {long}, command: {long}}}}}"
    )
    told = findings(path).splitlines()
    assert len(told) == 17
    assert all(len(row) < 300 and row.isprintable() for row in told)


def test_it_is_frozen(tmp_path: Path) -> None:
    found = inventory(tmp_path, "name: demo" + HOSTS)
    with pytest.raises(TypeError):
        found.hosts["h9"] = found.hosts["h1"]  # type: ignore[index]


def test_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    key = tmp_path / "id"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    key.chmod(0o600)
    ssh = "ssh: {user: root, key: %s, port: 22, jump: me@bastion:2222, sudo: true}"
    for name in ("id", "~/id", str(key)):
        found = inventory(tmp_path, f"name: demo{HOSTS}{ssh % name}")
        assert found.hosts["h1"].ssh == Ssh("root", key, 22, "me@bastion:2222", True)


def test_ssh_of_one_host(tmp_path: Path) -> None:
    """Its own words count before those for all."""
    hosts = "\nhosts:\n  h1: {address: 10.78.0.11, ssh: {address: gate.example, port: 2201}}\n"
    hosts += "  h2: {address: 10.78.0.12, ssh: {user: me, sudo: false}}\n"
    found = inventory(tmp_path, f"name: demo\nssh: {{user: root, sudo: true}}{hosts}")
    assert found.hosts["h1"].ssh == Ssh("root", None, 2201, None, True, "gate.example")
    assert found.hosts["h2"].ssh == Ssh("me", None, None, None, False, None)


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\n",
            0o640,
            "can be read by other users; chmod 600 id",
        ),
        ("ssh-ed25519 AAAA me\n", 0o600, "is a public key; name the private one: 'id'"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", 0o600, "is in PuTTY's format; convert it: "),
        ("", 0o600, "is not a private key; make one: ssh-keygen -t ed25519"),
    ],
)
def test_unusable_keys(tmp_path: Path, content: str, mode: int, told: str) -> None:
    (tmp_path / "id").write_text(content)
    (tmp_path / "id").chmod(mode)
    path = tmp_path / "inventory.yml"
    path.write_text(f"name: demo\nssh: {{key: id}}{HOSTS}")
    assert findings(path).startswith(f"{path}:2:12: key 'id' {told}")


def test_a_key_that_is_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "id")
    path = tmp_path / "inventory.yml"
    path.write_text(f"name: demo\nssh: {{key: id}}{HOSTS}")
    assert "key 'id': is a named pipe, not a file" in findings(path)


def test_paths_that_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Path("large").write_bytes(b"#" * ((1 << 20) + 1))
    assert [
        findings(Path(name)) for name in (".", "pipe", "/dev/zero", "loop", "gone", "large")
    ] == [
        ".: is a folder, not a file; name a regular file",
        "pipe: is a named pipe, not a file; name a regular file",
        "/dev/zero: is a device, not a file; name a regular file",
        "loop: the symbolic link leads to itself; check where it points",
        "gone: no such file; check the path",
        "large: is larger than 1024 KiB; is this the right file?",
    ]
    assert "no file name can hold" in findings(Path("a\0b"))
    assert "the name is too long" in findings(Path("a" * 300))


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "inventory.yml"
    path.write_text("name: demo\n")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert "may not be read; check the permissions" in findings(path)


def test_500_hosts_in_a_second(tmp_path: Path) -> None:
    hosts = "".join(f"  h{i}: {{address: 10.{i // 250}.1.{i % 250 + 1}}}\n" for i in range(500))
    containers = "".join(f"  c{i}: {{host: h{i}, network: blue}}\n" for i in range(500))
    network = "networks: {blue: {method: routes, cidr: 172.16.0.0/12}}\n"
    started = time.process_time()
    found = inventory(tmp_path, f"name: big\nhosts:\n{hosts}{network}containers:\n{containers}")
    assert time.process_time() - started < 1
    assert len(found.containers) == 500


def test_thousands_of_unknown_words_in_a_second(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yml"
    containers = "".join(f"  c{i}: {{host: x{i}, network: bleu{i}}}\n" for i in range(3000))
    network = "networks: {blue: {method: routes, cidr: 172.16.0.0/12}}\n"
    path.write_text(f"name: big{HOSTS}{network}containers:\n{containers}")
    started = time.process_time()
    assert findings(path).count("\n") == 5999
    assert time.process_time() - started < 2


def test_the_model_needs_neither_yaml_nor_pydantic() -> None:
    code = (
        "import sys, provision.model.inventory, provision.model.errors\n"
        "import provision.inventory.limit, provision.model.names\n"
        "print({'yaml', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
