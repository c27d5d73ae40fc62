"""Whatever text an inventory holds, a host's programs see exactly that text, as one word."""

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

EVIL = ["$(touch evil)", "`touch evil`", "; touch evil", "{{ 7*7 }}", "{% raw %}", "../../evil"]
EVIL += ["'; touch evil; '", '"', "-v", "--", "\\", "*", "~", "$HOME", "a\nb", "\x1b[31m", "é", ""]
TEXT = st.sampled_from(EVIL) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12
)
# Every field of a container that is text; what the rules refuse never reaches a host.
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
case $1 in run) for word; do printf '%s\0' "$word"; done >>LOG ;; esac
"""


def loaded(fields: dict[str, Any], names: tuple[str, str, str]) -> Inventory | None:
    """The inventory of these words; None where it is refused, which is a good answer."""
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
def test_docker_sees_the_very_words(fields: dict[str, Any], names: tuple[str, str, str]) -> None:
    """By a real sh, with a docker that writes down what it is given."""
    inventory = loaded(fields, names)
    if inventory is None:
        return
    facts = {"h1": host_probe.parse("h1", HOST)}
    todo = operations(plan({}, desired.wanted(inventory, facts)), txn="0a")
    (made,) = [one for one in todo if isinstance(one.change.after, DockerContainer)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        Path(folder, "docker").write_text(DOCKER.replace("LOG", shlex.quote(str(log))))
        Path(folder, "docker").chmod(0o755)
        for steps in (made.steps, inverse(made, txn="0a")):
            text = script.render((steps,), nonce="n", lock=f"{folder}/lock")
            text = text.replace("PATH=", f"PATH={folder}:", 1)
            done = subprocess.run(["sh", "-c", 'eval "$(cat)"'], input=text.encode(), cwd=folder)
            assert done.returncode == 0
        seen = log.read_bytes().decode().split("\0")[:-1]
        assert sorted(entry.name for entry in Path(folder).iterdir()) == ["docker", "lock", "log"]
    container = inventory.containers[names[2]]
    assert seen[0] == "run" and seen[seen.index("--name") + 1] == names[2]
    assert seen[-len(container.command) - 2 :] == ["--", container.image.ref, *fields["command"]]
    given = [after for word, after in pairwise(seen) if word == "--env"]
    assert given[: len(container.env)] == ["=".join(pair) for pair in container.env]
