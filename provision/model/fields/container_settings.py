"""The forms of a container's settings, in the notation of Compose. Pure.

Each function returns the value in the one form that plans print and containers are compared in.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import PurePosixPath

from provision.model.fields.quantities import duration, duration_text, size
from provision.model.findings import BadValueError
from provision.model.text import quoted

_CAPABILITY = re.compile(r"(?:CAP_)?([A-Z0-9_]{2,40})")
_SYSCTL = re.compile(r"[a-z0-9_-]+(?:[./][A-Za-z0-9_-]+)+")
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})")
_DEVICE_HINT = "write it like /dev/ttyUSB0:/dev/ttyUSB0:rwm"
_ULIMIT = re.compile(r"-1|[0-9]{1,18}")
# https://man7.org/linux/man-pages/man2/getrlimit.2.html; Docker knows the same names.
_ULIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)
RESTARTS = ("no", "always", "on-failure", "unless-stopped")
TESTS = ("NONE", "CMD", "CMD-SHELL")


# Names that moby's package signal knows on Linux, besides RTMIN+1 to RTMAX-1.
_SIGNALS = (
    *("ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT"),
    *("KILL", "PIPE", "POLL", "PROF", "PWR", "QUIT", "RTMAX", "RTMIN", "SEGV", "STKFLT", "STOP"),
    *("SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "UNUSED", "URG", "USR1", "USR2", "VTALRM"),
    *("WINCH", "XCPU", "XFSZ"),
)
_REALTIME_SIGNAL = re.compile(r"RTMIN\+(?:[1-9]|1[0-5])|RTMAX-(?:[1-9]|1[0-4])")
# The kernel's sizes of a tmpfs: it takes one letter, and no `b` after it.
_KERNEL_SIZE = re.compile(r"(?:0x[0-9a-f]+|[0-9]+)[kmgtpe]?%?", re.IGNORECASE | re.ASCII)
_LEAST_MEMORY = 6 << 20
"""Docker refuses less, in bytes."""


def absolute_path(text: str) -> str:
    """A path inside the container. Raises BadValueError."""
    if not text.startswith("/") or "\0" in text:
        raise BadValueError(f"path {quoted(text)} is not absolute", "begin it with /")
    # Docker cleans the path of a working directory before it stores it.
    return "/" + str(PurePosixPath(text.lstrip("/"))) if text.strip("/") else "/"


def capability(text: str) -> str:
    """A capability without CAP_, which Docker's inspection shows or leaves out by its version."""
    match = _CAPABILITY.fullmatch(text.upper())
    if not match:
        raise BadValueError(f"capability {quoted(text)} cannot be used", "write it like NET_ADMIN")
    return match[1]


def device(text: str) -> str:
    """SOURCE:TARGET:PERMISSIONS of a device. Raises BadValueError."""
    source, _, rest = text.partition(":")
    target, _, permissions = rest.partition(":")
    if target and not target.startswith("/") and not permissions:
        target, permissions = "", target  # SOURCE:PERMISSIONS
    target, permissions = target or source, permissions or "rwm"
    if not (source.startswith("/") and target.startswith("/")) or "\0" in text:
        message = f"device {quoted(text)} is not an absolute path"
        raise BadValueError(message, _DEVICE_HINT)
    if not re.fullmatch(r"[rwm]{1,3}", permissions):
        message = f"device {quoted(text)}: unknown permissions {quoted(permissions)}"
        raise BadValueError(message, _DEVICE_HINT)
    return f"{source}:{target}:{permissions}"


def sysctl_name(text: str) -> str:
    """The name of a kernel setting. Raises BadValueError."""
    if not _SYSCTL.fullmatch(text):
        message = f"sysctl {quoted(text)} cannot be used"
        raise BadValueError(message, "write a name like net.core.somaxconn")
    return text


def ulimit_name(text: str) -> str:
    """The name of a resource limit. Raises BadValueError."""
    if text not in _ULIMITS:
        known = ", ".join(_ULIMITS)
        raise BadValueError(f"unknown limit {quoted(text)}", f"known limits: {known}")
    return text


def ulimit(soft: str, hard: str) -> str:
    """SOFT:HARD of a resource limit. Raises BadValueError."""
    for text in (soft, hard):
        if not _ULIMIT.fullmatch(text):
            raise BadValueError(f"limit {quoted(text)} is not a number", "write it like 65535")
    if soft == "-1" != hard or (hard != "-1" and int(soft) > int(hard)):
        message = f"the soft limit {soft} is larger than the hard limit {hard}"
        raise BadValueError(message, "write soft first: {soft: 1024, hard: 65535}")
    return f"{int(soft)}:{int(hard)}"


def extra_host(name: str) -> str:
    """A name for /etc/hosts of the container. Raises BadValueError."""
    if not _HOST_NAME.fullmatch(name):
        raise BadValueError(f"{quoted(name)} is not a host name", "write {db.example: 10.0.0.5}")
    return name


