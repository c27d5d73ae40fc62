"""Law: any text of an inventory reaches Docker's API unchanged, and no argument of a process."""

from __future__ import annotations

import json
import shlex
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from provision.engine import desired
from provision.engine.plan import operations, plan
from provision.engine.undo import inverse
from provision.facts import host_probe
from provision.inventory.load import load
from provision.model.errors import InventoryError
from provision.model.inventory import Inventory
from provision.resources import script
from provision.resources.kinds.container import DockerContainer
from tests.fakes import HOST

HOSTILE = ["$(touch evil)", "`touch evil`", "; touch evil", "{{ 7*7 }}", "{% raw %}", "../../evil"]
HOSTILE += [
    "'; touch evil; '",
    '"',
    "-v",
    "--",
    "\\",
    "*",
    "~",
    "$HOME",
    "a\nb",
    "\x1b[31m",
    "é",
    "",
]
TEXT = st.sampled_from(HOSTILE) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12
)
# Every text field of a container. Texts that the loader refuses never reach a host.
FIELDS = st.fixed_dictionaries(
    {"command": st.lists(TEXT, min_size=1, max_size=3)},
    optional={
        "env": st.dictionaries(st.sampled_from(["A", "B_2"]) | TEXT, TEXT, max_size=2),
        "volumes": st.lists(st.builds("/srv/{}:/data".format, TEXT) | TEXT, max_size=1),
        "image": st.sampled_from(["busybox", "nginx:1.27"]) | TEXT,
        "restart": st.sampled_from(["no", "always"]) | TEXT,
        "ports": st.lists(st.sampled_from(["8080:80"]) | TEXT, max_size=1),
        "mac": st.sampled_from(["52:54:00:12:34:56"]) | TEXT,
        "address": st.sampled_from(["172.20.0.77"]) | TEXT,
    },
)
DOCKER = r"""#!/bin/sh
for argument; do printf '%s\0' "$argument"; done >>LOG
"""
SOCKET = "/var/run/docker.sock"


class Api(socketserver.StreamRequestHandler):
    """Answers `POST /containers/create` and keeps the path and the body of the request.

    There is nothing to GET.
    """

    requests: list[tuple[str, dict[str, Any]]]

    def handle(self) -> None:
        """Read one request."""
        verb, path, _ = self.rfile.readline().decode().split(" ")
        length = 0
        while (line := self.rfile.readline().strip()) != b"":
            name, _, text = line.partition(b":")
            length = int(text) if name == b"Content-Length" else length
        if verb == "GET":
            self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")
            return
        self.requests.append((path, json.loads(self.rfile.read(length))))
        self.wfile.write(b'HTTP/1.0 201 Created\r\n\r\n{"Id":"0a1b","Warnings":[]}\n')


@contextmanager
def docker_api(path: Path) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """A socket that answers as Docker does; the requests that it got."""
    requests: list[tuple[str, dict[str, Any]]] = []
    handler = type("Handler", (Api,), {"requests": requests})
    with socketserver.UnixStreamServer(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield requests
        finally:
            server.shutdown()
            thread.join()


def loaded(fields: dict[str, Any], names: tuple[str, str, str]) -> Inventory | None:
    """The inventory with these texts; None if the loader refuses it."""
    name, network, container = names
    data = {
        "name": name,
        "hosts": {"h1": {"address": "10.78.0.11"}},
        "networks": {network: {"method": "routes", "cidr": "172.20.0.0/16"}},
        "containers": {container: {"host": "h1", "network": network, **fields}},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "inventory.yml")
        path.write_text(json.dumps(data))
        try:
            return load(path)
        except InventoryError:
            return None


NAMES = st.tuples(
    st.just("demo") | TEXT, st.just("blue") | TEXT, st.sampled_from(["c1", "docker_bri.1-x"]) | TEXT
)


@settings(max_examples=150, deadline=None)
@given(FIELDS, NAMES)
def test_docker_receives_the_text_unchanged(
    fields: dict[str, Any], names: tuple[str, str, str]
) -> None:
    """This machine's sh runs the script with a fake docker that logs its arguments."""
    inventory = loaded(fields, names)
    if inventory is None:
        return
    facts = {"h1": host_probe.parse("h1", HOST)}
    todo = operations(plan({}, desired.wanted(inventory, facts)), txn="0a")
    (creation,) = [o for o in todo if isinstance(o.change.after, DockerContainer)]
    with tempfile.TemporaryDirectory() as folder, docker_api(Path(folder, "api")) as requests:
        log = Path(folder, "log")
        Path(folder, "docker").write_text(DOCKER.replace("LOG", shlex.quote(str(log))))
        Path(folder, "docker").chmod(0o755)
        for steps in (creation.steps, inverse(creation, txn="0a")):
            text = script.render((steps,), nonce="n", lock=f"{folder}/lock")
            text = text.replace("PATH=", f"PATH={folder}:", 1).replace(SOCKET, f"{folder}/api")
            argv = ["sh", "-c", 'eval "$(cat)"']
            process = subprocess.run(argv, input=text.encode(), cwd=folder)
            assert process.returncode == 0
        arguments = log.read_bytes().decode().split("\0")[:-1]
        left = sorted(entry.name for entry in Path(folder).iterdir())
        assert left == ["api", "docker", "lock", "log"]
    container = inventory.containers[names[2]]
    ((path, body),) = requests
    assert path == f"/containers/create?name={names[2]}"
    assert "start" in arguments and "0a1b" in arguments
    assert body["Image"] == container.image.ref
    assert body.get("Cmd", []) == list(container.command)
    assert body["Env"] == ["=".join(pair) for pair in container.env]
    assert body["HostConfig"]["Binds"] == list(container.volumes)
    assert body["HostConfig"]["RestartPolicy"] == {"Name": container.restart}
