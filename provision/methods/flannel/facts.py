"""Facts of a host that only flannel needs: its own flanneld, and its TLS files. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from provision.facts.host_probe import version
from provision.facts.lines import KeyedLines
from provision.facts.probe import FactsProbe
from provision.resources.lib.base64_text import decode_text
from provision.resources.render import program_text


@dataclass(frozen=True, slots=True)
class FlannelFacts:
    """`flanneld` is the path of one that the host had before us; empty where there is none.

    `tls_files` are certificate requests and CA certificates, by the names of their files.
    """

    flanneld: str = ""
    flanneld_version: tuple[int, ...] = ()
    tls_files: Mapping[str, str] = field(default_factory=dict)


def probe() -> FactsProbe:
    """The probe of a host of a flannel network."""
    return FactsProbe("flanneld", program_text("look/flanneld.sh"), _parse)


def _parse(text: str) -> FlannelFacts:
    lines = KeyedLines(text)
    path, _, number = lines.only("flanneld", "").partition(" ")
    # flanneld prints `v0.26.7`.
    return FlannelFacts(
        flanneld=path,
        flanneld_version=version(number.removeprefix("v")),
        tls_files={
            name: decode_text(content) for name, content in map(_fields, lines.every("tls"))
        },
    )


def _fields(text: str) -> tuple[str, str]:
    name, content = text.split(" ")
    return name, content
