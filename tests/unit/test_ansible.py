"""Ansible inventories are read as `ansible-inventory --list` reads them; the rest is an error."""

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


def ansible(home: Path, program: str, *arguments: str) -> str:
    """The output of one of Ansible's programs, without the user's settings."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    argv = (sys.executable, str(Path(sys.executable).with_name(program)), *arguments)
    env = variables | {"HOME": str(home), "LC_ALL": "C.UTF-8"}
    process = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=home)
    assert process.returncode == 0, process.stderr
    return process.stdout


def members(listed: dict[str, Any], group: str) -> set[str]:
    """All hosts of a group in the output of --list."""
    entry = listed.get(group, {})
    children = (members(listed, child) for child in entry.get("children", ()))
    return set(entry.get("hosts", ())).union(*children)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_groups_and_variables_are_those_of_ansible(path: Path, tmp_path: Path) -> None:
    """Each group has the same hosts, and each host has the same variables."""
    listed = json.loads(ansible(tmp_path, "ansible-inventory", "-i", str(path), "--list"))
    inventory = read(path)
    groups = {name for name in listed if name not in ("_meta", "all") and members(listed, name)}
    assert groups == {name for name, hosts in inventory.groups.items() if hosts}
    for group in groups:
        assert members(listed, group) == set(inventory.groups[group]), group
    expected = listed["_meta"]["hostvars"]
    for host, variables in inventory.variables.items():
        values = {name: value.value for name, value in variables.items()}
        assert values == expected.get(host, {}), host


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_order_of_hosts_is_that_of_ansible(path: Path, tmp_path: Path) -> None:
    """The order decides which subnet of a network each host gets."""
    printed = ansible(tmp_path, "ansible", "all", "-i", str(path), "--list-hosts")
    order = [line.strip() for line in printed.splitlines()[1:]]
    assert list(read(path).hosts) == order


def loaded(tmp_path: Path, text: str, more: str = "", name: str = "hosts.ini") -> Inventory:
    """An inventory with hosts from an Ansible inventory `text`, and `more` YAML of its own."""
    (tmp_path / name).write_text(text)
    path = tmp_path / "demo.yml"
    path.write_text(f"name: demo\nhosts_from: {name}\n{more}")
    return load(path)


def error_message(tmp_path: Path, text: str, more: str = "", name: str = "hosts.ini") -> str:
    """The message of the error that these files raise, with relative paths."""
    with pytest.raises(InventoryError) as error:
        loaded(tmp_path, text, more, name)
    return str(error.value.message).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_limit_selects_the_hosts_that_ansible_selects(tmp_path: Path, pattern: str) -> None:
    """A pattern of --limit means the same to both."""
    lines = [f"{name} ansible_host=10.0.0.{k}" for k, name in enumerate(("w1", "w2", "db1", "x"))]
    text = f"{lines[3]}\n[web]\n{lines[0]}\n{lines[1]}\n[db]\n{lines[2]}\n"
    text += "[edge:children]\nweb\ndb\n"
    inventory = loaded(tmp_path, text)
    arguments = ("all", "-i", str(tmp_path / "hosts.ini"), "--limit", pattern, "--list-hosts")
    printed = ansible(tmp_path, "ansible", *arguments)
    assert set(select(inventory, pattern)) == {line.strip() for line in printed.splitlines()[1:]}


def test_logins_come_from_the_ansible_inventory(tmp_path: Path) -> None:
    """ansible_host is the address of sshd, and of the host unless our file has another."""
    key = tmp_path / "id"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    key.chmod(0o600)
    text = (
        "[lab]\nh1 ansible_host=192.0.2.1 ansible_user=me ansible_port=2201\n"
        "h2 ansible_host=192.0.2.2 ansible_become=yes\n10.0.0.3\n"
        "[lab:vars]\nansible_ssh_private_key_file=id\n"
    )
    more = "ssh: {user: root}\nhosts:\n  h2: {address: 10.78.0.12, nic: eth1}\n"
    more += "  h9: {address: 10.78.0.19}\n"
    hosts = loaded(tmp_path, text, more).hosts
    assert list(hosts) == ["h1", "h2", "10.0.0.3", "h9"]
    assert hosts["h1"].ssh == Ssh("me", key, 2201, None, False, "192.0.2.1")
    assert str(hosts["h1"].address) == "192.0.2.1"
    assert hosts["h2"].ssh == Ssh("root", key, None, None, True, "192.0.2.2")
    assert (str(hosts["h2"].address), hosts["h2"].nic) == ("10.78.0.12", "eth1")
    assert hosts["10.0.0.3"].ssh == Ssh("root", key, None, None, False, None)
    assert hosts["h9"].ssh == Ssh("root")
    assert loaded(tmp_path, text, more).groups["lab"] == ("h1", "h2", "10.0.0.3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "h1 ansible_host=gate.example\n",
            "hosts.ini:1:1: 'address' is missing in 'h1'; set ansible_host, or write hosts: {h1",
        ),
        ("[web\nh1\n", "hosts.ini:1:1: this is not a section"),
        ("[web:kids]\n", "hosts.ini:1:1: unknown kind of section 'kids'"),
        ("[web:children]\ndb\n", "hosts.ini:2:1: group 'db' has no hosts: it has no section"),
        ("[a:children]\nb\n[b:children]\na\n", "hosts.ini:1:1: group 'b' would contain itself"),
        ("h[1:] ansible_host=10.0.0.1\n", "hosts.ini:1:1: 'h[1:]' has an invalid range"),
        # Python takes these for digits, but for no number.
        ("h[1:²] ansible_host=10.0.0.1\n", "hosts.ini:1:1: 'h[1:²]' has an invalid range"),
        ("h[1:4:²]\n", "hosts.ini:1:1: 'h[1:4:²]' has an invalid range"),
        (f"h[1:{'9' * 5000}]\n", "hosts.ini:1:1: 'h[1:999"),
        ("h1 ansible_host=10.0.0.1 ansible_port=²\n", "hosts.ini:1:1: 'port' must be a whole"),
        (f"h1 ansible_host=10.0.0.1 ansible_port={'9' * 5000}\n", "hosts.ini:1:1: 'port' must"),
        ("h[1:99999999]\n", "hosts.ini:1:1: 'h[1:99999999]' names more than 10000 hosts"),
        ("h1 'ansible_host\n", "hosts.ini:1:1: this line cannot be read: No closing quotation"),
        ("h1 word\n", "hosts.ini:1:1: 'word' is not key=value"),
        ("h1 ansible_host='{{ x }}'\n", "hosts.ini:1:1: ansible_host is a template, '{{ x }}'"),
        ("\nh1 ansible_host=10.0.0.1 ansible_connection=local\n", "hosts.ini:2:1: ansible_conn"),
        (
            "[g]\nh1 ansible_host=10.0.0.1\n[g:vars]\nansible_ssh_common_args='b'\n",
            "hosts.ini:4:1: ansible_ssh_common_args of h1: 'b' is not an option of ssh; write",
        ),
        (
            "h1 ansible_host=10.0.0.1 ansible_private_key_file=~nobody-here/id\n",
            "hosts.ini:1:1: '~nobody-here/id': the user after ~ does not exist",
        ),
        ("h1 ansible_host=10.0.0.1 ansible_port=x\n", "hosts.ini:1:1: 'port' must be a whole"),
        ("h1 ansible_host=10.0.0.1\nh2 ansible_host=10.0.0.1\n", "hosts.ini:2:1: h1 and h2 have"),
    ],
)
def test_unsupported_ini_text_is_an_error_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    """The error names the file that the user has to change."""
    assert error_message(tmp_path, text).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("all: [h1]\n", "hosts.yml:1:1: Ansible ignores group 'all', which is no mapping; write"),
        ("all: {hosts: [h1]}\n", "hosts.yml:1:1: this is a list, but must be a mapping"),
        (
            "all:\n  host: {h1: }\n",
            "hosts.yml:2:1: Ansible ignores the key 'host' of group 'all'; write hosts,",
        ),
        (
            "web:\n  hosts: {h1: }\n  children:\n    db: h2\n",
            "hosts.yml:4:1: Ansible ignores group 'db', which is no mapping",
        ),
        ("all: {hosts: {h1: \n", "hosts.yml:2:1: invalid YAML"),
        (
            "all:\n  hosts:\n    h1:\n      ansible_host: !vault |\n        $ANSIBLE\n",
            "hosts.yml:4:1: ansible_host is a value only Ansible can read",
        ),
    ],
)
def test_unsupported_yaml_is_an_error_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    """The error names the YAML file of Ansible."""
    assert error_message(tmp_path, text, name="hosts.yml").startswith(message)


def test_what_ansible_ignores_with_a_warning_is_a_note(tmp_path: Path) -> None:
    """Unknown keys of a group, and groups that are no mapping; empty keys are no mistake."""
    text = (
        "all:\n  children:\n    web:\n      hosts: {h1: {ansible_host: 10.0.0.1}}\n"
        "      host: {h9: }\n      ansible_user: me\n      empty:\n"
        "text: h2\nlist: [h3]\nall2: {hosts: {h1: }}\n"
    )
    inventory = loaded(tmp_path, text, name="hosts.yml")
    assert [*inventory.hosts] == ["h1"] and inventory.groups["web"] == ("h1",)
    assert inventory.hosts["h1"].ssh.user is None
    assert not {"text", "list"} & inventory.groups.keys()
    assert [note.replace(f"{tmp_path}/", "") for note in inventory.notes] == [
        "hosts.yml:5:1: Ansible ignores the key 'host' of group 'web'; "
        "write hosts, children or vars",
        "hosts.yml:6:1: Ansible ignores the key 'ansible_user' of group 'web'; "
        "write hosts, children or vars",
        "hosts.yml:8:1: Ansible ignores group 'text', which is no mapping; write hosts below it",
        "hosts.yml:9:1: Ansible ignores group 'list', which is no mapping; write hosts below it",
    ]
    listed = ansible(tmp_path, "ansible-inventory", "-i", str(tmp_path / "hosts.yml"), "--list")
    assert [*json.loads(listed)["_meta"]["hostvars"]] == ["h1"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("groups: [h1]\n", "demo.yml:3:9: 'groups' must be a mapping, not a list"),
        ("hosts: [h1]\n", "demo.yml:3:8: 'hosts' must be a mapping, not a list"),
        ("hosts: {h1: 7}\n", "demo.yml:3:13: 'h1' must be a mapping, not the number 7"),
        ("hosts: {h1: {ssh: x}}\n", "demo.yml:3:19: 'ssh' must be a mapping, not the text 'x'"),
    ],
)
def test_an_error_in_our_file_names_our_file(tmp_path: Path, more: str, message: str) -> None:
    """Even if it concerns a host or a group of the Ansible inventory."""
    assert error_message(tmp_path, "h1 ansible_host=10.0.0.1 ansible_user=me\n", more).startswith(
        message
    )


def test_a_missing_ansible_inventory_is_an_error_in_our_file(tmp_path: Path) -> None:
    """The error has the line of `hosts_from`."""
    path = tmp_path / "demo.yml"
    path.write_text("name: demo\nhosts_from: hosts.ini\n")
    with pytest.raises(InventoryError) as error:
        load(path)
    assert "demo.yml:2:13: 'hosts.ini': no such file; check the path" in error.value.message


def test_an_unknown_host_of_limit_is_an_error(tmp_path: Path) -> None:
    """Ansible only warns and uses fewer hosts."""
    inventory = loaded(tmp_path, "h1 ansible_host=10.0.0.1\n")
    with pytest.raises(UsageError, match="no host or group matches 'h2'"):
        select(inventory, "h1:h2")


def test_a_file_of_variables_that_cannot_be_read_concerns_its_hosts(tmp_path: Path) -> None:
    """Hosts that are not used may have any."""
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/web.yml").write_text("port: {{ x }}\nb: [\n")
    text = f"{LAB}[web]\nw1 ansible_host=10.0.0.8\nw2 ansible_host=10.0.0.9\n"
    assert list(loaded(tmp_path, text, BLUE).hosts) == ["h1", "h2"]
    message = error_message(tmp_path, text, BLUE.replace("[lab]", "[web]"))
    assert message.startswith("group_vars/web.yml:") and "\n" not in message


BLUE = "networks: {blue: {method: routes, cidr: 172.20.0.0/16, hosts: [lab]}}\n"
LAB = "[lab]\nh1 ansible_host=10.0.0.1\nh2 ansible_host=10.0.0.2\n"


@pytest.mark.parametrize(
    ("text", "absent"),
    [
        (f"localhost ansible_connection=local\n{LAB}", {"localhost"}),
        (f"{LAB}[mail]\nmx[1:3]\n", {"mx1", "mx2", "mx3"}),
        (f"{LAB}[win]\nw1 ansible_host=10.0.0.9 ansible_connection=winrm\n", {"w1"}),
        (f"{LAB}[vault]\nv1 ansible_host='{{{{ x }}}}'\n", {"v1"}),
        (f"{LAB}[six]\n[2001:db8::1]:2222\n", {"2001:db8::1"}),
        (f"{LAB}[alias]\nfirst ansible_host=10.0.0.1\n", {"first"}),
        (f"{LAB}[odd]\n-h ansible_host=10.0.0.7\n", {"-h"}),
    ],
)
def test_hosts_that_nothing_uses_are_not_judged(
    tmp_path: Path, text: str, absent: set[str]
) -> None:
    """They are left out, a remark says why, and --limit reports what is wrong with them."""
    inventory = loaded(tmp_path, text, BLUE)
    assert list(inventory.hosts) == ["h1", "h2"]
    assert set(inventory.left_out) == absent
    assert len(inventory.remarks) == len(absent)
    assert all("hosts.ini:" in remark for remark in inventory.remarks)
    assert not any(absent & set(hosts) for hosts in inventory.groups.values())
    for name in absent - {"2001:db8::1"}:  # a colon joins the terms of a pattern
        with pytest.raises(InventoryError, match=r"hosts\.ini"):
            select(inventory, name)
    assert select(inventory, "*") == ("h1", "h2")


@pytest.mark.parametrize(
    "more",
    [
        "networks: {blue: {method: routes, cidr: 172.20.0.0/16, hosts: [lab, mx]}}\n",
        "networks: {blue: {method: routes, cidr: 172.20.0.0/16}}\n",
        "networks: {blue: {method: routes, cidr: 172.20.0.0/16, hosts: [all]}}\n",
        BLUE + "containers: {web: {host: mx, network: bridge}}\n",
    ],
)
def test_hosts_that_are_used_are_judged(tmp_path: Path, more: str) -> None:
    """By a network, by a network of all hosts, or by a container."""
    assert error_message(tmp_path, f"mx\n{LAB}", more).startswith("hosts.ini:1:1: 'address' is")


@pytest.mark.parametrize("hosts", ["", ", hosts: [all]"])
def test_the_controller_is_no_host_of_a_network_of_all_hosts(tmp_path: Path, hosts: str) -> None:
    """Nearly every inventory has `localhost ansible_connection=local`."""
    more = f"networks: {{blue: {{method: routes, cidr: 172.20.0.0/16{hosts}}}}}\n"
    inventory = loaded(tmp_path, f"localhost ansible_connection=local\n{LAB}", more)
    assert inventory.networks["blue"].hosts == ("h1", "h2")


def test_our_own_file_answers_what_is_wrong_with_a_host(tmp_path: Path) -> None:
    """The hint says to give the host's keys there."""
    text = "h1 ansible_host='{{ x }}' ansible_connection=winrm\nh2 ansible_host=10.0.0.2\n"
    more = "hosts: {h1: {address: 10.0.0.1, ssh: {address: 10.0.0.1, user: root}}}\n"
    more += "networks: {blue: {method: routes, cidr: 172.20.0.0/16}}\n"
    inventory = loaded(tmp_path, text, more)
    assert inventory.hosts["h1"].ssh == Ssh("root", None, None, None, False, "10.0.0.1")
    text = "h1 ansible_host=10.0.0.1 ansible_user='{{ x }}'\nh2 ansible_host=10.0.0.2\n"
    more = more.replace("user: root", "port: 22")
    assert "ansible_user is a template" in error_message(tmp_path, text, more)


