"""Loading an inventory: valid files give the right values, invalid files the right errors."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from provision import methods
from provision.inventory import load as inventory_load
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


def loaded(folder: Path, text: str) -> Inventory:
    """The inventory of a file with this text."""
    path = folder / "inventory.yml"
    path.write_text(text)
    return load(path)


def error_text(path: Path) -> str:
    """All findings of an invalid file, one per line."""
    with pytest.raises(InventoryError) as caught:
        load(path)
    assert caught.value.exit_status == 3
    return str(caught.value)


@pytest.mark.parametrize("case", sorted(BAD.glob("*.yml")), ids=lambda path: path.stem)
def test_an_invalid_file_has_the_expected_findings(
    case: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The text file beside each case has them; METHODS stands for the names of all methods."""
    monkeypatch.chdir(BAD)
    text = (error_text(Path(case.name)) + "\n").replace(", ".join(methods.names()), "METHODS")
    if request.config.getoption("update_goldens"):
        case.with_suffix(".txt").write_text(text)
    assert text == case.with_suffix(".txt").read_text()


@pytest.mark.parametrize("case", sorted(BAD.glob("*.yml")), ids=lambda path: path.stem)
def test_findings_are_unique_and_in_the_order_of_the_file(case: Path) -> None:
    """A reader can mend the file from top to bottom."""
    with pytest.raises(InventoryError) as caught:
        load(case)
    findings = [(f.position, f.message) for f in caught.value.findings]
    assert findings == sorted(set(findings))


def test_the_example_of_routes_has_the_documented_subnets() -> None:
    """Each host has the next /24 of the range, in the order of the file."""
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


def test_the_docker0_example_uses_the_default_bridge() -> None:
    """Its option `bridge` is docker0."""
    example = load(ROOT / "inventories/routes-docker0.yml")
    assert example.networks["blue"].options.bridge == "docker0"  # type: ignore[attr-defined]


