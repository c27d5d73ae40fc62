"""Docker networks and containers of strangers, in the place of those that a change expects."""

from __future__ import annotations

import json
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from provision.resources.base import Ref, Resource
from provision.resources.kinds.attachment import DETACH, Attachment
from provision.resources.kinds.connection import NetworkConnection
from provision.resources.kinds.container import DockerContainer, FurtherEnd
from provision.resources.kinds.guest import GuestConnection
from provision.resources.lib import container_programs, docker_api
from provision.resources.on_hosts import Mark
from provision.resources.steps import Put, Refuse, Run
from tests.unit.test_host_programs import sh
from tests.unit.test_interface_programs import NSENTER

OURS, THEIRS = {"provision": "demo/blue"}, {"provision": "other/blue"}


def network(name: str, labels: dict[str, str] | None) -> dict[str, Any]:
    """A network as Docker's API tells it."""
    return {"Name": name, "Id": "c" * 64, "Options": {"provision": "demo/blue"}, "Labels": labels}


def container(name: str, labels: dict[str, str] | None) -> dict[str, Any]:
    """A container as Docker's API tells it."""
    policy = {"RestartPolicy": {"Name": name}}
    return {"Id": "c" * 64, "Name": f"/{name}", "HostConfig": policy, "Config": {"Labels": labels}}


class Api(socketserver.StreamRequestHandler):
    """Answers the requests of one connection from `answers`, by path."""

    answers: dict[str, dict[str, Any]]

    def handle(self) -> None:
        """Read the requests up to the end of the connection."""
        while request := self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            answer = self.answers.get(request.decode().split(" ")[1])
            body = json.dumps(answer or {}, separators=(",", ":")).encode()
            status = "200 OK" if answer else "404 Not Found"
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)