def test_a_host_counts_where_a_group_has_its_name(tmp_path: Path) -> None:
    """Ansible warns, and so does a remark; a pattern of --limit means the host, too."""
    text = "[master]\nmaster ansible_host=10.0.0.1\nm2 ansible_host=10.0.0.2\n[h]\nh1\n"
    more = "networks: {blue: {method: routes, cidr: 172.20.0.0/16, hosts: [master, m2]}}\n"
    inventory = loaded(tmp_path, text, more)
    assert inventory.networks["blue"].hosts == ("master", "m2")
    assert inventory.groups["master"] == ("master", "m2")
    assert any("group 'master' has the name of a host" in text for text in inventory.remarks)
    arguments = ("all", "-i", str(tmp_path / "hosts.ini"), "--limit", "master", "--list-hosts")
    printed = ansible(tmp_path, "ansible", *arguments).splitlines()[1:]
    assert list(select(inventory, "master")) == [line.strip() for line in printed]


@pytest.mark.parametrize("group", ["prod.web", "3nodes", "_x", "k8s-cluster", "a" * 63])
def test_groups_have_the_names_that_ansible_takes(tmp_path: Path, group: str) -> None:
    """Ansible warns about some of them."""
    text = LAB.replace("[lab]", f"[{group}]") + "[none]\n"
    inventory = loaded(tmp_path, text, BLUE.replace("[lab]", f"[{group}, none]"))
    assert inventory.groups[group] == inventory.networks["blue"].hosts == ("h1", "h2")
    assert select(inventory, group) == ("h1", "h2")


