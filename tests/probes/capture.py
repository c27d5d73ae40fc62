"""Capture the output of a kind's probe on the hosts of a mixed lab, for test_captured.py.

    sudo .venv/bin/python tests/probes/capture.py INVENTORY KIND NAME

KIND is a kind, `host`, or the section of a method's own probe. Writes KIND/NAME-SUITE.txt next to
this file, one for each host of the inventory.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from provision import methods
from provision.facts import gather
from provision.facts.probe import FactsProbe
from provision.inventory.load import load
from provision.lab.layout import MIXED, suite_of
from provision.transport.base import Transport
from provision.transport.ssh.transport import SshTransport

FOLDER = Path(__file__).parent


def capture(
    transport: Transport,
    host: str,
    inventory: str,
    kind: str,
    probes: tuple[FactsProbe, ...] = (),
) -> str:
    """The output of the probe of a kind or method on a host, with the shared answers inserted."""
    nonce = secrets.token_hex(8)
    script = gather.script(inventory, (), nonce=nonce, probes=probes)
    output = transport.run(host, script, timeout_s=60)
    return gather.sections(host, output, nonce=nonce, probes=probes)[kind]


def main() -> None:
    """Capture on every host of the inventory, whose hosts are h1, h2, h3 of a mixed lab."""
    path, kind, name = sys.argv[1:]
    inventory = load(Path(path))
    transport = SshTransport.for_project(inventory)
    (FOLDER / kind).mkdir(exist_ok=True)
    for host in inventory.hosts:
        probes = methods.facts_probes(inventory, host)
        text = capture(transport, host, inventory.name, kind, probes)
        target = FOLDER / kind / f"{name}-{suite_of(host, MIXED)}.txt"
        target.write_text(text + "\n")
        print(target)
    transport.close()


if __name__ == "__main__":
    main()