def test_a_container_has_defaults(tmp_path: Path) -> None:
    """The default command of busybox is a sleep; other images run their own command."""
    containers = loaded(
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
    assert containers["plain"] == sleeping
    assert containers["named"].command == ("sleep", "infinity")
    assert (containers["other"].image.ref, containers["other"].command) == ("nginx:latest", ())
    assert containers["given"].command == ("httpd", "-f")
    assert (containers["given"].address, containers["given"].restart) == (
        IPv4Address("172.20.1.9"),
        "no",
    )
    assert containers["empty"].command == ()
    assert containers["digest"].image.ref == "localhost:5000/a/b@sha256:" + "0" * 64


def test_the_keys_of_a_network_are_followed(tmp_path: Path) -> None:
    """Groups, subnet sizes and given subnets decide the subnets of the other hosts."""
    inventory = loaded(
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
    blue = inventory.networks["blue"]
    assert inventory.groups == {"edge": ("h3", "h1")}
    assert dict(blue.subnets) == {
        "h3": IPv4Network("172.20.9.0/24"),
        "h1": IPv4Network("172.20.0.64/26"),
        "h2": IPv4Network("172.20.0.128/26"),
    }
    assert (blue.hosts, blue.mtu, blue.egress) == (("h3", "h1", "h2"), 1400, "none")


def test_a_host_added_at_the_end_keeps_all_other_subnets(tmp_path: Path) -> None:
    """The containers of the other hosts keep their addresses."""
    networks = "networks: {blue: {method: routes, cidr: 172.20.0.0/16}}"
    few = loaded(tmp_path, "name: demo" + HOSTS + networks)
    more = loaded(tmp_path, f"name: demo{HOSTS}  h4: {{address: 10.78.0.14}}\n{networks}")
    before, after = few.networks["blue"].subnets, more.networks["blue"].subnets
    assert dict(before) == {name: after[name] for name in before}


def test_empty_sections_are_ignored(tmp_path: Path) -> None:
    """A key without a value is the same as no key."""
    inventory = loaded(tmp_path, f"name: demo{HOSTS}ssh:\ngroups:\nnetworks:\ncontainers:\n")
    assert inventory.hosts["h1"].ssh == Ssh()
    assert (dict(inventory.groups), dict(inventory.networks)) == ({}, {})


def test_arguments_of_a_command_stay_text(tmp_path: Path) -> None:
    """Texts that YAML 1.1 would read as a float, boolean, octal or base-60 number."""
    arguments = "NO, yes, 1.10, 22:22, 0o17, 010, 1e3, 0x1F, 1_000, .inf, 2026-11-24, =, 0b1"
    inventory = loaded(
        tmp_path,
        f"name: demo{HOSTS}networks: {{on: {{method: routes, cidr: 172.20.0.0/16}}}}\n"
        f"containers: {{web: {{host: h1, network: on, command: [{arguments}]}}}}\n",
    )
    assert ", ".join(inventory.containers["web"].command) == arguments


def test_long_and_unprintable_text_is_shortened_and_escaped(tmp_path: Path) -> None:
    """Every message is one printable line of less than 300 characters."""
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
    lines = error_text(path).splitlines()
    assert len(lines) == 17
    assert all(len(line) < 300 and line.isprintable() for line in lines)


def test_an_inventory_is_immutable(tmp_path: Path) -> None:
    """Its mappings refuse assignments."""
    inventory = loaded(tmp_path, "name: demo" + HOSTS)
    with pytest.raises(TypeError):
        inventory.hosts["h9"] = inventory.hosts["h1"]  # type: ignore[index]


def test_the_ssh_key_is_found_by_each_kind_of_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is relative to the file, relative to the home folder, or absolute."""
    monkeypatch.setenv("HOME", str(tmp_path))
    key = tmp_path / "id"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    key.chmod(0o600)
    ssh = "ssh: {user: root, key: %s, port: 22, jump: me@bastion:2222, sudo: true}"
    for name in ("id", "~/id", str(key)):
        inventory = loaded(tmp_path, f"name: demo{HOSTS}{ssh % name}")
        assert inventory.hosts["h1"].ssh == Ssh("root", key, 22, "me@bastion:2222", True)


def test_the_ssh_options_of_a_host_override_the_general_ones(tmp_path: Path) -> None:
    """Options that the host does not have come from the general section."""
    hosts = "\nhosts:\n  h1: {address: 10.78.0.11, ssh: {address: gate.example, port: 2201}}\n"
    hosts += "  h2: {address: 10.78.0.12, ssh: {user: me, sudo: false}}\n"
    inventory = loaded(tmp_path, f"name: demo\nssh: {{user: root, sudo: true}}{hosts}")
    assert inventory.hosts["h1"].ssh == Ssh("root", None, 2201, None, True, "gate.example")
    assert inventory.hosts["h2"].ssh == Ssh("me", None, None, None, False, None)


@pytest.mark.parametrize(
    ("content", "mode", "message"),
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
def test_an_unusable_key_is_refused(tmp_path: Path, content: str, mode: int, message: str) -> None:
    """The error has its reason and a command that mends it."""
    (tmp_path / "id").write_text(content)
    (tmp_path / "id").chmod(mode)
    path = tmp_path / "inventory.yml"
    path.write_text(f"name: demo\nssh: {{key: id}}{HOSTS}")
    assert error_text(path).startswith(f"{path}:2:12: key 'id' {message}")


def test_a_key_that_is_a_pipe_is_not_read(tmp_path: Path) -> None:
    """Reading would wait for ever."""
    os.mkfifo(tmp_path / "id")
    path = tmp_path / "inventory.yml"
    path.write_text(f"name: demo\nssh: {{key: id}}{HOSTS}")
    assert "key 'id': is a named pipe, not a file" in error_text(path)


def test_an_inventory_that_is_not_a_regular_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what the path is."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Path("large").write_bytes(b"#" * ((8 << 20) + 1))
    assert [
        error_text(Path(name)) for name in (".", "pipe", "/dev/zero", "loop", "gone", "large")
    ] == [
        ".: is a folder, not a file; name a regular file",
        "pipe: is a named pipe, not a file; name a regular file",
        "/dev/zero: is a device, not a file; name a regular file",
        "loop: the symbolic link leads to itself; check where it points",
        "gone: no such file; check the path",
        "large: is larger than 8192 KiB; is this the right file?",
    ]
    assert "not allowed in file names" in error_text(Path("a\0b"))
    assert "the name is too long" in error_text(Path("a" * 300))


def test_an_inventory_without_read_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says to check the permissions."""
    path = tmp_path / "inventory.yml"
    path.write_text("name: demo\n")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert "permission denied; check the permissions" in error_text(path)


def test_500_hosts_load_within_a_second(tmp_path: Path) -> None:
    """Loading is not quadratic in the number of hosts."""
    hosts = "".join(f"  h{i}: {{address: 10.{i // 250}.1.{i % 250 + 1}}}\n" for i in range(500))
    containers = "".join(f"  c{i}: {{host: h{i}, network: blue}}\n" for i in range(500))
    network = "networks: {blue: {method: routes, cidr: 172.16.0.0/12}}\n"
    begin = time.process_time()
    inventory = loaded(tmp_path, f"name: big\nhosts:\n{hosts}{network}containers:\n{containers}")
    assert time.process_time() - begin < 1
    assert len(inventory.containers) == 500


def test_thousands_of_unknown_names_are_reported_within_two_seconds(tmp_path: Path) -> None:
    """The search for similar names is not quadratic."""
    path = tmp_path / "inventory.yml"
    containers = "".join(f"  c{i}: {{host: x{i}, network: bleu{i}}}\n" for i in range(3000))
    network = "networks: {blue: {method: routes, cidr: 172.16.0.0/12}}\n"
    path.write_text(f"name: big{HOSTS}{network}containers:\n{containers}")
    begin = time.process_time()
    assert error_text(path).count("\n") == 5999
    assert time.process_time() - begin < 2


def test_the_model_imports_neither_yaml_nor_pydantic() -> None:
    """Programs that use it as a library start quickly."""
    code = (
        "import sys, provision.model.inventory, provision.model.errors\n"
        "import provision.inventory.limit, provision.model.names\n"
        "print({'yaml', 'pydantic'} & set(sys.modules))"
    )
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert process.stdout == "set()\n", process.stderr


def test_the_search_for_similar_names_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first mistakes of a file, though 50,000 names resemble 5,000 hosts."""
    monkeypatch.setattr(inventory_load, "MAX_FINDINGS", 100)
    hosts = ", ".join(f"hostname{k}: {{address: 10.{k >> 8}.{k & 255}.1}}" for k in range(5000))
    unknown = ", ".join(f"hostnam{k}" for k in range(50_000))
    path = tmp_path / "inventory.yml"
    network = f"{{method: routes, cidr: 172.16.0.0/12, hosts: [{unknown}]}}"
    path.write_text(f"name: z\nhosts: {{{hosts}}}\nnetworks:\n  blue: {network}\n")
    begin = time.process_time()
    lines = error_text(path).splitlines()
    assert time.process_time() - begin < 10
    assert len(lines) == 101 and lines[0].endswith("mend the others first")
    assert "there are more than 100 mistakes of this kind" in lines[0]