def test_groups_whose_names_we_cannot_use_are_left_out(tmp_path: Path) -> None:
    """Unless a network names them."""
    hosts = "{h1: {ansible_host: 10.0.0.1}, h2: {ansible_host: 10.0.0.2}}"
    text = f"all: {{children: {{lab: {{hosts: {hosts}}}, 'two words': {{hosts: {{h1: }}}}}}}}\n"
    assert set(loaded(tmp_path, text, BLUE, "hosts.yml").groups) == {"lab"}
    more = BLUE.replace("[lab]", "[lab, two words]")
    assert "group name 'two words'" in error_message(tmp_path, text, more, "hosts.yml")


YAML = "all:\n  children:\n    lab:\n      hosts:\n        h1: {ansible_host: 10.0.0.1}\n"
JSON = '{\n\t"all": {"children": {"lab": {"hosts": {\n\t\t"h1": {"ansible_host": "10.0.0.1"}}}}}}\n'


@pytest.mark.parametrize("name", ["hosts", "hosts.ini", "hosts.yml", "hosts.json", "hosts.txt"])
@pytest.mark.parametrize(
    "text",
    [
        "[lab]\nh1 ansible_host=10.0.0.1\n",
        "# all:\n; hosts\n\n[lab]\nh1 ansible_host=10.0.0.1\n",
        f"---\n{YAML}",
        f"# h1\n{YAML}",
        YAML.replace("all:", '"all":'),
        JSON,
    ],
)
def test_the_form_is_found_by_content(tmp_path: Path, text: str, name: str) -> None:
    """Whatever the file is called."""
    inventory = loaded(tmp_path, text, name=name)
    assert (str(inventory.hosts["h1"].address), inventory.groups["lab"]) == ("10.0.0.1", ("h1",))


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    """As by Ansible, in the order of the names; some are passed over."""
    folder = tmp_path / "inventory"
    (folder / "group_vars").mkdir(parents=True)
    (folder / "sub").mkdir()
    (folder / "group_vars/lab.yml").write_text("ansible_user: me\n")
    (folder / "2-hosts.ini").write_text("[lab]\nh2 ansible_host=10.0.0.2\nh1 ansible_port=2201\n")
    (folder / "1-hosts").write_text("[lab]\nh1 ansible_host=10.0.0.1\n[site:children]\nlab\n")
    (folder / "3-hosts.yml").write_text("site: {vars: {ansible_become: true}}\n")
    (folder / "sub/hosts").write_text("[db]\nd1\n")
    for name in (".hidden", "hosts.orig", "README.md", "hosts~", "other.cfg"):
        (folder / name).write_text("[broken\n")
    listed = json.loads(ansible(tmp_path, "ansible-inventory", "-i", str(folder), "--list"))
    inventory = read(folder)
    assert set(inventory.groups) == {"lab", "site", "db"}
    for group in inventory.groups:
        assert members(listed, group) == set(inventory.groups[group])
    expected = listed["_meta"]["hostvars"]
    for host, variables in inventory.variables.items():
        values = {name: value.value for name, value in variables.items()}
        assert values == expected.get(host, {}), host
    path = tmp_path / "demo.yml"
    path.write_text(f"name: demo\nhosts_from: inventory\n{BLUE}")
    assert load(path).hosts["h1"].ssh == Ssh("me", None, 2201, None, True, "10.0.0.1")