@contextmanager
def docker(path: Path, answers: dict[str, dict[str, Any]]) -> Iterator[None]:
    """A socket that answers as Docker does."""
    handler = type("Handler", (Api,), {"answers": answers})
    with socketserver.UnixStreamServer(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def refused(folder: Path, answers: dict[str, dict[str, Any]], *refusals: Refuse) -> bool:
    """Whether steps that begin with these refusals end there."""
    socket = folder / "api"
    statuses = []
    with docker(socket, answers):
        for refusal in refusals:
            program = refusal.test.argv[2].replace("/var/run/docker.sock", str(socket))
            argv = (*refusal.test.argv[:2], program, *refusal.test.argv[3:])
            process = subprocess.run(argv, capture_output=True, text=True)
            assert not process.stdout + process.stderr, process
            statuses.append(process.returncode)
    socket.unlink()
    return 0 in statuses


SURROUNDED = {"a": '"}', **OURS, "z": "{"}
SAID = {"note": '"Labels":{"provision":"demo/blue"}'}


@pytest.mark.parametrize(
    ("found", "foreign"),
    [
        (network("blue", OURS), False),
        (network("blue", {"provision": "demo"}), False),
        (network("blue", THEIRS), True),
        (network("blue", {"provision": "demo2/blue"}), True),
        (network("blue", SAID), True),
        (network("blue", {}), True),
        (network("blue", None), True),
        (network("elsewhere", OURS), True),
        (network("elsewhere", OURS) | {"Containers": {"0a1": {"Name": "blue"}}}, True),
        ({"Id": "c" * 64} | network("blue", OURS), False),
        (None, False),
    ],
)
def test_a_network_of_others_is_told_by_its_label(
    tmp_path: Path, found: dict[str, Any] | None, *, foreign: bool
) -> None:
    """The name says nothing, nor does the beginning of an id, by which Docker finds others."""
    (refusal,) = docker_api.refuse_foreign_networks("demo", "blue", "bridge", "container:web", "")
    assert refused(tmp_path, {"/networks/blue": found} if found else {}, refusal) == foreign
    assert not docker_api.refuse_foreign_networks("demo", "bridge", "host", "none")


@pytest.mark.parametrize(
    ("found", "foreign"),
    [
        (container("web", OURS), False),
        (container("web", SURROUNDED), False),
        (container("web", SAID), True),
        (container("web", None), True),
        (container("elsewhere", OURS), True),
        (None, False),
    ],
)
def test_a_container_of_others_is_told_by_its_label(
    tmp_path: Path, found: dict[str, Any] | None, *, foreign: bool
) -> None:
    """An image gives its containers labels, too."""
    refusal = docker_api.refuse_foreign_container("demo", "web")
    assert refused(tmp_path, {"/containers/web/json": found} if found else {}, refusal) == foreign


def test_a_docker_that_does_not_answer_is_no_stranger(tmp_path: Path) -> None:
    """The steps that follow fail, and tell the reason."""
    (refusal,) = docker_api.refuse_foreign_networks("demo", "blue")
    program = refusal.test.argv[2].replace("/var/run/docker.sock", str(tmp_path / "none"))
    assert subprocess.run(("perl", "-e", program, "demo", "networks/blue")).returncode == 1


MARK = Mark("demo", "blue")
GUEST = GuestConnection("h1", "db", "blue", "container db", None, None, "demo")
ENDS = (
    FurtherEnd(Ref("h1", "docker_network", "red"), None),
    FurtherEnd(Ref("h1", "docker0", "docker0"), None),
)
WEB = DockerContainer("h1", "web", "lab", (), "blue", None, "no", MARK, further=ENDS)
ATTACHED = Attachment(
    "h1", "web", "eth1", "macvlan", "eth1", "pw-web-x", "", 0, 0, (), (), (), "demo"
)
RED = NetworkConnection("h1", "web", "red", "red", None, None, "blue", "demo")
NETWORKS = ("networks/blue", "networks/red")


@pytest.mark.parametrize(
    ("resource", "before", "things"),
    [
        (GUEST, replace(GUEST, lacks="routes"), NETWORKS[:1]),
        (GUEST, replace(GUEST, address=IPv4Address("172.20.0.9"), network="red"), NETWORKS[:1]),
        (RED, replace(RED, lacks="connection"), NETWORKS[1:]),
        (RED, replace(RED, docker_network="bridge"), NETWORKS[1:]),
        (WEB, None, NETWORKS),
        (ATTACHED, replace(ATTACHED, parent=""), ("containers/web",)),
        (ATTACHED, replace(ATTACHED, lacks="claim"), ("containers/web",)),
    ],
)
def test_nothing_of_ours_is_connected_to_what_is_of_others(
    resource: Resource, before: Resource | None, things: tuple[str, ...]
) -> None:
    """Before anything else of the operation is done, and not in what the follower repeats."""
    for steps in (resource.create(), *([resource.update(before) or ()] if before else [])):
        assert isinstance(steps[0], Refuse)
        assert steps[0].test.argv[3:] == ("demo", *things)
    if resource.volatile:
        assert all(isinstance(step, Run | Put) for step in resource.restore())


# A container `web` of a stranger: the fake `ip` prints its links from `links`, and notes changes.
DOCKER = """#!/bin/sh
case $* in
*State.Pid*) echo 7 ;;
*Gateway*) echo '172.30.0.1 ' ;;
*.Config.Labels*) cat "$FOLDER/label" ;;
esac
"""
IP = """#!/bin/sh
case $* in
'-o link show dev eth1') cat "$FOLDER/links" ;;
*' show '*) ;;
*) echo "$*" >>"$FOLDER/changes" ;;
esac
"""
LINK = r"9: eth1@if8: <UP> mtu 1500 \    link/ether 02:00:00:00:00:01 \    alias {}"
ROUTES = [
    "-4 rule delete protocol 240 priority 77",
    "-6 rule delete protocol 240 priority 77",
    "-4 route add default via 172.30.0.1",
]


@pytest.mark.parametrize(
    ("label", "link", "expected"),
    [
        ("/web demo/none/", "", ROUTES),
        ("/web demo/none/", "provision:demo/web/eth1", ["link delete dev eth1", *ROUTES]),
        # Containers of strangers, found by the name or by the beginning of the id.
        ("/web <no value>/", "", []),
        ("/web other/none/", "mine", []),
        ("/elsewhere demo/none/", "", []),
        # A follower has put the interface into it.
        ("/web <no value>/", "provision:demo/web/eth1+", ["link delete dev eth1", *ROUTES]),
    ],
)
def test_an_interface_is_taken_from_our_containers_alone(
    tmp_path: Path, label: str, link: str, expected: list[str]
) -> None:
    """A stranger's container keeps its routes and rules."""
    for name, text in (("docker", DOCKER), ("ip", IP), ("nsenter", NSENTER)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "label").write_text(f"{label}\n")
    (tmp_path / "links").write_text(f"{LINK.format(link)}\n" if link else "")
    identity = ("web", "eth1", "provision:demo/web/eth1", f"{tmp_path}/hold", f"{tmp_path}/demo/a")
    claim = ("bridge", "pw-no-such-x", "br0", "-", "-", "-", "77")
    process = sh(DETACH, tmp_path, *identity, *claim)
    assert (process.returncode, process.stderr) == (0, ""), process
    changes = tmp_path / "changes"
    assert (changes.read_text().splitlines() if changes.exists() else []) == expected


CONNECTED = """#!/bin/sh
case $* in
ps*) echo '0a1 web' ;;
'network ls'*) printf '0c3 red\\n0c4 bridge\\n' ;;
*'--type network'*) cat "$FOLDER/label" ;;
*HostConfig.NetworkMode*) echo '0 blue' ;;
*NetworkSettings*) printf 'red - - -\\nbridge - - -\\ngone - - -\\n' ;;
*'--type container'*) echo demo/blue ;;
*) echo "$*" >>"$FOLDER/changes" ;;
esac
"""


@pytest.mark.parametrize(
    ("network", "label", "leaves"),
    [
        ("red", "demo/red", True),
        ("red", "other/red", False),
        ("red", "<no value>", False),
        ("bridge", "<no value>", True),
        # Docker lists the network of a stopped container that a person has removed.
        ("gone", "", True),
    ],
)
def test_a_container_leaves_our_networks_alone(
    tmp_path: Path, network: str, label: str, *, leaves: bool
) -> None:
    """A person has put a network in the place of ours, and our container on it."""
    (tmp_path / "docker").write_text(CONNECTED)
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "label").write_text(f"{label}\n")
    leave = replace(RED, docker_network=network).delete()[0]
    assert isinstance(leave, Run)
    process = sh(leave.argv[2], tmp_path, *leave.argv[4:])
    assert (process.returncode, process.stderr) == (0, ""), process
    changes = tmp_path / "changes"
    expected = f"network disconnect {network} 0a1\n" if leaves else ""
    assert (changes.read_text() if changes.exists() else "") == expected


