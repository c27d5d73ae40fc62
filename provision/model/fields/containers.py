"""Ports, volumes, MACs and variables of a container as Compose users write them. Pure.

Grammar of the short forms: compose-spec 05-services.md, `ports` and `volumes`; narrowed to what
other hosts can reach and what a destroy can answer for.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address

from provision.model.findings import BadValueError
from provision.model.inventory import Port
from provision.model.text import quoted

_SPAN = r"[0-9]{1,5}(?:-[0-9]{1,5})?"
_PORT = re.compile(
    rf"(?:(?P<ip>[^:/\s]+):)?(?P<published>{_SPAN}):(?P<target>{_SPAN})(?:/(?P<protocol>[a-z]+))?"
)
_SAMPLE = 'write it like "8080:80", "8080:80/udp" or "127.0.0.1:8080:80"'
_VOLUME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def ports(text: str) -> tuple[Port, ...]:
    """What one item of `ports` publishes, a range as its single ports; or `BadValueError`."""
    match = _PORT.fullmatch(text)
    if match is None:
        if re.fullmatch(rf"{_SPAN}(/[a-z]+)?", text):
            message = f"port {quoted(text)} names no port of the host"
            raise BadValueError(
                message, f'write "{text.split("/")[0]}:{text}", so that others know it'
            )
        raise BadValueError(f"port {quoted(text)} cannot be used", _SAMPLE)
    protocol = match["protocol"] or "tcp"
    if protocol not in ("tcp", "udp"):
        raise BadValueError(
            f"port {quoted(text)}: {protocol} is not checked here", "write /tcp or /udp"
        )
    published, target = _span(text, match["published"]), _span(text, match["target"])
    if len(published) != len(target):
        message = (
            f"port {quoted(text)} has {len(published)} ports on the host, {len(target)} inside"
        )
        raise BadValueError(message, 'write ranges of one length, like "8080-8082:80-82"')
    ip = _ip(text, match["ip"])
    return tuple(Port(ip, p, t, protocol) for p, t in zip(published, target, strict=True))


def _span(text: str, span: str) -> range:
    low, _, high = span.partition("-")
    found = range(int(low), int(high or low) + 1)
    if not found or not found[0] >= 1 or found[-1] > 65535:
        raise BadValueError(
            f"port {quoted(text)}: {span} is not from 1 to 65535, low to high", _SAMPLE
        )
    return found


def _ip(text: str, ip: str | None) -> IPv4Address | None:
    if ip is None:
        return None
    try:
        found = IPv4Address(ip)
    except AddressValueError as error:
        raise BadValueError(
            f"port {quoted(text)}: {quoted(ip)} is no IPv4 address", _SAMPLE
        ) from error
    return None if found == IPv4Address(0) else found


def port(text: str) -> str:
    """One item of `ports`, checked."""
    ports(text)
    return text


def volume(text: str) -> str:
    """One item of `volumes`: a folder of the host or a named volume, and where it goes."""
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    sample = "write it like /srv/web:/www:ro or data:/var/lib/app"
    if "\0" in text or not target:
        raise BadValueError(f"volume {quoted(text)} names no source and target", sample)
    if not source.startswith("/") and not _VOLUME.fullmatch(source):
        message = f"volume {quoted(text)}: {quoted(source)} is no absolute path and no volume"
        raise BadValueError(message, sample)
    if not target.startswith("/") or target == "/":
        raise BadValueError(f"volume {quoted(text)}: {quoted(target)} is no absolute path", sample)
    if mode not in ("", "ro", "rw"):
        raise BadValueError(
            f"volume {quoted(text)}: {quoted(mode)} is no mode", "write ro, rw or nothing"
        )
    return text


def mac(text: str) -> str:
    """A unicast MAC address, in lower case."""
    found = text.lower().replace("-", ":")
    if not _MAC.fullmatch(found):
        raise BadValueError(
            f"mac {quoted(text)} cannot be used", 'write it like "02:42:ac:14:01:0a"'
        )
    if int(found[:2], 16) & 1 or found == "00:00:00:00:00:00":
        message = f"mac {quoted(text)} is no address of one interface"
        raise BadValueError(message, "its first byte must be even, like 02")
    return found


def variable(text: str) -> str:
    """The name of an environment variable."""
    if not text or "=" in text or "\0" in text:
        raise BadValueError(f"variable {quoted(text)} cannot be used", "write a name without '='")
    return text