def test_a_host_may_begin_with_a_range(tmp_path: Path) -> None:
    """Its bracket opens no section."""
    path = tmp_path / "hosts"
    path.write_text("[lab]\n[01:03].example.com\n[a:c]-web ansible_user=me\n")
    listed = json.loads(ansible(tmp_path, "ansible-inventory", "-i", str(path), "--list"))
    assert read(path).groups["lab"] == listed["lab"]["hosts"]
    assert listed["lab"]["hosts"][0] == "01.example.com"


def test_the_names_of_the_ssh_plug_in_win(tmp_path: Path) -> None:
    """Ansible's plug-in takes the last variable of its list, wherever both are set."""
    text = "h1 ansible_ssh_host=10.0.0.1 ansible_ssh_user=old ansible_ssh_port=1033\n"
    text += "[all:vars]\nansible_user=deploy\nansible_port=22\n"
    assert loaded(tmp_path, text).hosts["h1"].ssh == Ssh(
        user="old", port=1033, sudo=False, address="10.0.0.1"
    )


def test_become_counts_where_it_is_on(tmp_path: Path) -> None:
    """Its method and user say only how."""
    text = "h1 ansible_host=10.0.0.1 ansible_user=root ansible_become_user=postgres"
    assert loaded(tmp_path, f"{text} ansible_become_method=su\n").hosts["h1"].ssh.user == "root"
    with pytest.raises(InventoryError, match="ansible_become_user of h1 is 'postgres'"):
        loaded(tmp_path, f"{text} ansible_become=yes\n")