STASHED = """#!/bin/sh
case $* in
ps*) echo '0a1 web.provision-7' ;;
'network ls'*) echo '0c3 blue' ;;
*'--type network'*) cat "$FOLDER/label" ;;
*'--type container'*) echo demo/blue ;;
start*) exit 1 ;;
*) echo "$*" >>"$FOLDER/changes" ;;
esac
"""


@pytest.mark.parametrize(("label", "connected"), [("demo/blue", True), ("<no value>", False)])
def test_a_container_comes_back_on_our_network_alone(
    tmp_path: Path, label: str, *, connected: bool
) -> None:
    """Its own network is gone, and somebody has made another one of that name."""
    (tmp_path / "docker").write_text(STASHED)
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "label").write_text(f"{label}\n")
    settings = ("no", "running", "blue", "-", "-", "")
    text = container_programs.UNSTASH
    process = sh(text, tmp_path, "web", "web.provision-7", "demo", *settings)
    made = "network connect blue 0a1" in (tmp_path / "changes").read_text()
    assert process.returncode == 1 and made == connected, process


@pytest.mark.parametrize("network", ["none", "host", "container:db"])
def test_docker_tells_why_a_container_without_a_network_does_not_start(
    tmp_path: Path, network: str
) -> None:
    """Docker's own networks have no label, and cannot be connected anew."""
    start = "start*) echo 'no such device' >&2; exit 1"
    text = STASHED.replace("start*) exit 1", start).replace("blue'", f"blue\n0c4 {network}'")
    (tmp_path / "docker").write_text(text.replace("echo '0c3", "printf '0c3"))
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "label").write_text("\n")
    settings = ("no", "running", network, "-", "-", "")
    program = container_programs.UNSTASH
    process = sh(program, tmp_path, "web", "web.provision-7", "demo", *settings)
    assert (process.returncode, process.stderr) == (1, "no such device\n")
    assert "network" not in (tmp_path / "changes").read_text()
