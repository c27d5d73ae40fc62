"""Ansible itself, for what provision does not read: scripts, plug-ins, templates, vaults, TOML.

Ansible runs on the controller only; no host is contacted.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from provision.inventory.ansible import listing
from provision.inventory.ansible.model import Tree
from provision.model.findings import FindingError, Position
from provision.model.text import single_line

ANSWER_S = 120.0
"""Seconds that Ansible has: an inventory plug-in may ask a cloud."""
_RESULT = re.compile(r"^(\S+) \| SUCCESS => (\{.*?^\})", re.M | re.S)
_NOISE = ("[WARNING]", "[DEPRECATION", "Deprecation", "Ansible is being run in")


def installed(program: str = "ansible-inventory") -> str | None:
    """The path of one of Ansible's programs; None: Ansible is not installed."""
    return shutil.which(program)


def listed(paths: Sequence[Path], config: Path | None) -> Tree:
    """The inventory of Ansible's sources, as Ansible reads them. Raises FindingError."""
    text = _output("ansible-inventory", paths, config, "--list")
    return listing.read(paths[0], text)


def evaluated(
    paths: Sequence[Path], config: Path | None, hosts: Collection[str], variables: Collection[str]
) -> Mapping[str, Mapping[str, Any]]:
    """The values of variables of hosts: templates and vaults evaluated. Raises FindingError.

    Hosts for which Ansible fails have no entry.
    """
    pairs = ", ".join(f"'{name}': {name} | default(none)" for name in sorted(variables))
    message = f"msg={{{{ {{{pairs}}} | to_json }}}}"
    # `debug` is an action of the controller: it does not connect to the hosts.
    arguments = (":".join(sorted(hosts)), "-m", "ansible.builtin.debug", "-a", message)
    text = _output("ansible", paths, config, *arguments, accept_failures=True)
    values: dict[str, Mapping[str, Any]] = {}
    for host, body in _RESULT.findall(text):
        decoded = json.loads(json.loads(body)["msg"])
        values[host] = {name: value for name, value in decoded.items() if value is not None}
    return values


def _output(
    program: str,
    paths: Sequence[Path],
    config: Path | None,
    *arguments: str,
    accept_failures: bool = False,
) -> str:
    sources = (text for path in paths for text in ("-i", str(path)))
    command = f"{program} {' '.join(('-i', str(paths[0]), *arguments[:1]))}"
    position = Position(paths[0])
    env = os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    if config is not None:
        env.setdefault("ANSIBLE_CONFIG", str(config))
    try:
        process = subprocess.run(
            (installed(program) or program, *sources, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_S,
            env=env,
            cwd=config.parent if config else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"did not end within {ANSWER_S:g} s"
        if isinstance(error, OSError):
            reason = f"cannot be run: {error.strerror}"
        raise FindingError.at(position, f"`{command}` {reason}", "run it by hand") from error
    lines = [line for line in process.stderr.splitlines() if line and not line.startswith(_NOISE)]
    # Ansible goes on without a source that it cannot read.
    if process.returncode and not accept_failures:
        reason = single_line(lines[0] if lines else f"exit status {process.returncode}", 300)
        raise FindingError.at(position, f"`{command}` failed: {reason}", "run it by hand")
    return process.stdout