def test_the_priority_of_a_group_may_be_negative(tmp_path: Path) -> None:
    """Between groups of one depth, the highest wins."""
    text = "[a]\nh1 ansible_host=10.0.0.1\n[b]\nh1\n[a:vars]\nansible_user=a\n"
    text += "[b:vars]\nansible_group_priority=-1\nansible_user=b\n"
    assert loaded(tmp_path, text).hosts["h1"].ssh.user == "a"


def test_of_equal_keys_the_last_counts(tmp_path: Path) -> None:
    """Ansible merges nothing of the ones before."""
    path = tmp_path / "hosts.yml"
    path.write_text(
        "all:\n  hosts:\n    h1: {ansible_host: 10.0.0.1, ansible_user: a, ansible_port: 2222}\n"
        "    h1: {ansible_host: 10.0.0.2}\n"
    )
    (host,) = read(path).variables.values()
    assert {name: value.value for name, value in host.items()} == {"ansible_host": "10.0.0.2"}


def test_an_ipv6_address_with_a_port_is_a_host(tmp_path: Path) -> None:
    """Its first bracket opens neither a section nor a range."""
    path = tmp_path / "hosts"
    path.write_text("[lab]\n[2001:db8::1]:2222 ansible_user=me\nweb[1:2]:2201\n[db]\nd1\n")
    listed = json.loads(ansible(tmp_path, "ansible-inventory", "-i", str(path), "--list"))
    inventory = read(path)
    assert listed["lab"]["hosts"] == inventory.groups["lab"] == ["2001:db8::1", "web1", "web2"]
    expected = listed["_meta"]["hostvars"]
    for host in inventory.groups["lab"]:
        values = {name: value.value for name, value in inventory.variables[host].items()}
        assert values == expected[host]


