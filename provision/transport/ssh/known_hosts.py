"""known_hosts files by OpenSSH's rules; the format is that of sshd(8), SSH_KNOWN_HOSTS FILE FORMAT.

paramiko's reader ends at the first damaged line, knows neither patterns nor markers, and keeps one
key of a kind. asyncssh's reader costs more to import than a whole run on three hosts may get
slower, and `ssh-keygen -F` is one process for each file and host.
"""

from __future__ import annotations

import binascii
import hmac
import re
from base64 import b64decode
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

AUTHORITY, REVOKED = "@cert-authority", "@revoked"
_MARKERS = ("", AUTHORITY, REVOKED)
_HASHED = "|1|"  # HMAC-SHA1: |1|salt|hash, both in base64


@dataclass(frozen=True, slots=True)
class Entry:
    """A line: its number, marker (or empty), host patterns, and the key (RFC 4253, 6.6)."""

    number: int
    marker: str
    hosts: str
    kind: str
    key: bytes

    def matches(self, name: str) -> bool:
        """True if the line is for a host of this name (`HOST` or `[HOST]:PORT`, lower case)."""
        if self.hosts.startswith(_HASHED):
            return _hash_matches(self.hosts, name)
        patterns = (text for text in self._listed if not text.startswith("!"))
        return not self.excludes(name) and any(_pattern(text).fullmatch(name) for text in patterns)

    def excludes(self, name: str) -> bool:
        """True if a pattern with `!` is for a host of this name."""
        excluded = (text[1:] for text in self._listed if text.startswith("!"))
        return any(_pattern(text).fullmatch(name) for text in excluded)

    @property
    def _listed(self) -> list[str]:
        return self.hosts.lower().split(",")


@dataclass(frozen=True)
class KnownHosts:
    """The entries of one file, and the numbers of the lines that cannot be read."""

    entries: tuple[Entry, ...] = ()
    damaged: tuple[int, ...] = ()

    def of(self, name: str) -> tuple[Entry, ...]:
        """The entries for a name, as `Entry.matches` takes it, in file order."""
        patterns = (entry for entry in self._patterns if entry.matches(name))
        return tuple(sorted((*self._plain.get(name, ()), *patterns), key=lambda each: each.number))

    @cached_property
    def _plain(self) -> dict[str, list[Entry]]:
        """Entries without patterns, by name: 1,000 hosts look up their names in 1,000 lines."""
        plain: dict[str, list[Entry]] = {}
        for entry in self.entries:
            if not _is_pattern(entry.hosts):
                for name in set(entry.hosts.lower().split(",")):
                    plain.setdefault(name, []).append(entry)
        return plain

    @cached_property
    def _patterns(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if _is_pattern(entry.hosts))


def read(path: Path) -> KnownHosts:
    """The entries of a file; none if it cannot be read, as for ssh."""
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError:
        return KnownHosts()


@cache
def _read(path: Path, _mtime_ns: int) -> KnownHosts:
    # Cached: each of 50 hosts would parse the same file with 50 keys.
    return parse(path.read_bytes())


def parse(text: bytes) -> KnownHosts:
    """The entries of a file's text."""
    entries, damaged = [], []
    for number, line in enumerate(text.split(b"\n"), 1):
        fields = line.decode("utf-8", "replace").split()
        if not fields or fields[0].startswith("#"):
            continue
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        key = _key(*fields[1:3]) if len(fields) >= 3 else None
        if key is None or marker not in _MARKERS:
            damaged.append(number)
        else:
            entries.append(Entry(number, marker, fields[0], fields[1], key))
    return KnownHosts(tuple(entries), tuple(damaged))


def port_form(name: str, port: int) -> str:
    """A host's name in known_hosts: `[HOST]:PORT` unless the port is 22."""
    return name if port == 22 else f"[{name}]:{port}"


def _key(kind: str, base64: str) -> bytes | None:
    """The decoded key; None unless it is one of this kind."""
    try:
        key = b64decode(base64, validate=True)
    except (binascii.Error, ValueError):
        return None
    # Each key is a list of strings: its kind, and at least one number. A cut one ends in a string.
    strings = []
    rest = key
    while rest:
        end = 4 + int.from_bytes(rest[:4], "big")
        if len(rest) < end:
            return None
        strings.append(rest[4:end])
        rest = rest[end:]
    return key if len(strings) > 1 and strings[0] == kind.encode() else None


def _is_pattern(hosts: str) -> bool:
    return hosts.startswith(_HASHED) or not {"*", "?", "!"}.isdisjoint(hosts)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    wildcards = {"*": ".*", "?": "."}
    return re.compile("".join(wildcards.get(sign) or re.escape(sign) for sign in text))


def _hash_matches(hosts: str, name: str) -> bool:
    salt, _, digest = hosts.removeprefix(_HASHED).partition("|")
    try:
        expected = hmac.digest(b64decode(salt), name.encode(), "sha1")
        return hmac.compare_digest(expected, b64decode(digest))
    except (binascii.Error, ValueError):
        return False
