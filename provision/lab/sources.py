"""Where this machine gets its packages, read from apt's files. Pure.

Formats: sources.list(5), one-line and deb822 style; apt-config(8) `dump`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<rest>.+)$")
_OPTIONS = ("signed-by", "trusted", "check-valid-until", "check-date")
_DUMP = re.compile(
    r"^Acquire::(?:https?::.+|ftp::.+|\w+::Proxy.*|Check-Valid-Until|Check-Date|Retries"
    r'|ForceIPv[46]|Queue-Mode) ".+";$',
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Source:
    """One archive: its address and the options that apt is given for it."""

    uri: str
    suite: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ubuntu(self) -> bool:
        return "ubuntu" in f"{self.uri} {self.options.get('signed-by', '')}"

    def line(self, suite: str) -> str:
        """The source as one line for another suite of the same archive."""
        words = " ".join(f"{key}={value}" for key, value in self.options.items())
        return f"deb {f'[{words}] ' if words else ''}{self.uri} {suite} main"


def main_source(files: Mapping[str, str]) -> Source | None:
    """The machine's own archive among the texts of apt's source files, by name; or None.

    Its address is the one that serves a suite's `-updates` too, or ends in the distribution's
    name: other vendors use the suites' names as well.
    """
    found = [
        (source, components)
        for name, text in files.items()
        for source, components in (_deb822(text) if name.endswith(".sources") else _lines(text))
    ]
    uris = {source.uri for source, _ in found if source.suite.endswith("-updates")}
    for source, components in found:
        plain = "-" not in source.suite and "/" not in source.suite
        known = source.uri in uris or source.uri.rstrip("/").endswith(("/debian", "/ubuntu"))
        if plain and known and "main" in components:
            return source
    return None


def _lines(text: str) -> Iterator[tuple[Source, list[str]]]:
    for line in text.splitlines():
        if match := _LINE.match(line.split("#")[0].strip()):
            suite, *components = match["rest"].split()
            words = (match["options"] or "").split()
            given = dict(word.split("=", 1) for word in words if "=" in word)
            options = {key: given[key] for key in _OPTIONS if key in given}
            yield Source(match["uri"], suite, options), components


def _deb822(text: str) -> Iterator[tuple[Source, list[str]]]:
    for stanza in re.split(r"\n\s*\n", text):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes") == "no":
            continue
        # A key may stand in the file itself, over many lines; a path is all we can pass on.
        options = {key: fields[key] for key in _OPTIONS if len(fields.get(key, "").split()) == 1}
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri, suite, options), fields.get("components", "").split()


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace():
            fields[name] = f"{fields.get(name, '')}\n{line.strip()}"
        elif ":" in line:
            key, value = line.split(":", 1)
            name = key.strip().lower()
            fields[name] = value.strip()
    return fields


def apt_options(dump: str) -> tuple[str, ...]:
    """The lines of `apt-config dump` that say how archives are reached."""
    return tuple(line for line in dump.splitlines() if _DUMP.match(line))