def test_odd_text_of_others_prints_no_warning(tmp_path: Path) -> None:
    """Python warns of its own literals: `1if`, a backslash in quotes."""
    path = tmp_path / "hosts"
    path.write_text("a odd=1if text='\"\\d\"'\n")
    code = "from pathlib import Path; from provision.inventory.ansible.read import read; "
    code += f"print(read(Path({str(path)!r})).variables['a']['odd'].value)"
    argv = (sys.executable, "-W", "default", "-c", code)
    result = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("1if\n", "")


def test_a_part_of_an_inventory_can_be_imported(tmp_path: Path) -> None:
    """Groups and hosts, in Ansible's order; nothing else is judged, even without networks."""
    (tmp_path / "hosts.ini").write_text(f"mx\n{LAB}[edge]\nh2\nh3\n[db]\nd1\n")
    path = tmp_path / "demo.yml"
    path.write_text("name: demo\nhosts_from: {file: hosts.ini, only: [h2, lab]}\n")
    inventory = load(path)
    assert (list(inventory.hosts), dict(inventory.left_out)) == (["h1", "h2"], {})
    assert inventory.groups == {"lab": ("h1", "h2"), "edge": ("h2",)}
    path.write_text("name: demo\nhosts_from: {file: hosts.ini}\nhosts: {d1: {address: 10.0.0.9}}\n")
    with pytest.raises(InventoryError, match="'address' is missing"):
        load(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "{file: hosts.ini, only: [lag]}",
            "demo.yml:2:38: unknown host or group 'lag'; did you me",
        ),
        (
            "{file: hosts.ini, only: lab}",
            "demo.yml:2:37: 'only' must be a list, not the text 'lab'",
        ),
        (
            "{only: [lab]}",
            "demo.yml:2:1: 'file' is missing in 'hosts_from'; write file: hosts.ini",
        ),
        (
            "{file: hosts.ini, onyl: [lab]}",
            "demo.yml:2:31: unknown key 'onyl'; did you mean 'only'?",
        ),
        ("[[hosts.ini]]", "demo.yml:2:14: item 1 of 'hosts_from' must be text, not a list"),
        ("7", "demo.yml:2:13: 'hosts_from' cannot be the number 7; write text"),
    ],
)
def test_a_mistake_in_hosts_from_is_an_error_in_our_file(
    tmp_path: Path, value: str, message: str
) -> None:
    """With its position."""
    (tmp_path / "hosts.ini").write_text(LAB)
    path = tmp_path / "demo.yml"
    path.write_text(f"name: demo\nhosts_from: {value}\nhosts: {{h9: {{address: 10.0.0.9}}}}\n")
    with pytest.raises(InventoryError) as error:
        load(path)
    assert message in error.value.message
