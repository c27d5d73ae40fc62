"""No key of a Compose file is accepted and then left out without a word.

Each document has every key with a value other than the default. Without the key, the containers,
the findings or the notes are others.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.inventory.compose import environment, supported
from provision.inventory.compose.placement import Placement
from provision.inventory.compose.project import read_project
from provision.inventory.compose.service import HANDLERS
from provision.inventory.compose.shape import Target
from provision.inventory.compose.values import ValueReader
from provision.inventory.yaml_reader import Node, Pair
from provision.model.findings import Position

DOCUMENTS: tuple[dict[str, Any], ...] = tuple(
    yaml.safe_load_all("""
name: own
version: "3"
services:
  a:
    x-provision: {host: h1}
    image: x:1
    command: run
    entrypoint: [sh]
    user: "1"
    working_dir: /w
    hostname: inner
    container_name: c
    restart: always
    init: true
    tty: true
    stdin_open: true
    privileged: true
    read_only: true
    shm_size: 1m
    mem_limit: 64m
    cpus: 2
    stop_signal: SIGHUP
    stop_grace_period: 3s
    cap_add: [NET_RAW]
    cap_drop: [ALL]
    group_add: ["5"]
    security_opt: [label:disable]
    labels: {l: "1"}
    sysctls: {net.x.y: 1}
    environment: {E: "1"}
    env_file: [{path: a.env}, {path: none.env, required: false}]
    healthcheck:
      test: [CMD, "true"]
      interval: 1s
      timeout: 2s
      start_period: 3s
      start_interval: 4s
      retries: 9
    logging: {driver: local, options: {max-size: 1m}}
    ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}
    extra_hosts: [db:10.0.0.1]
    tmpfs: [/run:size=1m]
    devices: [{source: /dev/a, target: /dev/b, permissions: r}]
    mac_address: 02:00:00:00:00:01
    depends_on:
      b: {condition: service_healthy, restart: true}
      left: {required: false}
    expose: [80]
    ports:
      - target: 80
        published: 8080
        protocol: udp
        host_ip: 10.0.0.1
        mode: host
        name: n
        app_protocol: http
    volumes:
      - type: bind
        source: /s
        target: /t
        read_only: true
        bind: {create_host_path: false}
        volume: {}
        tmpfs: {}
      - {type: volume, source: d, target: /d, bind: {}, tmpfs: {}}
      - type: tmpfs
        source: none
        target: /m
        read_only: true
        tmpfs: {size: 1gb, mode: 01777}
        bind: {}
        volume: {}
  b: {image: x:1, x-provision: {host: h1}, scale: 2, healthcheck: {disable: true}}
  left: {image: x:1, profiles: [debug]}
volumes:
  d: {name: dd, external: true}
---
services:
  a:
    x-provision: {host: h1}
    image: x:1
    deploy: {mode: global, replicas: 2, resources: {limits: {cpus: 1, memory: 1m}}}
    pull_policy: always
  b:
    x-provision: {host: h1}
    image: x:1
    networks: {back: {ipv4_address: 172.21.0.9, aliases: [alias]}}
  c:
    x-provision: {host: h1}
    image: x:1
    networks: {back: {mac_address: "02:00:00:00:00:02"}}
  d: {image: x:1, x-provision: {host: h1}, network_mode: host, volumes: [e:/e]}
networks:
  back: {name: red, external: true}
  own: {driver: overlay, name: other}
volumes:
  e: {labels: [x], driver: nfs}
---
services:
  a: {image: x:1, x-provision: {host: h1}}
networks:
  default: {name: blue, external: {name: red}}
""")
)
WITHOUT_EFFECT = {
    ("version",),
    ("services", "a", "depends_on", "left"),  # `required: false`: it may be left out
    *(("services", "a", key) for key in supported.WITHOUT_EFFECT),
    *(("services", "a", "ports", 0, key) for key in supported.PORT_KEYS_WITHOUT_EFFECT),
    # The name of the older form of `external` counts before it.
    ("networks", "default", "name"),
}
Keys = tuple[str | int, ...]


def paths(value: Any, above: Keys = ()) -> Iterator[Keys]:
    """Yield the path of every key of a document."""
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in children:
        if isinstance(value, dict):
            yield (*above, key)
        if isinstance(child, dict | list):
            yield from paths(child, (*above, key))


def without(document: dict[str, Any], path: Keys) -> dict[str, Any]:
    """The document without one key."""
    result = copy.deepcopy(document)
    place: Any = result
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return result


def outcome(folder: Path, document: dict[str, Any]) -> object:
    """What becomes of a document: containers, findings and notes, without their positions."""
    path = folder / "compose.yaml"
    path.write_text(json.dumps(document))
    (folder / "a.env").write_text("FILE=1\n")
    project = read_project(path, None)
    target = Target({}, "blue", {("network",): Position()}, ("red",))
    entries = [(each.name, each.entry) for each in Placement(project, target, ()).containers()]
    findings = [(finding.message, finding.hint) for finding in project.findings]
    return entries, findings, [re.sub(r"^\S*?:\d+:\d+: ", "", note) for note in project.notes]


CASES = [(k, path) for k, document in enumerate(DOCUMENTS) for path in paths(document)]


@pytest.mark.parametrize(
    ("k", "path"),
    CASES,
    ids=lambda each: ".".join(map(str, each)) if isinstance(each, tuple) else str(each),
)
def test_every_key_has_an_effect_or_a_line_about_it(k: int, path: Keys, tmp_path: Path) -> None:
    """Except those that the documentation lists."""
    document = DOCUMENTS[k]
    is_same = outcome(tmp_path, without(document, path)) == outcome(tmp_path, document)
    assert is_same == (path in WITHOUT_EFFECT)


def test_the_documents_have_every_key_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that a reader learns has to be added above."""
    read: set[tuple[tuple[str, ...], str]] = set()
    used: set[tuple[tuple[str, ...], str]] = set()
    original = ValueReader.only

    def only(self: ValueReader, node: Node, key: str, known: tuple[str, ...]) -> dict[str, Pair]:
        pairs = original(self, node, key, known)
        read.update((known, name) for name in known)
        used.update((known, name) for name in pairs)
        return pairs

    monkeypatch.setattr(ValueReader, "only", only)
    for document in DOCUMENTS:
        outcome(tmp_path, document)
    assert not read - used
    services = [each for document in DOCUMENTS for each in document["services"].values()]
    keys = {key for service in services for key in service}
    assert not {*HANDLERS, *environment.KEYS, *supported.WITHOUT_EFFECT} - keys
    assert not set(supported.TOP_KEYS) - {key for document in DOCUMENTS for key in document}


def test_a_wrong_key_is_not_blamed_on_a_variable(tmp_path: Path) -> None:
    """A mapping begins at its first key, and one of its other texts lacks a variable."""
    path = tmp_path / "compose.yaml"
    path.write_text("services:\n  web:\n    imagee: x\n    image: x\n    user: ${PROVISION_NONE}\n")
    project = read_project(path, None)
    assert [finding.message for finding in project.findings] == [
        "unknown key 'imagee' of a service"
    ]
    assert Position(path, 3, 5) not in project.unset
    assert project.unset[Position(path, 5, 11)] == ("PROVISION_NONE",)
