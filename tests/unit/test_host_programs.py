"""Shell programs of hosts, run by this machine's sh with fake docker and etcdctl commands."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from provision.resources import script
from provision.resources.kinds.container import DockerContainer
from provision.resources.lib import edited_file, marked_block
from provision.resources.on_hosts import Mark
from provision.resources.render import program_text
from provision.resources.steps import Put, Run

DOCKER_ID = program_text("host/docker_id.sh")
REMOVE_CONFIG = program_text("host/etcd_config_remove.sh")
LEASE = program_text("host/etcd_wait.sh", "host/etcd_lease.sh")
DOCKER = """#!/bin/sh
[ ! -e "$FOLDER/down" ] || exit 1
case $1 in
ps) cat "$FOLDER/containers" ;;
network) cat "$FOLDER/networks" ;;
inspect) for id; do :; done; case $id in 0b2) echo demo/lan ;; *) echo "<no value>" ;; esac ;;
rm) echo "removed: $*" ;;
esac
"""
ETCDCTL = """#!/bin/sh
name() { echo "$FOLDER/keys/$(echo "$1" | tr / =)"; }
case $1 in
--command-timeout=3s) exit 0 ;;
put) printf %s "$4" >"$(name "$3")" ;;
del) rm -f "$(name "$3")" ;;
get)
  case $2 in
  --prefix) ls "$FOLDER/keys" | tr = / | grep "^${5:-$4}" || : ;;
  --keys-only) [ ! -e "$(name "$4")" ] || echo "$4" ;;
  *) cat "$(name "$4")" ;;
  esac ;;
