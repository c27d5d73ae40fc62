"""Ansible inventories as people have them: equal to `ansible-inventory --list`, or one finding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.inventory.ansible.read import AnsibleInventory, read
from provision.inventory.load import load
from provision.model.errors import InventoryError
from provision.model.findings import FindingError
from tests.unit.test_ansible import members

TEXT = (Path(__file__).parent / "ansible_inventories.txt").read_text()
NAMES = {"script": "hosts.sh", "plugin": "hosts.generator.yml", "toml": "hosts.toml"}
BY_ANSIBLE = ("script", "plugin", "toml")


@dataclass(frozen=True)
class Case:
    """An inventory of the corpus; `kind`: empty, or what is special about it."""

    title: str
    kind: str
    text: str

    def write(self, folder: Path) -> Path:
        """Write the files; the source that Ansible is given."""
        main, *others = self.text.split("\n--- ")
        folder.mkdir(parents=True)
        path = folder / NAMES.get(self.kind, "hosts")
        path.write_text(main.rstrip("\n") + "\n")
        if self.kind == "script":
            path.chmod(0o755)
        for other in others:
            name, content = other.split("\n", 1)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content.rstrip("\n") + "\n")
        return folder if self.kind == "folder" else path


def parsed(section: str) -> Case:
    """A case of the file's text."""
    title, text = section.split("\n", 1)
    title, _, kind = title.partition(" | ")
    return Case(title, kind, text)


