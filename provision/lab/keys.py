"""SSH keys and client configuration of a lab.

The host keys are created here, so that even the first connection can check them strictly.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from provision.lab.layout import Lab, LabHost, addresses_of
from provision.lab.ranges import Ranges
from provision.lab.tools import run
from provision.model.errors import LabError
from provision.resources.render import render


def ensure(lab: Lab) -> None:
    """Create the lab's key pair, which logs in as root on all its hosts."""
    _generate(lab.key, f"provision-lab-{lab.tag}")


def refuse_foreign(lab: Lab) -> None:
    """Raise LabError when a file of the user exists where the lab would write one."""
    existing = [path for path in files(lab) if path.exists()]
    if existing and not lab.state.exists():
        raise LabError(
            f"{existing[0]} exists and was not written by `provision lab`",
            "move it away, or use another folder",
        )


def ensure_host(host: LabHost) -> None:
    """Create the host's SSH host key."""
    _generate(host.host_key, host.name)


def _generate(path: Path, comment: str) -> None:
    # ssh-keygen writes the public key last: without it an interrupted run left half a pair.
    if not path.with_suffix(".pub").exists():
        path.unlink(missing_ok=True)
        run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)))


def write_config(lab: Lab, names: Sequence[str], ranges: Ranges) -> None:
    """Write ssh_config and known_hosts for the hosts; files that would not change stay."""
    addresses = [(name, addresses_of(name, ranges)[0]) for name in names]
    known = "".join(f"{address} {_public(lab.host(name))}\n" for name, address in addresses)
    _write(lab.known_hosts, known)
    paths = {"key": lab.key, "known_hosts": lab.known_hosts}
    _write(lab.ssh_config, render("lab/ssh_config.j2", hosts=addresses, **paths))


def _public(host: LabHost) -> str:
    return " ".join(host.host_key.with_suffix(".pub").read_text().split()[:2])


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def files(lab: Lab) -> tuple[Path, ...]:
    """The files that the user's own ssh and inventories refer to."""
    public = lab.key.with_suffix(".pub")
    return lab.ssh_config, lab.key, public, lab.known_hosts, lab.image


def hand_over(lab: Lab, examples: Sequence[Path]) -> None:
    """Under sudo, give the files to the calling user, whose `ssh -F` has to read them."""
    user, group = (int(os.environ.get(name, "0")) for name in ("SUDO_UID", "SUDO_GID"))
    if user:
        for path in (lab.dot, *files(lab), *examples):
            os.chown(path, user, group)
