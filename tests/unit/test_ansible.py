"""Ansible inventories: read as `ansible-inventory --list` reads them; what we say of the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from provision.inventory.ansible.read import read
from provision.inventory.limit import select
from provision.inventory.load import load
from provision.model.errors import InventoryError, UsageError
from provision.model.inventory import Inventory, Ssh

FOLDER = Path(__file__).parent / "ansible"
FILES = [*sorted(path for path in FOLDER.glob("*") if path.is_file()), FOLDER / "beside/hosts"]
PATTERNS = ("web", "web:db", "web,db1", "all:!db", "edge:&db", "db*", "!web", "*:!*1", "&db:all")


def ansible(home: Path, program: str, *words: str) -> str:
    """What Ansible's own programs print, without anybody's settings."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    argv = (sys.executable, str(Path(sys.executable).with_name(program)), *words)
    env = own | {"HOME": str(home), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=home)
    assert done.returncode == 0, done.stderr
    return done.stdout


def members(listed: dict[str, Any], group: str) -> set[str]:
    """All hosts of a group in the output of --list."""
    entry = listed.get(group, {})
    below = (members(listed, child) for child in entry.get("children", ()))
    return set(entry.get("hosts", ())).union(*below)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_hosts_groups_and_variables_are_ansibles(path: Path, tmp_path: Path) -> None:
    """The same groups with the same hosts, and for each host the same variables."""
    listed = json.loads(ansible(tmp_path, "ansible-inventory", "-i", str(path), "--list"))
    found = read(path)
    groups = {name for name in listed if name not in ("_meta", "all") and members(listed, name)}
    assert groups == set(found.groups)
    for group in groups:
        assert members(listed, group) == set(found.groups[group]), group
    known = listed["_meta"]["hostvars"]
    for host, variables in found.variables.items():
        values = {name: value.value for name, value in variables.items()}
        assert values == known.get(host, {}), host


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_order_of_hosts_is_ansibles(path: Path, tmp_path: Path) -> None:
    """It decides which part of a network each host gets."""
    printed = ansible(tmp_path, "ansible", "all", "-i", str(path), "--list-hosts")
    order = [line.strip() for line in printed.splitlines()[1:]]
    assert list(read(path).hosts) == order


def inventory(tmp_path: Path, text: str, own: str = "", name: str = "hosts.ini") -> Inventory:
    (tmp_path / name).write_text(text)
    path = tmp_path / "demo.yml"
    path.write_text(f"name: demo\nhosts_from: {name}\n{own}")
    return load(path)


def told(tmp_path: Path, text: str, own: str = "", name: str = "hosts.ini") -> str:
    with pytest.raises(InventoryError) as error:
        inventory(tmp_path, text, own, name)
    return str(error.value.message).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_limit_means_what_ansible_means(tmp_path: Path, pattern: str) -> None:
    """The same hosts of the same inventory for a pattern of --limit."""
    lines = [f"{name} ansible_host=10.0.0.{k}" for k, name in enumerate(("w1", "w2", "db1", "x"))]
    text = f"{lines[3]}\n[web]\n{lines[0]}\n{lines[1]}\n[db]\n{lines[2]}\n"
    text += "[edge:children]\nweb\ndb\n"
    found = inventory(tmp_path, text)
    words = ("all", "-i", str(tmp_path / "hosts.ini"), "--limit", pattern, "--list-hosts")
    printed = ansible(tmp_path, "ansible", *words)
    assert set(select(found, pattern)) == {line.strip() for line in printed.splitlines()[1:]}


