"""The files of a master: an ssh_config of the resolved options alone, and the recorded keys. Pure.

ssh reads no other file: what `ssh -G` has printed is not resolved a second time, and no option
that a user sets for terminals (LocalForward, RemoteCommand, ControlPath …) has an effect.
"""

from __future__ import annotations

import shlex
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from provision.model.errors import UsageError
from provision.model.text import quoted
from provision.transport.ssh.destination import Options
from provision.transport.ssh.endpoint import SshEndpoint, home_expanded
from provision.transport.ssh.hostkeys import RecordedKeys, kind_of
from provision.transport.ssh.known_hosts import AUTHORITY, REVOKED

# What the user's files say of these is not followed: host keys are always checked, no question is
# asked, and nothing but scripts is sent over the connection.
_FIXED = (
    "StrictHostKeyChecking yes",
    "NoHostAuthenticationForLocalhost no",
    "VerifyHostKeyDNS no",
    "UpdateHostKeys no",
    "CheckHostIP no",
    "GlobalKnownHostsFile /dev/null",
    "BatchMode yes",
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
    "ClearAllForwardings yes",
    "ForwardAgent no",
    "ForwardX11 no",
    "PermitLocalCommand no",
    "ControlPersist no",
    "EscapeChar none",
    "LogLevel DEBUG2",
)
_AS_PRINTED = (
    *("port", "user", "identitiesonly", "hostkeyalias", "knownhostscommand", "compression"),
    *("preferredauthentications", "pubkeyauthentication", "gssapiauthentication"),
    *("gssapiserveridentity", "gssapiclientidentity", "gssapitrustdns"),
    *("hostbasedauthentication", "enablesshkeysign", "bindinterface"),
)
_ALGORITHMS = (
    *("ciphers", "macs", "kexalgorithms", "pubkeyacceptedalgorithms", "casignaturealgorithms"),
    *("hostbasedacceptedalgorithms", "requiredrsasize"),
)
_PATHS = ("certificatefile", "identityagent", "pkcs11provider", "securitykeyprovider")
_REVOKED_FILE = "revokedhostkeys"
_CERTIFICATE = "-cert-v01@openssh.com"
_RSA = ("rsa-sha2-512", "rsa-sha2-256")


@dataclass(frozen=True, slots=True)
class MasterSettings:
    """An endpoint, the private key that the inventory names for it, and OpenSSH's defaults.

    `named`: the key files that inventory or ssh_config name.
    """

    endpoint: SshEndpoint
    key: Path | None
    named: tuple[Path, ...]
    defaults: Options


def files(
    settings: MasterSettings,
    recorded: RecordedKeys,
    proxy: str,
    patience_s: float,
    *,
    known: Path,
    alias: str | None = None,
) -> Mapping[str, str]:
    """The texts of the ssh_config and of known_hosts, whose path is `known`.

    `proxy` are the lines about the ProxyCommand; `alias` replaces the HostKeyAlias.
    """
    lines = [
        *_FIXED,
        *((f"HostKeyAlias {alias}",) if alias else ()),
        f"UserKnownHostsFile {_path(str(known))}",
        f"HostName {settings.endpoint.hostname.replace('%', '%%')}",
        # ssh counts the wait for the greeting, too; the limit of TCP is that of the ProxyCommand.
        f"ConnectTimeout {patience_s:.0f}",
        proxy,
        *_options(settings),
        *_host_key_algorithms(settings, recorded),
    ]
    return {"conf": "".join(f"{line}\n" for line in lines), "known": _known(recorded)}


def by_command(command: str) -> str:
    """The line for a ProxyCommand of ssh_config, whose tokens have been replaced."""
    return "ProxyCommand " + command.replace("%", "%%")


def by_argv(argv: Iterable[str], *, passes_connection: bool = False) -> str:
    """The lines for a program of ours as ProxyCommand; it may pass its connection to ssh."""
    passed = "\nProxyUseFdpass yes" if passes_connection else ""
    return by_command(shlex.join(argv)) + passed


def _options(settings: MasterSettings) -> Iterator[str]:
    """The lines for the options of login and trust."""
    endpoint = settings.endpoint
    options = endpoint.options
    for name in _AS_PRINTED:
        if options.get(name, ("none",)) != ("none",):
            yield f"{name} {options[name][0]}"
    for name in _ALGORITHMS:  # OpenSSH's own lists stay unwritten: it may choose among them
        if name in options and options[name] != settings.defaults.get(name):
            yield f"{name} {options[name][0]}"
    for name in (*_PATHS, _REVOKED_FILE):
        for text in options.get(name, ()):
            if text.lower() != "none":
                yield f"{name} {_home(text)}"
    for file in (settings.key,) if settings.key else endpoint.key_files:
        yield f"IdentityFile {_path(str(file))}"


def _host_key_algorithms(settings: MasterSettings, recorded: RecordedKeys) -> Iterator[str]:
    """The user's HostKeyAlgorithms, those of recorded keys first: ssh keeps the user's order."""
    listed = settings.endpoint.options.get("hostkeyalgorithms")
    if not listed or listed == settings.defaults.get("hostkeyalgorithms"):
        return
    names = listed[0].split(",")
    kinds = recorded.kinds
    first = [name for name in names if recorded.authorities and name.endswith(_CERTIFICATE)]
    first += [name for name in names if ("ssh-rsa" if name in _RSA else name) in kinds]
    yield f"HostKeyAlgorithms {','.join(dict.fromkeys((*first, *names)))}"


def _known(recorded: RecordedKeys) -> str:
    """The recorded keys as known_hosts of this one endpoint, whatever its names are."""
    markers = (
        ("", (*recorded.keys, *recorded.lenient)),
        (f"{AUTHORITY} ", recorded.authorities),
        (f"{REVOKED} ", recorded.revoked),
    )
    return "".join(
        f"{marker}* {kind_of(key)} {b64encode(key).decode()}\n"
        for marker, keys in markers
        for key in keys
    )


def _home(text: str) -> str:
    """A path as in ssh_config; `~` is the HOME of this process, as elsewhere in provision."""
    if text.startswith("~/"):
        return _path(str(home_expanded(text)), tokens=True)
    return _path(text, tokens=True)


def _path(text: str, *, tokens: bool = False) -> str:
    """A path in quotes; `tokens`: percent signs begin tokens. Raises UsageError."""
    if '"' in text or "\n" in text:
        raise UsageError(
            f"ssh_config: the path {quoted(text)} has a quotation mark", "rename the file"
        )
    escaped = text if tokens else text.replace("%", "%%")
    return f'"{escaped}"'
