"""Ports, volumes, MAC addresses and variables of a container, in the notation of Compose. Pure.

The short forms of `ports` and `volumes` in the Compose specification (05-services.md), without
those that other hosts cannot reach (a random host port) or that `destroy` could not undo.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address

from provision.model.findings import BadValueError
from provision.model.inventory import Port
from provision.model.text import count, quoted

_RANGE = r"[0-9]{1,5}(?:-[0-9]{1,5})?"
_PORT = re.compile(
    rf"(?:(?P<ip>[^:/\s]+):)?(?P<published>{_RANGE}):(?P<target>{_RANGE})(?:/(?P<protocol>[a-z]+))?"
)
_PORT_HINT = 'write it like "8080:80", "8080:80/udp" or "127.0.0.1:8080:80"'
# Docker's pattern for the names of volumes, with an upper limit.
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}")
_VOLUME_HINT = "write it like /srv/web:/www:ro or data:/var/lib/app"
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*=[^\x00-\x1f\x7f]*")
ONE_OFF = "com.docker.compose.oneoff"
"""The label, `True`, of containers of `docker compose run`, which also have the service's."""
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def ports(text: str) -> tuple[Port, ...]:
    """The ports that an item of `ports` publishes, one by one. Raises BadValueError."""
    match = _PORT.fullmatch(text)
    if match is None:
        raise _no_mapping(text)
    # Docker also publishes SCTP, but `verify` has no client for it.
    protocol = match["protocol"] or "tcp"
    if protocol not in ("tcp", "udp"):
        message = f"port {quoted(text)}: protocol {protocol} is not supported"
        raise BadValueError(message, "write /tcp or /udp")
    published, target = _numbers(text, match["published"]), _numbers(text, match["target"])
    if len(published) != len(target):
        message = (
            f"port {quoted(text)} has {count(len(published), 'port')} on the host,"
            f" {len(target)} inside"
        )
        raise BadValueError(message, 'write ranges of equal length, like "8080-8082:80-82"')
    ip = _host_ip(text, match["ip"])
    return tuple(Port(ip, p, t, protocol) for p, t in zip(published, target, strict=True))


def _no_mapping(text: str) -> BadValueError:
    if not re.fullmatch(rf"{_RANGE}(/[a-z]+)?", text):
        return BadValueError(f"port {quoted(text)} cannot be used", _PORT_HINT)
    # Docker would publish it at a random port of the host.
    hint = f'write "{text.split("/")[0]}:{text}", so that clients know it'
    return BadValueError(f"port {quoted(text)} has no host port", hint)


def _numbers(text: str, span: str) -> range:
    low, _, high = span.partition("-")
    numbers = range(int(low), int(high or low) + 1)
    if not numbers:
        raise BadValueError(f"port {quoted(text)}: range {span} ends before it begins", _PORT_HINT)
    if numbers[0] < 1 or numbers[-1] > 65535:
        raise BadValueError(f"port {quoted(text)}: {span} is not from 1 to 65535", _PORT_HINT)
    return numbers


def _host_ip(text: str, ip: str | None) -> IPv4Address | None:
    """The address that a port is published at; None for all addresses."""
    if ip is None:
        return None
    try:
        address = IPv4Address(ip)
    except AddressValueError as error:
        message = f"port {quoted(text)}: {quoted(ip)} is not an IPv4 address"
        raise BadValueError(message, _PORT_HINT) from error
    return None if address == IPv4Address(0) else address


def port(text: str) -> str:
    """Check an item of `ports`. Raises BadValueError."""
    ports(text)
    return text


def volume(text: str) -> str:
    """Check an item of `volumes`: SOURCE:TARGET[:MODE]. Raises BadValueError.

    The source is a folder of the host or a named volume.
    """
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if "\0" in text or not target:
        raise BadValueError(f"volume {quoted(text)} has no source and target", _VOLUME_HINT)
    if not source.startswith("/") and not _VOLUME_NAME.fullmatch(source):
        problem = f"{quoted(source)} is neither an absolute path nor the name of a volume"
        raise BadValueError(f"volume {quoted(text)}: {problem}", _VOLUME_HINT)
    # Docker refuses `/` as a target: the mount would hide the image.
    if not target.startswith("/") or target == "/":
        problem = f"target {quoted(target)} must be an absolute path below /"
        raise BadValueError(f"volume {quoted(text)}: {problem}", _VOLUME_HINT)
    if mode not in ("", "ro", "rw"):
        hint = "write ro, rw or nothing"
        raise BadValueError(f"volume {quoted(text)}: unknown mode {quoted(mode)}", hint)
    return text


def mac(text: str) -> str:
    """A unicast MAC address in lower case with colons. Raises BadValueError."""
    address = text.lower().replace("-", ":")
    if not _MAC.fullmatch(address):
        hint = 'write it like "02:42:ac:14:01:0a"'
        raise BadValueError(f"mac {quoted(text)} is not a MAC address", hint)
    # Bit 0 of the first byte means multicast (IEEE 802); no interface can have such an address.
    if int(address[:2], 16) & 1 or address == "00:00:00:00:00:00":
        message = f"mac {quoted(text)} is not a unicast address"
        raise BadValueError(message, "write an even first byte, like 02")
    return address


def variable(text: str) -> str:
    """Check the name of an environment variable. Raises BadValueError."""
    if not text or "=" in text or "\0" in text:
        # What follows `=` may be a password.
        name, sign, _ = text.partition("=")
        message = f"environment variable {quoted(name + sign + '…' * bool(sign))} cannot be used"
        raise BadValueError(message, "write a name without '='")
    return text


def label(text: str) -> str:
    """Check a label KEY=VALUE that selects a container. Raises BadValueError."""
    if not _LABEL.fullmatch(text):
        hint = "write it like com.docker.compose.service=db"
        raise BadValueError(f"label {quoted(text)} is not KEY=VALUE", hint)
    return text