def test_logins_become_ours(tmp_path: Path) -> None:
    """ansible_host is where sshd is, and what peers reach unless our file says otherwise."""
    key = tmp_path / "id"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    key.chmod(0o600)
    text = (
        "[lab]\nh1 ansible_host=192.0.2.1 ansible_user=me ansible_port=2201\n"
        "h2 ansible_host=192.0.2.2 ansible_become=yes\n10.0.0.3\n"
        "[lab:vars]\nansible_ssh_private_key_file=id\n"
    )
    own = "ssh: {user: root}\nhosts:\n  h2: {address: 10.78.0.12, nic: eth1}\n"
    own += "  h9: {address: 10.78.0.19}\n"
    found = inventory(tmp_path, text, own)
    assert list(found.hosts) == ["h1", "h2", "10.0.0.3", "h9"]
    assert found.hosts["h1"].ssh == Ssh("me", key, 2201, None, False, "192.0.2.1")
    assert str(found.hosts["h1"].address) == "192.0.2.1"
    assert found.hosts["h2"].ssh == Ssh("root", key, None, None, True, "192.0.2.2")
    assert (str(found.hosts["h2"].address), found.hosts["h2"].nic) == ("10.78.0.12", "eth1")
    assert found.hosts["10.0.0.3"].ssh == Ssh("root", key, None, None, False, None)
    assert found.hosts["h9"].ssh == Ssh("root")
    assert found.groups["lab"] == ("h1", "h2", "10.0.0.3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h1 ansible_host=gate.example\n", "hosts.ini:1:1: 'address' is missing"),
        ("[web\nh1\n", "hosts.ini:1:1: this is not a section"),
        ("[web:kids]\n", "hosts.ini:1:1: unknown kind of section 'kids'"),
        ("[web:children]\ndb\n", "hosts.ini:2:1: group 'db' has no hosts: it has no section"),
        ("[a:children]\nb\n[b:children]\na\n", "hosts.ini:1:1: group 'b' would contain itself"),
        ("h[1:] ansible_host=10.0.0.1\n", "hosts.ini:1:1: 'h[1:]' has an invalid range"),
        ("h[1:99999999]\n", "hosts.ini:1:1: 'h[1:99999999]' names more than 10000 hosts"),
        ("h1 'ansible_host\n", "hosts.ini:1:1: this line cannot be read: No closing quotation"),
        ("h1 word\n", "hosts.ini:1:1: 'word' is not key=value"),
        ("h1 ansible_host='{{ x }}'\n", "hosts.ini:1:1: ansible_host is a template, '{{ x }}'"),
        ("\nh1 ansible_host=10.0.0.1 ansible_connection=local\n", "hosts.ini:2:1: ansible_conn"),
        (
            "[g]\nh1 ansible_host=10.0.0.1\n[g:vars]\nansible_ssh_common_args='-o ProxyJump=b'\n",
            "hosts.ini:4:1: ansible_ssh_common_args of h1, which leads through a jump host, is not",
        ),
        (
            "h1 ansible_host=10.0.0.1 ansible_private_key_file=~nobody-here/id\n",
            "hosts.ini:1:1: '~nobody-here/id': the user after ~ does not exist",
        ),
        ("h1 ansible_host=10.0.0.1 ansible_port=x\n", "hosts.ini:1:1: 'port' must be a whole"),
        ("h1 ansible_host=10.0.0.1\nh2 ansible_host=10.0.0.1\n", "hosts.ini:2:1: h1 and h2 have"),
    ],
)
def test_what_cannot_be_followed_is_told_where_it_is(
    tmp_path: Path, text: str, message: str
) -> None:
    """In the file that the user has to change."""
    assert told(tmp_path, text).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("all: [h1]\n", "hosts.yml:1:1: this is a list, but must be a mapping"),
        (
            "all:\n  host: {h1: }\n",
            "hosts.yml:2:1: unknown key 'host' in group 'all'; write hosts,",
        ),
        ("all: {hosts: {h1: \n", "hosts.yml:2:1: invalid YAML"),
        (
            "all:\n  hosts:\n    h1:\n      ansible_host: !vault |\n        $ANSIBLE\n",
            "hosts.yml:4:1: ansible_host is a value only Ansible can read",
        ),
    ],
)
def test_the_same_of_yaml(tmp_path: Path, text: str, message: str) -> None:
    """With the line of the YAML file."""
    assert told(tmp_path, text, name="hosts.yml").startswith(message)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ("groups: [h1]\n", "demo.yml:3:9: 'groups' must be a mapping, not a list"),
        ("hosts: [h1]\n", "demo.yml:3:8: 'hosts' must be a mapping, not a list"),
        ("hosts: {h1: 7}\n", "demo.yml:3:13: 'h1' must be a mapping, not the number 7"),
        ("hosts: {h1: {ssh: x}}\n", "demo.yml:3:19: 'ssh' must be a mapping, not the text 'x'"),
    ],
)
def test_our_own_file_is_told_of_its_own_mistakes(tmp_path: Path, own: str, message: str) -> None:
    """Also where it says more of a host or a group of the other file."""
    assert told(tmp_path, "h1 ansible_host=10.0.0.1 ansible_user=me\n", own).startswith(message)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Is our own file's mistake."""
    path = tmp_path / "demo.yml"
    path.write_text("name: demo\nhosts_from: hosts.ini\n")
    with pytest.raises(InventoryError) as error:
        load(path)
    assert "demo.yml:2:13: 'hosts.ini': no such file; check the path" in error.value.message


def test_an_unknown_host_of_limit_is_an_error(tmp_path: Path) -> None:
    """Ansible warns and goes on with fewer hosts; here a slip of the finger stops."""
    found = inventory(tmp_path, "h1 ansible_host=10.0.0.1\n")
    with pytest.raises(UsageError, match="no host or group matches 'h2'"):
        select(found, "h1:h2")