CASES = [parsed(section) for section in TEXT.split("=== ")[1:]]
READABLE = [case for case in CASES if not case.kind.startswith(("finding", "vault"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each case."""
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="module")
def sources(folder: Path) -> dict[str, Path]:
    """The source of each case."""
    return {case.title: case.write(folder / str(k)) for k, case in enumerate(CASES)}


@pytest.fixture(scope="module")
def listed(folder: Path, sources: dict[str, Path]) -> dict[str, Any]:
    """The output of `ansible-inventory --list` for each readable case."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    # The plug-ins that Ansible leaves off by default belong to the corpus, too.
    plugins = "host_list,script,auto,yaml,ini,toml,generator"
    env |= {"HOME": str(folder), "LC_ALL": "C.UTF-8", "ANSIBLE_INVENTORY_ENABLED": plugins}
    paths = [str(sources[case.title]) for case in READABLE]
    program = str(Path(__file__).parent / "ansible_lists.py")
    process = subprocess.run(
        (sys.executable, program, *paths), capture_output=True, text=True, env=env
    )
    assert process.returncode == 0, process.stderr
    answers = json.loads(process.stdout)
    return {
        case.title: json.loads(answers[str(sources[case.title])] or "null") for case in READABLE
    }


@pytest.fixture
def with_ansible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible is installed, and its plug-ins are enabled."""
    programs = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("ANSIBLE_INVENTORY_ENABLED", "host_list,script,auto,yaml,ini,toml,generator")


@pytest.fixture
def without_ansible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible is not installed."""
    monkeypatch.setattr("provision.inventory.ansible.program.installed", lambda *_: None)


def test_there_are_enough() -> None:
    """Of each shape that is common in public."""
    assert len({case.title for case in CASES}) == len(CASES) >= 60


def compare(inventory: AnsibleInventory, expected: dict[str, Any]) -> None:
    """Groups, hosts and variables are equal."""
    groups = {name for name in expected if name not in ("_meta", "all")}
    groups = {name for name in groups if members(expected, name)}
    assert groups == {name for name, hosts in inventory.groups.items() if hosts}
    for group in groups:
        assert members(expected, group) == set(inventory.groups[group]), group
    assert set(inventory.hosts) == members(expected, "all")
    hostvars = expected["_meta"]["hostvars"]
    for host, variables in inventory.variables.items():
        values = {name: value.value for name, value in variables.items()}
        assert values == hostvars.get(host, {}), host


@pytest.mark.usefixtures("with_ansible")
@pytest.mark.parametrize("case", READABLE, ids=lambda case: case.title)
def test_the_inventory_is_that_of_ansible(
    case: Case, sources: dict[str, Path], listed: dict[str, Any]
) -> None:
    """Read by us, or by Ansible where only Ansible can."""
    assert listed[case.title] is not None, "Ansible refuses it"
    compare(read(sources[case.title]), listed[case.title])


@pytest.mark.usefixtures("without_ansible")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_without_ansible_there_is_an_inventory_or_one_finding(
    case: Case, sources: dict[str, Path]
) -> None:
    """The finding has the file, the line, and what to do."""
    if case.kind in (*BY_ANSIBLE, "vault") or case.kind.startswith("finding"):
        with pytest.raises(FindingError) as error:
            read(sources[case.title])
        finding = error.value.finding
        assert finding.position.path == sources[case.title]
        line = int(case.kind.split()[1]) if " " in case.kind else 1
        assert finding.position.line == line
        assert finding.hint
        if not case.kind.startswith("finding"):
            assert "--list --yaml --export >hosts.yml" in finding.hint
        return
    assert read(sources[case.title]).hosts


@pytest.mark.usefixtures("without_ansible")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_a_file_that_imports_it_has_hosts_or_findings(case: Case, tmp_path: Path) -> None:
    """No traceback, and each finding names a file, and what to do."""
    source = case.write(tmp_path / "theirs")
    path = tmp_path / "demo.yml"
    own = f"name: demo\nhosts_from: {{file: {source.relative_to(tmp_path)}}}\n"
    path.write_text(f"{own}hosts: {{mine: {{address: 192.0.2.77}}}}\n")
    try:
        assert "mine" in load(path).hosts
    except InventoryError as error:
        assert error.findings
        for finding in error.findings:
            assert finding.position and finding.position.path.is_relative_to(tmp_path)
            assert finding.hint


@pytest.mark.usefixtures("with_ansible")
def test_the_export_of_ansible_is_read_as_the_source(tmp_path: Path) -> None:
    """The command of the hint; the plain output of --list is read, too."""
    case = next(case for case in CASES if case.kind == "script")
    source = case.write(tmp_path / "theirs")
    by_ansible = read(source)
    program = str(Path(sys.executable).with_name("ansible-inventory"))
    for options in (("--list", "--yaml", "--export"), ("--list",)):
        argv = (sys.executable, program, "-i", str(source), *options)
        printed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        (tmp_path / "export").write_text(printed)
        exported = read(tmp_path / "export")
        assert set(exported.hosts) == set(by_ansible.hosts)
        assert exported.groups["lab"] == by_ansible.groups["lab"]
        values = {name: value.value for name, value in exported.variables["h1"].items()}
        assert values == {name: value.value for name, value in by_ansible.variables["h1"].items()}


BLUE = "networks: {blue: {method: routes, cidr: 172.20.0.0/16, hosts: [lab]}}\n"


@pytest.mark.usefixtures("with_ansible")
def test_templates_and_vaults_of_used_hosts_are_asked_of_ansible(tmp_path: Path) -> None:
    """With the settings of the ansible.cfg beside; `reader: ours` leaves them findings."""
    (tmp_path / "ansible.cfg").write_text("[defaults]\nvault_password_file = password\n")
    (tmp_path / "password").write_text("secret\n")
    program = str(Path(sys.executable).with_name("ansible-vault"))
    argv = (sys.executable, program, "encrypt_string", "10.0.0.2", "--name", "ansible_host")
    vault = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    (tmp_path / "hosts").write_text('[lab]\nh1 ansible_host="{{ prefix }}.1"\nh2\n[other]\nh3\n')
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/h2.yml").write_text(vault)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("prefix: 10.0.0\nansible_user: '{{ me }}'\n")
    (tmp_path / "host_vars/h1.yml").write_text("me: first\n")
    with (tmp_path / "host_vars/h2.yml").open("a") as file:
        file.write("me: second\n")
    path = tmp_path / "demo.yml"
    path.write_text(f"name: demo\nhosts_from: hosts\n{BLUE}")
    hosts = load(path).hosts
    addresses = {name: (str(host.address), host.ssh.user) for name, host in hosts.items()}
    assert addresses == {"h1": ("10.0.0.1", "first"), "h2": ("10.0.0.2", "second")}
    path.write_text(f"name: demo\nhosts_from: {{file: hosts, reader: ours}}\n{BLUE}")
    with pytest.raises(InventoryError, match="is a template"):
        load(path)


@pytest.mark.usefixtures("with_ansible")
@pytest.mark.parametrize(
    ("text", "reason"),
    [("#!/bin/sh\nexit 3\n", "hosts"), ("#!/bin/sh\necho '[broken'\n", "hosts")],
)
def test_a_script_that_fails_is_one_finding(tmp_path: Path, text: str, reason: str) -> None:
    """Ansible itself only warns, and goes on without hosts."""
    (tmp_path / "hosts").write_text(text)
    (tmp_path / "hosts").chmod(0o755)
    path = tmp_path / "demo.yml"
    path.write_text(f"name: demo\nhosts_from: hosts\n{BLUE}")
    with pytest.raises(InventoryError) as error:
        load(path)
    assert reason in error.value.message


@pytest.mark.usefixtures("without_ansible")
def test_ansible_is_not_installed(tmp_path: Path) -> None:
    """`reader: ansible` says so, and how to export the inventory."""
    (tmp_path / "hosts").write_text("[lab]\nh1 ansible_host=10.0.0.1\n")
    path = tmp_path / "demo.yml"
    path.write_text(f"name: demo\nhosts_from: {{file: hosts, reader: ansible}}\n{BLUE}")
    with pytest.raises(InventoryError) as error:
        load(path)
    assert "needs ansible-inventory, which is not installed" in error.value.message
    assert "--export >hosts.yml" in error.value.message


def test_several_files(tmp_path: Path) -> None:
    """As for `ansible -i a -i b`: a list, also beside `only`; each has its own group_vars."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b/group_vars").mkdir(parents=True)
    (tmp_path / "a/hosts").write_text("[lab]\nh1 ansible_host=10.0.0.1\n")
    (tmp_path / "b/hosts.yml").write_text("lab: {hosts: {h2: {ansible_host: 10.0.0.2}}}\n")
    (tmp_path / "b/group_vars/lab.yml").write_text("ansible_user: me\n")
    path = tmp_path / "demo.yml"
    for value in ("[a/hosts, b/hosts.yml]", "{file: [a/hosts, b], only: [lab]}"):
        path.write_text(f"name: demo\nhosts_from: {value}\n{BLUE}")
        inventory = load(path)
        assert inventory.groups["lab"] == ("h1", "h2")
        assert {host.ssh.user for host in inventory.hosts.values()} == {"me"}
    path.write_text(f"name: demo\nhosts_from: [a/hosts, nowhere]\n{BLUE}")
    with pytest.raises(InventoryError, match=r"demo\.yml:2:13: 'nowhere': no such file"):
        load(path)
    path.write_text(f"name: demo\nhosts_from: []\n{BLUE}")
    with pytest.raises(InventoryError, match="names no file"):
        load(path)


def test_ansible_cfg_and_ssh_arguments(tmp_path: Path) -> None:
    """They count below variables, and the options of ssh go to ssh; those on host keys do not."""
    (tmp_path / "ansible.cfg").write_text(
        "[defaults]\nremote_user = 'cfg'\nremote_port = 2201\n"
        "[privilege_escalation]\nbecome = True\n"
        '[ssh_connection]\nssh_args = "-C -o ControlMaster=auto -o StrictHostKeyChecking=no"\n'
    )
    args = "-o ProxyJump=gate -o UserKnownHostsFile=/dev/null"
    (tmp_path / "hosts").write_text(
        f"[lab]\nh1 ansible_host=10.0.0.1\nh2 ansible_host=10.0.0.2 ansible_user=me\n[lab:vars]\n"
        f"ansible_ssh_common_args='{args}'\nansible_password=secret\n"
    )
    path = tmp_path / "demo.yml"
    path.write_text(f"name: demo\nhosts_from: hosts\n{BLUE}")
    inventory = load(path)
    first, second = inventory.hosts["h1"].ssh, inventory.hosts["h2"].ssh
    assert (first.user, first.port, first.sudo, second.user) == ("cfg", 2201, True, "me")
    assert first.options == "-C -o ControlMaster=auto -o ProxyJump=gate"
    assert [note.split(": ", 1)[1] for note in inventory.notes] == [
        f"ansible_password of {name} is not used: log in by a key" for name in ("h1", "h2")
    ]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[ssh_connection]\nssh_args = -o\n", "ansible.cfg:2:1: ansible_ssh_args of h2: the opt"),
        ("[ssh_connection]\n\nssh_args = word\n", "ansible.cfg:3:1: ansible_ssh_args of h2: 'wor"),
        ("[defaults\n", "ansible.cfg:1:1: this line cannot be read; write key = value"),
        ("[defaults]\ntransport = winrm\n", "ansible.cfg:2:1: ansible_connection of h2 is 'winrm'"),
    ],
)
def test_a_mistake_in_ansible_cfg_is_one_finding(tmp_path: Path, config: str, message: str) -> None:
    """With its own line."""
    (tmp_path / "ansible.cfg").write_text(config)
    (tmp_path / "hosts").write_text("[lab]\nh1 ansible_host=10.0.0.1\nh2 ansible_host=10.0.0.2\n")
    path = tmp_path / "demo.yml"
    path.write_text(f"name: demo\nhosts_from: hosts\n{BLUE}")
    with pytest.raises(InventoryError) as error:
        load(path)
    assert error.value.message.replace(f"{tmp_path}/", "").startswith(message)
    assert len(error.value.findings) == 1