esac
"""


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A folder with a fake docker and a fake etcdctl, and the files with their answers."""
    for name, text in (("docker", DOCKER), ("etcdctl", ETCDCTL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "containers").write_text("0a1 web2\n0b2 web\n")
    (tmp_path / "networks").write_text("0c3 lan\n")
    (tmp_path / "keys").mkdir()
    return tmp_path


def sh(
    text: str, folder: Path, *arguments: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program as a host does, with the commands of `folder` first."""
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "FOLDER": str(folder)}
    argv = ["sh", "-c", text, "sh", *arguments]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("function", "name", "id_"),
    [("container_id", "web", "0b2"), ("container_id", "we", ""), ("network_id", "lan", "0c3")],
)
def test_a_name_is_resolved_to_the_id_of_exactly_this_name(
    commands: Path, function: str, name: str, id_: str
) -> None:
    """A prefix of a name or an id matches nothing."""
    process = sh(f'{DOCKER_ID}\n{function} "$1"', commands, name)
    assert (process.returncode, process.stdout.strip()) == (0, id_)


@pytest.mark.parametrize("function", ["container_id", "network_id"])
def test_a_docker_that_does_not_answer_is_a_failure(commands: Path, function: str) -> None:
    """The container or the network may still exist."""
    (commands / "down").touch()
    process = sh(f'{DOCKER_ID}\nid=$({function} "$1") || exit 7', commands, "web")
    assert process.returncode == 7


@pytest.mark.parametrize(
    ("container", "output"),
    [
        ("web", "removed: rm --force --volumes 0b2"),
        ("web2", "@note container web2 was left: it is not of this inventory"),
        ("gone", ""),
    ],
)
def test_a_container_that_is_gone_or_of_others_is_no_failure_of_a_removal(
    commands: Path, container: str, output: str
) -> None:
    """The steps after it run: those of a rollback at the boot, too."""
    mark = Mark("demo", "lan")
    resource = DockerContainer("h1", container, "busybox", (), "lan", None, "no", mark)
    (step,) = resource.delete()
    assert isinstance(step, Run)
    process = sh(step.argv[2], commands, *step.argv[4:])
    assert (process.returncode, process.stdout.strip()) == (0, output), process


def lease(commands: Path, backend: str = "vxlan") -> dict[str, str]:
    """The keys of etcd after a host has written its lease."""
    value = '{"PublicIP":"10.0.0.1"}'
    key, record = ("/net/subnets/172.20.1.0-24", value), ("/provision/demo/hosts/h1", "{}")
    process = sh(LEASE, commands, "etcdctl", *key, *record, "10.0.0.1", backend)
    assert process.returncode == 0, process.stderr
    files = (commands / "keys").iterdir()
    return {file.name.replace("=", "/"): file.read_text() for file in files}


def test_a_lease_of_flannel_with_the_same_address_stays(commands: Path) -> None:
    """The lease has the MAC of the host's device; another key with the address is removed."""
    written = '{"PublicIP":"10.0.0.1","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00"}}'
    foreign = '{"PublicIP":"10.0.0.2","BackendType":"vxlan"}'
    for name, text in (("1.0-24", written), ("2.0-24", foreign), ("9.0-24", written)):
        (commands / "keys" / f"=net=subnets=172.20.{name}").write_text(text)
    assert lease(commands) == {
        "/net/subnets/172.20.1.0-24": written,
        "/net/subnets/172.20.2.0-24": foreign,
        "/provision/demo/hosts/h1": "{}",
    }


def test_a_lease_of_another_backend_is_written_again(commands: Path) -> None:
    """flannel's udp has no BackendType: an empty one."""
    written = '{"PublicIP":"10.0.0.1","BackendType":"vxlan"}'
    (commands / "keys" / "=net=subnets=172.20.1.0-24").write_text(written)
    assert lease(commands, backend="")["/net/subnets/172.20.1.0-24"] == '{"PublicIP":"10.0.0.1"}'


def attributes(path: Path) -> tuple[int, int, int]:
    """Mode, user and group of a file."""
    status = path.stat()
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


@pytest.mark.parametrize("link", [False, True])
def test_an_edited_file_keeps_mode_owner_and_link(tmp_path: Path, link: bool) -> None:
    """Also a link whose file does not exist yet."""
    path, file = (
        tmp_path / "docker/daemon.json",
        tmp_path / ("file" if link else "docker/daemon.json"),
    )
    if link:
        path.parent.mkdir()
        path.symlink_to("../file")
    edit = (program_text("host/edit_file.sh"), tmp_path, str(path), "640", "0:7")
    assert sh(*edit, stdin="{}\n\n").returncode == 0
    assert (file.read_text(), attributes(file)) == ("{}\n\n", (0o640, 0, 7))
    file.chmod(0o600)
    os.chown(file, 1, 2)
    with suppress(OSError):  # older kernels have none on tmpfs
        os.setxattr(file, "user.note", b"mine")
    extended = os.listxattr(file)
    (file.parent / f".{file.name}.provision-new").touch()
    assert sh(*edit, stdin='{"a": 1}').returncode == 0
    assert (file.read_text(), attributes(file)) == ('{"a": 1}', (0o600, 1, 2))
    assert os.listxattr(file) == extended
    inode = file.stat().st_ino
    assert sh(*edit, stdin='{"a": 1}').returncode == 0
    assert file.stat().st_ino == inode
    assert path.is_symlink() == link and not list(tmp_path.rglob(".*"))


def test_a_link_that_leads_nowhere_is_not_edited(tmp_path: Path) -> None:
    """The message names the path."""
    path = tmp_path / "daemon.json"
    path.symlink_to("daemon.json")
    done = sh(program_text("host/edit_file.sh"), tmp_path, str(path), "644", "0:0", stdin="{}")
    assert (done.returncode, str(path) in done.stderr) == (1, True)


def test_a_rollback_leaves_nothing_of_an_edit_that_was_cut_off(tmp_path: Path) -> None:
    """Whether the administrator's file was there before, with or without lines to restore."""
    path, partial = tmp_path / "interfaces", tmp_path / ".interfaces.provision-new"
    mark = Mark("lan", "bri0")
    text = "auto eth1\niface eth1 inet dhcp\n"
    for before in (text, marked_block.wrap(text, mark, {range(2): ["auto bri0"]})):
        path.write_text(before)
        partial.touch()
        subprocess.run(marked_block.restore(str(path), mark).argv, check=True)
        assert path.read_text() == text and list(tmp_path.iterdir()) == [path]
    path.unlink()
    partial.touch()
    (remove,) = edited_file.write(str(path), None, "644 0:0")
    assert isinstance(remove, Run)
    subprocess.run(remove.argv, check=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["as before", "half of the change"])
def test_a_rollback_leaves_no_file_that_was_being_written(tmp_path: Path, text: str) -> None:
    """The host lost its power between the two steps of a file; the old file may still be there."""
    path, partial = tmp_path / "volatile.sh", tmp_path / ".volatile.sh.provision-new"
    path.write_text(text)
    path.chmod(0o755)
    partial.write_text("a ha")
    undo = script.cases({"list": ["1"]}, {"1": (Put(str(path), "as before", 0o755),)})
    assert subprocess.run(["sh", "-c", undo, "undo", "1"], check=False).returncode == 0
    assert path.read_text() == "as before"
    assert not partial.exists()


SETTINGS, OWNER = "/net/config", "/provision/demo/over/config"
RECORDS = "/provision/demo/over/hosts/"


def write_keys(folder: Path, leases: str, records: str) -> None:
    """Settings, and keys of the hosts with these numbers."""
    owner = '{"host": "h1", "prefix": "/net", "members": ["h1"]}'
    texts = {SETTINGS: "{}", OWNER: owner, "/net/subnets/172.20.9.0-24": "of a stranger"}
    texts |= {f"/net/subnets/172.20.{number}.0-24": "{}" for number in leases}
    for number in records:
        record = {"key": f"/net/subnets/172.20.{number}.0-24", "address": f"10.0.0.{number}"}
        texts[f"{RECORDS}h{number}"] = json.dumps(record)
    for key, text in texts.items():
        (folder / "keys" / key.replace("/", "=")).write_text(text)


@pytest.mark.parametrize(
    ("leases", "records", "stale", "stays"),
    [
        ("", "", "", False),
        ("23", "23", "", True),
        ("3", "3", "", True),
        # A host that the inventory no longer has, and one whose lease is gone.
        ("3", "3", "3", False),
        ("23", "23", "3", True),
        ("", "2", "", False),
    ],
)
def test_the_settings_of_flannel_go_with_the_last_host(
    commands: Path, leases: str, records: str, stale: str, stays: bool
) -> None:
    """As long as another host has a lease, its flanneld needs them for its next start."""
    write_keys(commands, leases, records)
    before = {path.name for path in (commands / "keys").iterdir()}
    own = [key for n in stale for key in (f"/net/subnets/172.20.{n}.0-24", f"{RECORDS}h{n}")]
    etcdctl = str(commands / "etcdctl")
    process = sh(REMOVE_CONFIG, commands, etcdctl, RECORDS, SETTINGS, OWNER, *own)
    assert process.returncode == 0, process.stderr
    after = {path.name for path in (commands / "keys").iterdir()}
    assert after == (before if stays else {"=net=subnets=172.20.9.0-24"})
    if stays:
        # From now on they are the other host's, also if this one gets a lease again.
        owner = json.loads((commands / "keys" / OWNER.replace("/", "=")).read_text())
        assert owner == {"host": f"h{leases[0]}", "prefix": "/net", "members": ["h1"]}