def extra_address(text: str) -> str:
    """The address of an extra host. Raises BadValueError."""
    if text == "host-gateway":
        return text
    try:
        return str(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError as error:
        message = f"{quoted(text)} is not an address"
        raise BadValueError(message, "write an address, or host-gateway") from error


def label_name(text: str) -> str:
    """The name of a label. Raises BadValueError."""
    if not text or "\0" in text:
        raise BadValueError("a label has no name", "write {com.example.role: web}")
    if text == "provision" or text.startswith("provision."):
        message = f"label {quoted(text)} is one of provision's own"
        raise BadValueError(message, "choose a name that does not begin with provision")
    return text


def user(text: str) -> str:
    """USER[:GROUP] of the container's process. Raises BadValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?", text):
        message = f"user {quoted(text)} cannot be used"
        raise BadValueError(message, "write a name or a number, like www-data or 1000:1000")
    return text


def hostname(text: str) -> str:
    """The host name inside the container. Raises BadValueError."""
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", text):
        message = f"hostname {quoted(text)} cannot be used"
        raise BadValueError(message, "write at most 63 letters, digits, '.' and '-'")
    return text


def restart(text: str) -> str | None:
    """A restart policy; None: the text is none."""
    policy, colon, number = text.partition(":")
    if colon and policy == "on-failure" and re.fullmatch(r"[0-9]{1,6}", number):
        return f"on-failure:{int(number)}" if int(number) else "on-failure"
    return text if text in RESTARTS else None


def length(text: str) -> str:
    """A duration of a health check. Raises BadValueError."""
    if 0 < duration(text) < 10**6:
        raise BadValueError(f"{quoted(text)} is less than 1ms", "Docker takes 1ms or more")
    return duration_text(duration(text))


def whole_seconds(text: str) -> str:
    """A duration of whole seconds. Raises BadValueError."""
    if duration(text) % 10**9:
        raise BadValueError(f"{quoted(text)} is not in whole seconds", "write it like 30s")
    return f"{duration(text) // 10**9}s"


def signal(text: str) -> str:
    """The name or number of a signal. Raises BadValueError."""
    name = text.removeprefix("SIG")
    is_known = name in _SIGNALS or _REALTIME_SIGNAL.fullmatch(name)
    if not is_known and not re.fullmatch(r"[1-9][0-9]?", text):
        raise BadValueError(f"signal {quoted(text)} cannot be used", "write it like SIGTERM")
    return text


def literal(text: str) -> str:
    """A text that Docker keeps as it is. Raises BadValueError."""
    if "\0" in text:
        raise BadValueError("the value holds a NUL character", "remove it")
    return text


def memory(text: str) -> str:
    """A limit of memory; 0 is none. Raises BadValueError."""
    if 0 < size(text) < _LEAST_MEMORY:
        raise BadValueError(f"mem_limit {quoted(text)} is less than 6m", "Docker takes 6m or more")
    return str(size(text))


def tmpfs_options(text: str) -> str:
    """The options of a file system in memory, which Docker hands to the kernel.

    Raises BadValueError.
    """
    for option in literal(text).split(","):
        name, _, value = option.partition("=")
        if name == "size" and not _KERNEL_SIZE.fullmatch(value):
            message = f"the kernel takes no size {quoted(value)} of a tmpfs"
            raise BadValueError(message, "write it like size=64m or size=1g")
    return text


def log_driver(text: str) -> str:
    """The name of a log driver. Raises BadValueError."""
    # Docker stores the name of its default in place of an empty one.
    if not text or "\0" in text:
        raise BadValueError("the name of the log driver is empty", "write it like json-file")
    return text


def shm_size(text: str) -> str:
    """The size of /dev/shm. Raises BadValueError."""
    # Docker stores its default in place of 0, so that each plan would show a difference.
    if not size(text):
        raise BadValueError("shm_size 0 stands for Docker's own size", "remove it")
    return str(size(text))


def cpus(text: str) -> str:
    """A number of processors. Raises BadValueError."""
    if not re.fullmatch(r"[0-9]{1,4}(?:\.[0-9]{1,9})?", text) or float(text) < 0.01:
        raise BadValueError(f"cpus {quoted(text)} cannot be used", 'write it like "1.5"')
    return f"{float(text):g}"


def test(arguments: list[str]) -> list[str]:
    """The command of a health check. Raises BadValueError."""
    kind = arguments[0] if arguments else ""
    number = {"NONE": 1, "CMD-SHELL": 2}.get(kind, len(arguments))
    if kind not in TESTS or len(arguments) != number or arguments == ["CMD"]:
        message = "the test of a health check must begin with CMD, CMD-SHELL or NONE"
        raise BadValueError(message, "write [CMD-SHELL, COMMAND] or [CMD, PROGRAM, ARGUMENT]")
    return arguments
