"""Which client connects to an endpoint: paramiko, or the ssh program where paramiko cannot."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

from paramiko import Transport

from provision.transport.ssh.authentication import is_foreign_file
from provision.transport.ssh.destination import Options
from provision.transport.ssh.endpoint import SshEndpoint

_ATTRIBUTES = {
    "ciphers": "_preferred_ciphers",
    "macs": "_preferred_macs",
    "kexalgorithms": "_preferred_kex",
    "hostkeyalgorithms": "_preferred_keys",
    "pubkeyacceptedalgorithms": "_preferred_pubkeys",
}
"""Option → the attribute of paramiko's Transport with the algorithms that it has."""
TICKET_S = 10.0


def reason_for_openssh(
    endpoint: SshEndpoint, key_files: tuple[Path, ...], defaults: Options
) -> str | None:
    """The reason why only the ssh program can log in; None: paramiko can, too.

    `key_files`: those that the user has named. `defaults`: OpenSSH's options without a file.
    """
    if endpoint.ignored:
        return endpoint.ignored[0]
    if endpoint.first("hostbasedauthentication") == "yes":
        return "hostbasedauthentication"
    for name, attribute in _ATTRIBUTES.items():
        listed = endpoint.options.get(name)
        supported = set(getattr(Transport, attribute))
        if listed and listed != defaults.get(name) and not supported & set(listed[0].split(",")):
            return name
    foreign = [str(path) for path in key_files if is_foreign_file(path)]
    if foreign:
        return f"the key {foreign[0]}"
    if endpoint.first("gssapiauthentication") == "yes" and _has_ticket():
        return "gssapiauthentication"
    return None


@cache
def _has_ticket() -> bool:
    """True if there is a ticket of Kerberos. Debian's ssh_config has GSSAPIAuthentication yes."""
    program = shutil.which("klist")
    if program is None:
        return False
    try:
        return subprocess.run((program, "-s"), timeout=TICKET_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
