"""Names of an inventory; each message states the rule that the name breaks. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from provision.model.findings import BadValueError
from provision.model.names import STASHED
from provision.model.text import quoted

# Docker predefines the first three, and takes `default` for the default network of the platform.
DOCKER_NETWORKS = ("bridge", "host", "none", "default")
_TAKEN_LINKS = ("lo", "docker0", "ovs-system", "ovs-netdev", "bonding_masters")
"""Names that the kernel, Docker and Open vSwitch give; bonding_masters is a file in
/sys/class/net."""
_OWN_LINKS = "provision-"
"""Temporary links of provision, such as the first port of a bridge, begin so."""
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"


def inventory_name(text: str) -> str:
    """The name that marks all objects of an inventory. Raises BadValueError."""
    # Short, because the names of chains (28 characters) begin with PROV-NAME-.
    return _matching(
        text,
        r"[a-z][a-z0-9-]{0,9}",
        "name",
        "write 1 to 10 of a-z, 0-9 and '-', a letter first",
    )


def host_name(text: str) -> str:
    """A name that SSH and DNS accept, and no tool takes for an option, a path or a pattern.

    Raises BadValueError.
    """
    if text == "all":
        raise BadValueError("host name 'all' means every host in --limit", "choose another name")
    if len(text) > 253:  # the limit of a name in DNS (RFC 1035); a label's is 63
        message = f"host name {quoted(text)} is longer than 253 characters"
        raise BadValueError(message, "shorten it")
    return _matching(
        text,
        rf"{_LABEL}(\.{_LABEL})*",
        "host name",
        "write letters, digits, '-' and '_', in parts of 1 to 63 joined by '.'",
    )


def project_name(text: str) -> str:
    """The name of a Compose project. Raises BadValueError."""
    return _matching(
        text,
        r"[a-z0-9][a-z0-9_-]{0,62}",
        "project name",
        "write up to 63 of a-z, 0-9, '_' and '-', a letter or digit first",
    )


def group_name(text: str) -> str:
    """A name that --limit does not take for a pattern. Raises BadValueError."""
    if text == "all":
        raise BadValueError("group name 'all' means every host in --limit", "choose another name")
    return _matching(
        text,
        r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}",
        "group name",
        "write up to 63 letters, digits, '.', '-' and '_', a letter or digit first",
    )


def network_name(text: str) -> str:
    """A name for a Docker network and, with a prefix, for interfaces. Raises BadValueError."""
    if text in DOCKER_NETWORKS:
        message = f"network name '{text}' belongs to a network of Docker's own"
        raise BadValueError(message, "choose another name")
    return _matching(
        text,
        r"[a-z][a-z0-9-]{0,14}",
        "network name",
        "write 1 to 15 of a-z, 0-9 and '-', a letter first",
    )


def container_name(text: str) -> str:
    """A name that Docker accepts, short enough for the name of a file. Raises BadValueError."""
    if STASHED.search(text):
        # A snapshot leaves such containers out, and a rollback may rename or delete them.
        message = f"container name {quoted(text)} ends like that of a container that a change stops"
        raise BadValueError(message, "choose a name that does not end in .provision-ID")
    # Docker's own pattern, which needs two characters, and has no upper limit.
    return _matching(
        text,
        r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}",
        "container name",
        "write 2 to 128 letters, digits, '_', '.' and '-', a letter or digit first",
    )


def user_name(text: str) -> str:
    """A login name that ssh does not take for an option. Raises BadValueError."""
    return _matching(
        text,
        r"[A-Za-z0-9_][A-Za-z0-9_.@$\\-]{0,63}",
        "user",
        "write a login name, like root",
    )


def ssh_address(text: str) -> str:
    """The name or address of a host's sshd; an IPv6 address may have a scope. Raises BadValueError.

    `fe80::1%eth0` has one.
    """
    bare, _, scope = text.strip("[]").partition("%")
    if ":" not in text:
        return host_name(text)
    try:
        IPv6Address(bare)
    except ValueError as error:
        message = f"address {quoted(text)} is not an IPv6 address"
        raise BadValueError(message, "write it like 2001:db8::1; the port is ssh.port") from error
    return f"{bare}%{_link_name(scope, 'scope', 'write an interface')}" if scope else bare


def jump_hosts(text: str) -> str:
    """Jump hosts as for ssh's ProxyJump: [user@]host[:port] or ssh://…, joined by commas.

    An IPv6 address is in brackets. Raises BadValueError.
    """
    hint = "write it like user@bastion:22, or user@[2001:db8::1]:22"
    if len(text) > 1000:
        raise BadValueError(f"jump {quoted(text)} is longer than 1000 characters", hint)
    host = r"([A-Za-z0-9][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?\])"
    jump = rf"(ssh://)?([A-Za-z0-9_][A-Za-z0-9_.$\\-]*@)?{host}(:[0-9]{{1,5}})?"
    # ssh takes ssh:// with an IPv6 address in ssh_config only, not as the argument of -J.
    return re.sub(r"(^|,)ssh://", r"\1", _matching(text, rf"{jump}(,{jump})*", "jump", hint))


def nic_name(text: str) -> str:
    """The name of an interface of the host. Raises BadValueError."""
    return _link_name(text, "nic", "write the interface's name of 1 to 15 characters, like eth1")


def access_interface(text: str) -> str:
    """The name of an interface by which packets come to the hosts. Raises BadValueError."""
    hint = "write hosts, a range like 10.0.0.0/8, or an interface like tailscale0"
    return _link_name(text, "access", hint)


def container_interface(text: str) -> str:
    """The name of an interface inside a container. Raises BadValueError."""
    hint = "write the name that it gets in the container, like eth1"
    return _link_name(text, "interface name", hint)


def bridge_name(text: str) -> str:
    """The name of a bridge that provision creates. Raises BadValueError."""
    if text in _TAKEN_LINKS or text.startswith(_OWN_LINKS):
        message = f"bridge {quoted(text)} is the name of another interface on every host"
        raise BadValueError(message, "write a name of its own, like bri0")
    return _link_name(text, "bridge", "write a name of 1 to 15 characters, like bri0")


def _link_name(text: str, noun: str, hint: str) -> str:
    """A name that the kernel accepts, and that no tool takes for an option, path or pattern.

    The kernel (dev_valid_name of net/core/dev.c) refuses more than 15 bytes, `.`, `..`, `/`, `:`
    and blanks; it takes `%d` for a number to fill in. The rest would need quotes somewhere.
    """
    if text in ("all", "default"):
        # net.ipv4.conf.all and .default are settings of every and of each new interface.
        message = f"{noun} '{text}' stands for several interfaces in sysctl"
        raise BadValueError(message, "write the name of a single interface")
    return _matching(text, r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}", noun, hint)


def _matching(text: str, pattern: str, noun: str, hint: str) -> str:
    if not re.fullmatch(pattern, text):
        raise BadValueError(f"{noun} {quoted(text)} cannot be used", hint)
    return text
