"""Kind `certificate`: what the inventory's own authority says of a host's key."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.kinds.tls_request import stem
from provision.resources.lib.base64_text import plain
from provision.resources.on_hosts import ETC
from provision.resources.render import program_text
from provision.resources.steps import Issue, Put, Run, Steps, remove_file

DAYS, RENEW_DAYS = 730, 180
"""A certificate's life, and how long before its end an apply makes the next."""


@dataclass(frozen=True, slots=True)
class Certificate(Resource):
    """A certificate of `role` for `addresses`; `server`: not only for a client.

    `request` and `authority` are the sha256 of the request that it answers and of the authority's
    certificate; `fresh` and `intact`: it serves for a while, and is what was issued.
    `csr` and `trusted` are those files, `signer` where the controller has the authority's key;
    `held` are paths and texts of one that was found, which is brought back rather than signed.
    """

    kind: ClassVar[str] = "certificate"
    probe: ClassVar[str] = f"renew_seconds={RENEW_DAYS * 86400}\n" + program_text(
        "look/certificate.sh"
    )
    fingerprint: ClassVar[str] = rf"""
for file in {ETC}/*/pki/*.crt {ETC}/*/pki/*.issued; do
  [ ! -f "$file" ] || echo "$file $(sha256sum <"$file")"
done
"""

    network: str
    role: str
    inventory: str
    addresses: tuple[str, ...]
    server: bool
    request: str
    authority: str
    fresh: bool = True
    intact: bool = True
    until: str = field(default="", compare=False)
    csr: str = field(default="", compare=False)
    trusted: str = field(default="", compare=False)
    signer: Path = field(default=Path(), compare=False)
    users: tuple[str, ...] = field(default=(), compare=False)
    held: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return f"{self.network}.{self.role}"

    @property
    def _stem(self) -> str:
        return stem(self.inventory, self.network, self.role)

    def requires(self) -> tuple[Ref, ...]:
        return (Ref(self.host, "tls_request", self.name),)

    def create(self) -> Steps:
        if self.held:
            return tuple(Put(path, text) for path, text in self.held)
        said = {
            "addresses": self.addresses,
            "server": self.server,
            "request": self.request,
        }
        return (
            Issue(
                self.csr,
                self.signer,
                self.trusted,
                self.name,
                self.addresses,
                self.server,
                DAYS,
                self._stem,
                stem(self.inventory, self.network, "ca") + ".crt",
                json.dumps(said),
            ),
        )

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        # They have read the old one. Not waited for: etcd starts when most of its members have.
        restart = Run(("systemctl", "--no-block", "try-restart", *self.users))
        return (*self.create(), *((restart,) if self.users else ()))

    def delete(self) -> Steps:
        ca = f"{ETC}/{self.inventory}/pki/{self.network}.ca.crt"
        ends = (step for end in ("crt", "issued") for step in remove_file(f"{self._stem}.{end}"))
        last = 'ls "$1".*.issued >/dev/null 2>&1 || rm -f -- "$2"'
        prefix = ca.removesuffix(".ca.crt")
        return (
            *ends,
            Run(("sh", "-c", last, "sh", prefix, ca)),
            *remove_file(f"{self._stem}.issued"),
        )

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        lines = [line.split(" ", 1) for line in text.splitlines()]
        sums, texts = {}, {}
        for word, rest in lines:
            if word == "sum":
                value, name = rest.split(maxsplit=1)
                sums[name] = value
            elif word == "file":
                name, content = rest.split(" ")
                texts[name] = plain(content)
        for word, rest in lines:
            if word == "issued":
                yield Found(_certificate(rest, sums, texts, scope), ours=True)


def _certificate(
    line: str, sums: dict[str, str], texts: dict[str, str], scope: Origin
) -> Certificate:
    name, fresh, encoded, until = line.split(" ", 3)
    network, role = name.split(".")
    said = _object(b64decode(encoded))
    return Certificate(
        host=scope.host,
        network=network,
        role=role,
        inventory=scope.inventory,
        addresses=tuple(said.get("addresses", ())),
        server=bool(said.get("server")),
        request=said.get("request", ""),
        authority=sums.get(f"{network}.ca.crt", ""),
        fresh=fresh == "yes",
        intact=sums.get(f"{name}.crt") == said.get("certificate"),
        until=until,
        users=(user(scope.inventory, network, role),),
        held=_held(scope.inventory, network, name, texts, b64decode(encoded)),
    )


def _held(
    inventory: str, network: str, name: str, texts: dict[str, str], record: bytes
) -> tuple[tuple[str, str], ...]:
    folder = f"{ETC}/{inventory}/pki"
    ends = (f"{network}.ca.crt", f"{name}.crt")
    files = tuple((f"{folder}/{end}", texts[end]) for end in ends if end in texts)
    return (*files, (f"{folder}/{name}.issued", record.decode("utf-8", "replace")))


def _object(raw: bytes) -> dict[str, Any]:
    """What was written when it was issued; something else is not as wanted."""
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def user(inventory: str, network: str, role: str) -> str:
    """The service that shows a role's certificate."""
    return f"provision-{inventory}-{network}-{'etcd' if role == 'member' else 'flanneld'}.service"


def digest(text: str) -> str:
    """As `sha256sum` prints it."""
    return sha256(text.encode()).hexdigest()
