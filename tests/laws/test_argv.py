"""Law: any text of an inventory reaches a host's program unchanged, as one argument."""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
from itertools import pairwise
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
case $1 in run) for argument; do printf '%s\0' "$argument"; done >>LOG ;; esac
"""


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
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        Path(folder, "docker").write_text(DOCKER.replace("LOG", shlex.quote(str(log))))
        Path(folder, "docker").chmod(0o755)
        for steps in (creation.steps, inverse(creation, txn="0a")):
            text = script.render((steps,), nonce="n", lock=f"{folder}/lock")
            text = text.replace("PATH=", f"PATH={folder}:", 1)
            argv = ["sh", "-c", 'eval "$(cat)"']
            process = subprocess.run(argv, input=text.encode(), cwd=folder)
            assert process.returncode == 0
        arguments = log.read_bytes().decode().split("\0")[:-1]
        assert sorted(entry.name for entry in Path(folder).iterdir()) == ["docker", "lock", "log"]
    container = inventory.containers[names[2]]
    assert arguments[0] == "run" and arguments[arguments.index("--name") + 1] == names[2]
    command = ["--", container.image.ref, *fields["command"]]
    assert arguments[-len(container.command) - 2 :] == command
    variables = [value for option, value in pairwise(arguments) if option == "--env"]
    assert variables[: len(container.env)] == ["=".join(pair) for pair in container.env]
