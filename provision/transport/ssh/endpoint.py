"""The endpoint of one SSH connection: the values that OpenSSH would connect with."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from pwd import getpwuid

from provision.model.errors import UsageError
from provision.model.inventory import Host
from provision.model.text import quoted
from provision.transport.ssh.destination import Destination, Options, destinations
from provision.transport.ssh.openssh import ClientConfig

IGNORED = (
    *("certificatefile", "knownhostscommand", "pkcs11provider", "revokedhostkeys"),
    *("securitykeyprovider", "proxyusefdpass", "bindinterface"),
)
"""Options about trust and login that OpenSSH follows and paramiko does not."""
_OFF = ("no", "none", "false", "internal", "ssh_auth_sock")  # as printed for the defaults
CONNECT_S = 10.0
"""Seconds for a TCP connection."""
_PROXIES = ("proxyjump", "proxycommand")
_HOP = re.compile(
    r"(?:ssh://)?(?:(?P<user>.+)@)?(?:\[(?P<v6>[^\]]+)\]|(?P<name>[^:/\[\]]+))(?::(?P<port>\d+))?/?"
)


@dataclass(frozen=True, slots=True)
class SshEndpoint:
    """A host or a jump host; `name` is that of the inventory or ProxyJump."""

    name: str
    hostname: str
    options: Options

    def first(self, keyword: str, default: str = "none") -> str:
        """The value of an option that is printed once."""
        return self.options.get(keyword, (default,))[0]

    @property
    def user(self) -> str:
        """The login name."""
        return self.first("user")

    @property
    def port(self) -> int:
        """The port of sshd."""
        return int(self.first("port", "22"))

    @property
    def alias(self) -> str | None:
        """HostKeyAlias: the name of the host in known_hosts, and in host certificates."""
        alias = self.first("hostkeyalias")
        return None if alias == "none" else alias

    @property
    def jumps(self) -> tuple[str, ...]:
        """The jump hosts, that next to the controller first."""
        jumps = self.first("proxyjump")
        return () if jumps.lower() == "none" else tuple(self.expand(jumps).split(","))

    @property
    def proxy_command(self) -> str | None:
        """ProxyCommand, ready for a shell."""
        command = self.first("proxycommand")
        return None if command.lower() == "none" else self.expand(command)

    @property
    def key_files(self) -> tuple[Path, ...]:
        """The files of IdentityFile; they need not exist."""
        names = (name for name in self.options.get("identityfile", ()) if name.lower() != "none")
        return tuple(home_expanded(self.expand(_with_variables(name))) for name in names)

    @property
    def agent(self) -> str:
        """IdentityAgent, without tokens."""
        return self.expand(_with_variables(self.first("identityagent", "SSH_AUTH_SOCK")))

    @property
    def connect_s(self) -> float:
        """Seconds for a TCP connection: ConnectTimeout, else CONNECT_S."""
        seconds = self.first("connecttimeout")
        return float(seconds) if seconds.isdigit() and int(seconds) else CONNECT_S

    @property
    def known_hosts_files(self) -> tuple[Path, ...]:
        """The existing files of UserKnownHostsFile and GlobalKnownHostsFile."""
        lines = (self.first("userknownhostsfile"), self.first("globalknownhostsfile"))
        return tuple(path for line in lines for path in _existing(line))

    @property
    def ignored(self) -> tuple[str, ...]:
        """The options of IGNORED that ssh_config sets."""
        return tuple(name for name in IGNORED if self.first(name).lower() not in _OFF)

    def expand(self, text: str) -> str:
        """Replace the tokens of ssh_config(5), TOKENS. Raises UsageError for an unknown one."""
        tokens = self._tokens() if "%" in text else {}

        def value(match: re.Match[str]) -> str:
            if match[1] not in tokens:
                raise UsageError(
                    f"ssh_config: unknown token {quoted(match[0])} in {quoted(text)}",
                    "write %% for a percent sign",
                )
            return tokens[match[1]]

        return re.sub("%(.?)", value, text)

    def _tokens(self) -> Mapping[str, str]:
        local, jump = socket.gethostname(), self.first("proxyjump", "")
        digest = sha1("".join((local, self.hostname, str(self.port), self.user, jump)).encode())
        return {
            "%": "%",
            "C": digest.hexdigest(),
            "d": str(home_expanded("~")),
            "h": self.hostname,
            "i": str(os.getuid()),
            "j": jump,
            "k": self.alias or self.name,
            "L": local.partition(".")[0],
            "l": local,
            "n": self.name,
            "p": str(self.port),
            "r": self.user,
            "u": _local_user(),
        }


def of_host(config: ClientConfig, host: Host) -> SshEndpoint:
    """The endpoint of a host of an inventory. Raises UsageError for an unusable ssh_config."""
    options, *others = (config.options(destination) for destination in destinations(host))
    if others:
        defaults = config.without_file.options(Destination("localhost"))
        options = _merged(options, others[0], defaults)
    hostname = options["hostname"][0]
    if host.ssh.address is None and hostname == host.name.lower():
        # The host names of an inventory need not be in DNS.
        hostname = str(host.address)
    return SshEndpoint(host.name, hostname, options)


def of_jump_host(config: ClientConfig, text: str) -> SshEndpoint:
    """The endpoint of [USER@]HOST[:PORT] or ssh://[USER@]HOST[:PORT]."""
    match = _HOP.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{quoted(text)} is not a jump host", "write it like user@bastion:22")
    name = match["v6"] or match["name"]
    port = int(match["port"]) if match["port"] else None
    options = config.options(Destination(name, match["user"], port))
    return SshEndpoint(name, options["hostname"][0], options)


def home_expanded(text: str) -> Path:
    """The path with `~` replaced; as it is where the user has no home folder or does not exist."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def _local_user() -> str:
    try:
        return getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _merged(first: Options, second: Options, defaults: Options) -> Options:
    """Both, where an option that `first` sets counts before that of `second`."""
    keywords = {name for name in first | second if first.get(name) != defaults.get(name)}
    if keywords & set(_PROXIES):  # each of the two replaces both
        keywords |= set(_PROXIES)
    keywords.add("hostname")
    mixed = {name: (first if name in keywords else second).get(name) for name in first | second}
    return {name: values for name, values in mixed.items() if values is not None}


def _with_variables(text: str) -> str:
    """Replace `${NAME}` by variables of the environment. Raises UsageError for a missing one."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise UsageError(
                f"ssh_config: the environment has no variable {quoted(match[1])}",
                f"set it, or correct {quoted(text)}",
            )
        return os.environ[match[1]].replace("%", "%%")

    return re.sub(r"\$\{(\w+)\}", value, text)


def _existing(line: str) -> list[Path]:
    """The existing files of a line, in which ssh joins the paths by blanks and without quotes."""
    parts, paths = line.split(" "), []
    while parts:
        # A path may contain blanks: take the most parts that together are a file.
        for length in range(len(parts), 0, -1):
            path = home_expanded(" ".join(parts[:length]).strip('"'))
            if path.is_file():
                paths.append(path)
                break
        parts = parts[length:]
    return paths
