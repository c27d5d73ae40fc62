"""IPv4 addresses and networks as people write them; each mistake is answered by its rule. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, NetmaskValueError

from provision.model.findings import BadValueError
from provision.model.text import quoted

SMALLEST = 29  # a /29 has 5 addresses for containers beside the gateway
_UNUSABLE = {
    "0.0.0.0/8": "in 0.0.0.0/8, which means 'this network'",
    "127.0.0.0/8": "a loopback address, which never leaves its host",
    "224.0.0.0/4": "in 224.0.0.0/4, which is multicast",
    "240.0.0.0/4": "in 240.0.0.0/4, which is reserved",
}
_RANGES = {IPv4Network(cidr): words for cidr, words in _UNUSABLE.items()}
_LONGEST = 60  # far above any address; longer text would only fill the message
_DOTTED = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})*")


def ipv4(text: str) -> IPv4Address:
    """An address that a machine can have, or `BadValueError`."""
    if "/" in text:
        bare = text.partition("/")[0]
        raise BadValueError(
            f"{quoted(text)} has a prefix length, but one address is wanted", _mean(bare)
        )
    address = _address(text)
    if text == "255.255.255.255":
        raise BadValueError(f"{text} is the broadcast address", "write the address of one machine")
    for block, words in _RANGES.items():
        if address in block:
            raise BadValueError(f"{text} is {words}", "write an address that other machines reach")
    return address


def cidr(text: str) -> IPv4Network:
    """A network that containers can have, or `BadValueError`."""
    network = _network(text)
    if network.prefixlen > SMALLEST:
        raise BadValueError(
            f"{text} is too small for a network of containers",
            f"the smallest is a /{SMALLEST}",
        )
    for block, words in _RANGES.items():
        if network.overlaps(block):
            within = words if network.subnet_of(block) else f"wide enough to hold {block}"
            within = within.replace("a loopback address, which", "loopback, which")
            raise BadValueError(
                f"{text} is {within}", "write a private network, like 172.20.0.0/16"
            )
    return network


def _address(text: str, suffix: str = "") -> IPv4Address:
    if ":" in text and re.fullmatch(r"[0-9A-Fa-f:.%\w]*", text):
        raise BadValueError(
            f"{quoted(text)} is no IPv4 address", "IPv6 is not supported; write IPv4"
        )
    parts = text.split(".")
    if len(text) > _LONGEST or not _DOTTED.fullmatch(text):
        raise BadValueError(
            f"{quoted(text)} is no IPv4 address", "write four numbers, like 10.0.0.11"
        )
    if len(parts) != 4:
        raise BadValueError(
            f"{text} has {len(parts)} of an IPv4 address's 4 numbers", "write it like 10.0.0.11"
        )
    for part in parts:
        if len(part) > 1 and part[0] == "0":
            raise BadValueError(
                f"{text} has a number with a leading zero, which some tools read as octal",
                _mean(".".join(part.lstrip("0") or "0" for part in parts) + suffix),
            )
        if int(part) > 255:
            raise BadValueError(f"{text} is no IPv4 address: {part} is more than 255")
    return IPv4Address(text)


def _network(text: str) -> IPv4Network:
    base, slash, prefix = text.partition("/")
    if ":" in base:
        _address(base)
    full = _padded(base)
    if full is None:
        raise BadValueError(f"{quoted(text)} is no network", "write it like 172.20.0.0/16")
    if not slash or base.count(".") != 3:
        raise BadValueError(
            f"{quoted(text)} is no CIDR", _mean(f"{full}/{prefix or _natural(base)}")
        )
    _address(base, f"/{prefix}")
    return _masked(base, prefix)


def _masked(base: str, prefix: str) -> IPv4Network:
    text = f"{base}/{prefix}"
    if "." in prefix:
        try:
            network = IPv4Network(text, strict=False)
        except (NetmaskValueError, ValueError):
            raise BadValueError(
                f"{quoted(text)} is no CIDR", "write it like 172.20.0.0/16"
            ) from None
        raise BadValueError(f"{text} has a netmask", _mean(str(network)))
    if not re.fullmatch(r"0|[1-9][0-9]?", prefix) or int(prefix) > 32:
        raise BadValueError(
            f"{quoted(text)} has no prefix length from 0 to 32", "write it like 172.20.0.0/16"
        )
    network = IPv4Network(text, strict=False)
    if str(network.network_address) != base:
        raise BadValueError(f"{text} has host bits set", _mean(str(network)))
    return network


def _padded(base: str) -> str | None:
    """`10.1` as `10.1.0.0`; None where the text is no beginning of an address."""
    parts = base.split(".")
    good = len(base) <= _LONGEST and _DOTTED.fullmatch(base) and len(parts) <= 4
    return ".".join([*parts, "0", "0", "0"][:4]) if good else None


def _natural(base: str) -> int:
    """The prefix length that trailing zeros suggest: 10.1 and 10.1.0.0 are a /16."""
    parts = base.split(".")
    while len(parts) > 1 and parts[-1] == "0":
        parts.pop()
    return min(8 * len(parts), 24)


def _mean(text: str) -> str:
    return f"did you mean {text}?"
