"""The values that `provision` connects with are those of `ssh`, for each of ssh_configs.txt."""

from __future__ import annotations

import os
import re
import subprocess
from ipaddress import IPv4Address
from pathlib import Path
from pwd import getpwuid
from typing import Any

import pytest

from provision.model.inventory import Host, Ssh
from provision.transport.ssh.connections import Connections
from provision.transport.ssh.hop import HopConnection, hops
from provision.transport.ssh.hostkeys import known_hosts_name
from provision.transport.ssh.openssh import ClientConfig

TEXT = (Path(__file__).parent / "ssh_configs.txt").read_bytes().decode()
SECTIONS = [section.split("\n", 1) for section in TEXT.split("=== ")[1:]]
CASES = [
    pytest.param(text, spec, id=f"{title.split(' |')[0]}: {spec}")
    for title, text in SECTIONS
    for spec in title.split(" | ")[1].split()
]
ADDRESS = "192.0.2.1"


def test_there_are_enough() -> None:
    """Of each kind of line that ssh_config has for a connection."""
    assert len(SECTIONS) >= 40


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that the files refer to."""
    monkeypatch.setenv("SSH_TEST_KEYS", "/k/variable")
    monkeypatch.setenv("SHELL", "/bin/sh")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    # ssh takes the home folder from the user database.
    monkeypatch.setenv("HOME", getpwuid(os.getuid()).pw_dir)


def ssh(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ssh without a terminal."""
    return subprocess.run(
        ("ssh", *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


def written(folder: Path, text: str) -> Path:
    """The ssh_config of a section, with the files beside it."""
    main, *others = text.replace("FOLDER", str(folder)).split("--- ")
    for other in others:
        name, content = other.split("\n", 1)
        (folder / name).write_bytes(content.encode())
    (folder / "config").write_bytes(main.encode())
    return folder / "config"


def printed(config: Path, *arguments: str) -> dict[str, str]:
    """The options that `ssh -G` prints."""
    process = ssh("-G", "-F", str(config), *arguments)
    assert process.returncode == 0, process.stderr
    return dict(line.split(" ", 1) for line in process.stdout.splitlines() if " " in line)


def key_files(config: Path, *arguments: str) -> list[str]:
    """The key files that ssh reads, once it is connected: here to a proxy that says nothing."""
    process = ssh("-v", "-F", str(config), "-o", "ProxyCommand=true", *arguments)
    files = re.findall(r"^debug1: identity file (.*) type -?\d+$", process.stderr, re.M)
    # Beside each key, ssh looks for its certificate.
    return [str(Path(file)) for file in files if not file.endswith("-cert")]


def proxy_command(config: Path, *arguments: str) -> str | None:
    """The command that ssh starts to reach the host."""
    process = ssh("-v", "-F", str(config), *arguments)
    match = re.search(r"^debug1: Executing proxy command: exec (.*)$", process.stderr, re.M)
    return match[1] if match else None


@pytest.mark.parametrize(("text", "spec"), CASES)
def test_the_values_are_those_of_ssh(tmp_path: Path, text: str, spec: str) -> None:
    """Host, port, user, keys, proxy, and the names in known_hosts."""
    config = written(tmp_path, text)
    name, *settings = spec.split(",")
    inventory: dict[str, Any] = dict(setting.split("=") for setting in settings)
    flags = {"user": "-l", "port": "-p"}
    arguments = [part for key, value in inventory.items() for part in (flags[key], value)]
    expected = printed(config, *arguments, name)
    if "port" in inventory:
        inventory["port"] = int(inventory["port"])

    connections = Connections(ClientConfig(config))
    target = connections.to(Host(name, IPv4Address(ADDRESS), ssh=Ssh(**inventory)))
    hostname = expected["hostname"] if expected["hostname"] != name.lower() else ADDRESS
    assert (target.host, target.port) == (hostname, int(expected["port"]))
    assert target.user == expected["user"]
    assert target.login.only_files == (expected["identitiesonly"] == "yes")
    named = expected.get("identityagent", "SSH_AUTH_SOCK")
    sockets = {"none": None, "SSH_AUTH_SOCK": "/run/agent"}
    assert str(target.login.agent.path) == str(sockets.get(named, named))
    assert target.endpoint.alias == expected.get("hostkeyalias")
    check_keys(target, config, *arguments, name)
    check_known_hosts(target, expected)
    check_proxy(target, config, expected, *arguments, name)


def check_keys(target: HopConnection, config: Path, *arguments: str) -> None:
    """The key files, with what stands for the name if the inventory has the address."""
    files = [str(file) for file in target.login.files]
    if target.host != ADDRESS:
        assert files == key_files(config, *arguments)
    else:
        assert files == key_files(config, "-o", f"HostName={ADDRESS}", *arguments)


def check_known_hosts(target: HopConnection, expected: dict[str, str]) -> None:
    """Every existing file, and the name in them."""
    listed = " ".join(expected[f"{kind}knownhostsfile"] for kind in ("user", "global"))
    for path in target.endpoint.known_hosts_files:
        assert str(path) in listed
        listed = listed.replace(str(path), "", 1)
    assert not any(Path(part).is_file() for part in listed.split())
    port = expected["port"]
    name = expected.get("hostkeyalias")
    plain = target.host if port == "22" else f"[{target.host}]:{port}"
    assert known_hosts_name(target.endpoint) == (name or plain)


def check_proxy(
    target: HopConnection, config: Path, expected: dict[str, str], *arguments: str
) -> None:
    """The command to start, or the jump hosts with the values that ssh has for each."""
    jumps = [hop for hop in hops(target) if hop is not target]
    if "proxyjump" not in expected:
        assert not jumps
        address = () if target.host != ADDRESS else ("-o", f"HostName={ADDRESS}")
        command = proxy_command(config, *address, *arguments) if target.proxy else None
        assert (target.proxy or None) == command
        assert bool(target.proxy) == ("proxycommand" in expected)
        return
    texts = expected["proxyjump"].split(",")
    assert len(jumps) >= len(texts)
    for hop, text in zip(jumps, reversed(texts), strict=False):
        values = printed(config, *jump_arguments(text))
        assert hop.host == values["hostname"]
        assert (hop.user, str(hop.port)) == (values["user"], values["port"])
    # Then come the jump hosts of the first one.
    first = printed(config, *jump_arguments(texts[0])).get("proxyjump", "")
    assert [hop.endpoint.name for hop in jumps[len(texts) :]] == first.split(",") * bool(first)


def jump_arguments(text: str) -> list[str]:
    """The arguments with which ssh starts itself for a jump host, [USER@]HOST[:PORT]."""
    user, _, address = text.removeprefix("ssh://").rpartition("@")
    name, port = address, ""
    if ":" in address.rpartition("]")[2]:
        name, _, port = address.rpartition(":")
    options = [part for pair in (("-l", user), ("-p", port)) if pair[1] for part in pair]
    return [*options, name.strip("[]")]
