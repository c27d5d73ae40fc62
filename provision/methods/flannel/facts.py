"""Facts of a host that only flannel needs: flanneld, TLS files, etcd's data and answers. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from provision.facts.host_probe import version
from provision.facts.lines import KeyedLines
from provision.facts.probe import FactsProbe
from provision.resources.lib import etcd_keys
from provision.resources.lib.base64_text import decode_text
from provision.resources.render import program_text

NO_DATA, UNREADABLE = "-", "?"
"""Instead of a member's id: the folder holds no data, or data that cannot be read."""


@dataclass(frozen=True, slots=True)
class EtcdMember:
    """An entry of the list of members that an etcd cluster keeps.

    `id` is hexadecimal, `peer` is the URL for other members. `name` is empty for a member that was
    added and has not started yet. `started`: it has told its URL for clients.
    """

    id: str
    name: str
    peer: str
    started: bool
    learner: bool


@dataclass(frozen=True, slots=True)
class FlannelFacts:
    """`flanneld` is the path of one that the host had before us; empty where there is none.

    `tls_files` are certificate requests and CA certificates, by the names of their files.
    `etcd_data` are the ids that etcd members have in their data (or `NO_DATA`, `UNREADABLE`), by
    the name of the data folder. `etcd_keys` and `etcd_members` are what the etcd of a network
    answered to this host, by network; without an answer there is no entry.
    """

    flanneld: str = ""
    flanneld_version: tuple[int, ...] = ()
    tls_files: Mapping[str, str] = field(default_factory=dict)
    etcd_data: Mapping[str, str] = field(default_factory=dict)
    etcd_keys: Mapping[str, etcd_keys.Keys] = field(default_factory=dict)
    etcd_members: Mapping[str, tuple[EtcdMember, ...]] = field(default_factory=dict)


def probe() -> FactsProbe:
    """The probe of a host of a flannel network."""
    program = shlex.quote(program_text("look/etcd_member.pl"))
    text = f"etcd_member={program}\n{program_text('look/flanneld.sh')}"
    return FactsProbe("flanneld", text, _parse)


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
        etcd_data=dict(map(_fields, lines.every("etcd_data"))),
        etcd_keys={
            network: _keys(answer)
            for network, answer in map(_fields, lines.every("etcd"))
            if answer != etcd_keys.DOWN
        },
        etcd_members={
            network: _members(answer)
            for network, answer in map(_fields, lines.every("etcd_members"))
        },
    )


def _fields(text: str) -> tuple[str, str]:
    name, content = text.split(" ", 1)
    return name, content


# Most hosts get the same answer: 500 hosts with 1000 keys each would be 150 MB.
@lru_cache(maxsize=8)
def _keys(answer: str) -> etcd_keys.Keys:
    return etcd_keys.decode_keys(answer)


def _members(answer: str) -> tuple[EtcdMember, ...]:
    """The entries of `etcdctl member list -w json`; it leaves out fields that are empty."""
    return tuple(
        EtcdMember(
            id=f"{entry['ID']:x}",
            name=entry.get("name", ""),
            peer=",".join(entry["peerURLs"]),
            started=bool(entry.get("clientURLs")),
            learner=bool(entry.get("isLearner")),
        )
        for entry in json.loads(answer).get("members") or ()
    )
