"""IPv4 addresses and networks in the notations that people write; messages name the rule. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, NetmaskValueError

from provision.model.findings import BadValueError
from provision.model.text import quoted

SMALLEST = 29  # a /29 has 5 addresses for containers besides the gateway
# Ranges that no host can have as its address (RFC 6890).
_UNUSABLE = {
    IPv4Network("0.0.0.0/8"): "in 0.0.0.0/8, which means 'this network'",
    IPv4Network("127.0.0.0/8"): "a loopback address, which never leaves its host",
    IPv4Network("224.0.0.0/4"): "in 224.0.0.0/4, which is multicast",
    IPv4Network("240.0.0.0/4"): "in 240.0.0.0/4, which is reserved",
}
_MAX_LENGTH = 60  # far above any address; int() of thousands of digits would be slow
_DOTTED = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})*")
_ADDRESS_HINT = "write four numbers, like 10.0.0.11"
_CIDR_HINT = "write it like 172.20.0.0/16"


def ipv4(text: str) -> IPv4Address:
    """The address of a host. Raises BadValueError."""
    if "/" in text:
        message = f"{quoted(text)} has a prefix length, but must be a single address"
        raise BadValueError(message, _did_you_mean(text.partition("/")[0], ipv4))
    address = _address(text)
    # Inside 240.0.0.0/4, but its own name helps more.
    if text == "255.255.255.255":
        hint = "write the address of a single host"
        raise BadValueError(f"{text} is the broadcast address", hint)
    for block, description in _UNUSABLE.items():
        if address in block:
            hint = "write an address that other hosts can reach"
            raise BadValueError(f"{text} is {description}", hint)
    return address


def cidr(text: str) -> IPv4Network:
    """The range of a network of containers. Raises BadValueError."""
    network = _network(text, cidr)
    if network.prefixlen > SMALLEST:
        raise BadValueError(*too_small(network))
    return _usable(network)


def too_small(network: IPv4Network) -> tuple[str, str]:
    """Message and hint for a range in which containers have no room."""
    return f"{network} is too small for a network of containers", f"the smallest is a /{SMALLEST}"


def subnet(text: str) -> IPv4Network:
    """A host's part of the range of a network, up to a /32. Raises BadValueError."""
    return _usable(_network(text, subnet))


def _usable(network: IPv4Network) -> IPv4Network:
    for block, description in _UNUSABLE.items():
        if network.overlaps(block):
            inside = network.subnet_of(block)
            problem = description if inside else f"wide enough to contain {block}"
            problem = problem.replace("a loopback address, which", "loopback, which")
            hint = "write a private network, like 172.20.0.0/16"
            raise BadValueError(f"{network} is {problem}", hint)
    return network


def source_range(text: str) -> IPv4Network:
    """A range of addresses from which packets come, up to a /32. Raises BadValueError."""
    if "/" not in text and text.count(".") == 3:
        raise BadValueError(f"{_address(text)} has no prefix length", f"did you mean {text}/32?")
    network = _network(text, source_range)
    for block, description in _UNUSABLE.items():
        if network.prefixlen and network.subnet_of(block):
            problem = description.replace("a loopback address, which", "loopback, which")
            hint = "write the addresses of machines, like 10.0.0.0/8"
            raise BadValueError(f"{text} is {problem}", hint)
    return network


def _address(text: str, suffix: str = "") -> IPv4Address:
    """The address in `text`; `suffix` is the prefix length for hints, such as `/16`."""
    if ":" in text and re.fullmatch(r"[0-9A-Fa-f:.%\w]*", text):
        hint = "write an IPv4 address: IPv6 is not supported here"
        raise BadValueError(f"{quoted(text)} is not an IPv4 address", hint)
    if len(text) > _MAX_LENGTH or not _DOTTED.fullmatch(text):
        raise BadValueError(f"{quoted(text)} is not an IPv4 address", _ADDRESS_HINT)
    parts = text.split(".")
    if len(parts) != 4:
        message = f"{text} has {len(parts)} of an IPv4 address's 4 numbers"
        raise BadValueError(message, "write it like 10.0.0.11")
    for part in parts:
        # inet_aton reads 010 as 8; Python refuses it only since 3.9.5 (CVE-2021-29921).
        if len(part) > 1 and part[0] == "0":
            decimal = ".".join(part.lstrip("0") or "0" for part in parts)
            message = f"{text} has a number with a leading zero, which some tools read as octal"
            check = cidr if suffix else ipv4
            raise BadValueError(message, _did_you_mean(decimal + suffix, check))
        if int(part) > 255:
            raise BadValueError(f"{text} is not an IPv4 address: {part} is more than 255")
    return IPv4Address(text)


def _network(text: str, check: Callable[[str], object]) -> IPv4Network:
    base, slash, prefix = text.partition("/")
    if ":" in base:
        _address(base)
    padded = _padded(base)
    if padded is None:
        raise BadValueError(f"{quoted(text)} is not a network", _CIDR_HINT)
    if not slash or base.count(".") != 3:
        guess = _did_you_mean(f"{padded}/{prefix or _classful_prefix(base)}", check)
        raise BadValueError(f"{quoted(text)} is not in CIDR notation", guess)
    _address(base, f"/{prefix}")
    return _with_prefix(base, prefix, check)


def _with_prefix(base: str, prefix: str, check: Callable[[str], object]) -> IPv4Network:
    text = f"{base}/{prefix}"
    if "." in prefix:
        try:
            network = IPv4Network(text, strict=False)
        except (NetmaskValueError, ValueError):
            raise BadValueError(f"{quoted(text)} is not in CIDR notation", _CIDR_HINT) from None
        raise BadValueError(f"{text} has a netmask", _did_you_mean(str(network), check))
    if not re.fullmatch(r"0|[1-9][0-9]?", prefix) or int(prefix) > 32:
        raise BadValueError(f"{quoted(text)} has no prefix length from 0 to 32", _CIDR_HINT)
    network = IPv4Network(text, strict=False)
    if str(network.network_address) != base:
        raise BadValueError(f"{text} has host bits set", _did_you_mean(str(network), check))
    return network


def _padded(base: str) -> str | None:
    """`10.1` as `10.1.0.0`; None if the text cannot be the beginning of an address."""
    parts = base.split(".")
    is_dotted = len(base) <= _MAX_LENGTH and _DOTTED.fullmatch(base) and len(parts) <= 4
    return ".".join([*parts, "0", "0", "0"][:4]) if is_dotted else None


def _classful_prefix(base: str) -> int:
    """The prefix length that trailing zeros suggest: 16 for 10.1 and 10.1.0.0."""
    parts = base.split(".")
    while len(parts) > 1 and parts[-1] == "0":
        parts.pop()
    return min(8 * len(parts), 24)


def _did_you_mean(text: str, check: Callable[[str], object]) -> str:
    """A hint that offers a text if `check` accepts it, else that check's own hint."""
    try:
        check(text)
    except BadValueError as error:
        return error.hint or (_CIDR_HINT if check is cidr else _ADDRESS_HINT)
    return f"did you mean {text}?"
