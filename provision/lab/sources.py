"""The Debian archive that this machine uses, read from apt's configuration. Pure.

Formats: sources.list(5), one-line style and deb822 style; `apt-config dump`, apt-config(8).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<rest>.+)$")
# Options of a source that an archive may need to be usable, e.g. an old snapshot, whose Release
# file has expired (check-valid-until).
_OPTIONS = ("signed-by", "trusted", "check-valid-until", "check-date")
_DUMP = re.compile(
    r"^Acquire::(?:https?::.+|ftp::.+|\w+::Proxy.*|Check-Valid-Until|Check-Date|Retries"
    r'|ForceIPv[46]|Queue-Mode) ".+";$',
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Source:
    """One archive: its URI, one of its suites, and the options for apt (keys in lower case)."""

    uri: str
    suite: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ubuntu(self) -> bool:
        """True if the URI or the keyring names Ubuntu."""
        return "ubuntu" in f"{self.uri} {self.options.get('signed-by', '')}"

    def line(self, suite: str) -> str:
        """A sources.list line for `suite` of the same archive."""
        options = " ".join(f"{key}={value}" for key, value in self.options.items())
        return f"deb {f'[{options}] ' if options else ''}{self.uri} {suite} main"


def main_source(files: Mapping[str, str]) -> Source | None:
    """The source of the machine's distribution; None if there is none.

    `files` maps the names of apt's source files to their texts. Other vendors name their suites
    after the distribution's (`bookworm`), too. The distribution's own archive is the one that
    also serves a suite `…-updates`, or whose URI ends in `/debian` or `/ubuntu`.
    """
    sources = [
        (source, components)
        for name, text in files.items()
        for source, components in (_deb822(text) if name.endswith(".sources") else _lines(text))
    ]
    uris = {source.uri for source, _ in sources if source.suite.endswith("-updates")}
    for source, components in sources:
        plain = "-" not in source.suite and "/" not in source.suite
        known = source.uri in uris or source.uri.rstrip("/").endswith(("/debian", "/ubuntu"))
        if plain and known and "main" in components:
            return source
    return None


def _lines(text: str) -> Iterator[tuple[Source, list[str]]]:
    for line in text.splitlines():
        if match := _LINE.match(line.split("#")[0].strip()):
            suite, *components = match["rest"].split()
            pairs = (match["options"] or "").split()
            value_by_key = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
            options = {key: value_by_key[key] for key in _OPTIONS if key in value_by_key}
            yield Source(match["uri"], suite, options), components


def _deb822(text: str) -> Iterator[tuple[Source, list[str]]]:
    for stanza in re.split(r"\n\s*\n", text):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes") == "no":
            continue
        # deb822 allows a whole key in Signed-By, on several lines. The one-line style that we
        # write allows only a path: leave such a key out.
        options = {key: fields[key] for key in _OPTIONS if len(fields.get(key, "").split()) == 1}
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri, suite, options), fields.get("components", "").split()


def _fields(stanza: str) -> dict[str, str]:
    """Fields of a deb822 stanza by lower-case name; continuation lines are joined."""
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
    """The lines of `apt-config dump` about access to archives: proxies, TLS, retries, expiry."""
    return tuple(line for line in dump.splitlines() if _DUMP.match(line))
