"""Facts of a host that only flannel needs: flanneld, TLS files, etcd's data and answers. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

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
    answered to this host, by network; without an answer there is no entry. `endpoints` are the
    URLs of the user's etcd, each with the reason why the host cannot connect; empty if it can.
    """

    flanneld: str = ""
    flanneld_version: tuple[int, ...] = ()
    tls_files: Mapping[str, str] = field(default_factory=dict)
    etcd_data: Mapping[str, str] = field(default_factory=dict)
    etcd_keys: Mapping[str, etcd_keys.Keys] = field(default_factory=dict)
    etcd_members: Mapping[str, tuple[EtcdMember, ...]] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)


def probe(endpoints: Iterable[str] = ()) -> FactsProbe:
    """The probe of a host of a flannel network; `endpoints` are those of the user's etcd."""
    variables = {
        "etcd_member": program_text("look/etcd_member.pl"),
        "etcd_endpoints": " ".join(dict.fromkeys(endpoints)),
        "tcp_connect": program_text("look/tcp_connect.pl"),
    }
    lines = [f"{name}={shlex.quote(text)}" for name, text in variables.items()]
    text = "\n".join([*lines, program_text("look/flanneld.sh")])
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
        etcd_keys=_answers(lines.every("etcd")),
        etcd_members={
            network: _members(answer)
            for network, answer in map(_fields, lines.every("etcd_members"))
        },
        endpoints=dict(map(_fields, lines.every("endpoint"))),
    )


def _fields(text: str) -> tuple[str, str]:
    name, _, content = text.partition(" ")
    return name, content


def _answers(answers: Iterable[str]) -> dict[str, etcd_keys.Keys]:
    lines = "\n".join(f"etcd {answer}" for answer in answers)
    return {network: keys for network, keys in etcd_keys.networks(lines) if keys is not None}


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
