"""Kind `certificate`: a TLS certificate of the inventory's own authority for a key of the host."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from provision.resources.base import Found, Origin, Ref, Resource, keyed_lines
from provision.resources.kinds.tls_request import stem
from provision.resources.lib.base64_text import decode_text
from provision.resources.on_hosts import ETC, service_name
from provision.resources.render import program_text
from provision.resources.steps import Issue, Put, Run, Steps, remove_file, sh

# Half a year is time enough for one `apply`, also on hosts that rarely change.
DAYS, RENEW_DAYS = 730, 180
"""Lifetime of a certificate, and how long before its end `apply` replaces it, in days."""

# A certificate without our record (`.issued`) is ours if it names the role.
_IS_FOREIGN = r"""
[ -e "$1.crt" ] || [ -h "$1.crt" ] || exit 1
[ ! -f "$1.issued" ] || exit 1
[ ! -f "$1.crt" ] || [ -h "$1.crt" ] ||
  ! openssl x509 -noout -subject -in "$1.crt" 2>/dev/null | grep -q "CN *= *$2\$"
"""
_REMOVE_UNUSED_AUTHORITY = 'ls "$1".*.issued >/dev/null 2>&1 || rm -f -- "$2"'


@dataclass(frozen=True, slots=True)
class Certificate(Resource):
    """The certificate of `role` for the IP addresses `addresses`.

    With `server` it is valid for TLS servers and clients, otherwise for clients only. `request` and
    `authority` are sha256 sums of the signing request and of the authority's certificate; `csr` and
    `trusted` are those files in PEM. `fresh` is False within `RENEW_DAYS` of the end, `intact` is
    False if the file is not the one that was issued. `signer` is the authority's key on the
    controller, without `.key`. `services` read the certificate at their start. `files` are paths
    and texts of a parsed certificate, with which a rollback restores it unsigned.
    """

    kind: ClassVar[str] = "certificate"
    only_where: ClassVar[tuple[str, ...]] = (f'{ETC}/"$name"/pki',)
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
    expires: str = field(default="", compare=False)
    csr: str = field(default="", compare=False)
    trusted: str = field(default="", compare=False)
    signer: Path = field(default=Path(), compare=False)
    services: tuple[str, ...] = field(default=(), compare=False)
    files: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return f"{self.network}.{self.role}"

    @property
    def _stem(self) -> str:
        return stem(self.inventory, self.network, self.role)

    def requires(self) -> tuple[Ref, ...]:
        return (Ref(self.host, "tls_request", self.name),)

    def is_foreign(self) -> Run:
        return sh(_IS_FOREIGN, self._stem, self.name)

    def create(self) -> Steps:
        if self.files:
            return tuple(Put(path, text) for path, text in self.files)
        record = {"addresses": self.addresses, "server": self.server, "request": self.request}
        issue = Issue(
            request=self.csr,
            signer=self.signer,
            trusted=self.trusted,
            subject=self.name,
            addresses=self.addresses,
            server=self.server,
            days=DAYS,
            target=self._stem,
            authority=self._authority,
            record=json.dumps(record),
        )
        return (issue,)

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        # The services have loaded the old certificate. --no-block, because etcd finishes its start
        # only when a majority of its members run: two hosts would wait for each other.
        restart = Run(("systemctl", "--no-block", "try-restart", *self.services))
        return (*self.create(), *((restart,) if self.services else ()))

    def delete(self) -> Steps:
        certificate, record = f"{self._stem}.crt", f"{self._stem}.issued"
        prefix = self._authority.removesuffix(".ca.crt")
        # All roles of a network share the authority's certificate; the last one removes it.
        last = sh(_REMOVE_UNUSED_AUTHORITY, prefix, self._authority)
        files = (*remove_file(certificate), *remove_file(record))
        return (*files, last, *remove_file(record))

    @property
    def _authority(self) -> str:
        return stem(self.inventory, self.network, "ca") + ".crt"

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        # `sha256sum` separates by two spaces.
        sums = dict(rest.split(maxsplit=1)[::-1] for key, rest in lines if key == "sum")
        files = dict(rest.split(" ") for key, rest in lines if key == "file")
        texts = {name: decode_text(content) for name, content in files.items()}
        for key, rest in lines:
            if key == "issued":
                yield Found(_certificate(rest, sums, texts, origin), ours=True)


def _certificate(
    line: str, sums: dict[str, str], texts: dict[str, str], origin: Origin
) -> Certificate:
    name, fresh, encoded, expires = line.split(" ", 3)
    network, role = name.split(".")
    record = _json_object(b64decode(encoded))
    return Certificate(
        host=origin.host,
        network=network,
        role=role,
        inventory=origin.inventory,
        addresses=tuple(record.get("addresses", ())),
        server=bool(record.get("server")),
        request=record.get("request", ""),
        authority=sums.get(f"{network}.ca.crt", ""),
        fresh=fresh == "yes",
        intact=sums.get(f"{name}.crt") == record.get("certificate"),
        expires=expires,
        services=(service_of(origin.inventory, network, role),),
        files=_files(origin.inventory, name, texts, b64decode(encoded)),
    )


def _files(
    inventory: str, name: str, texts: dict[str, str], record: bytes
) -> tuple[tuple[str, str], ...]:
    folder = f"{ETC}/{inventory}/pki"
    names = (f"{name.split('.')[0]}.ca.crt", f"{name}.crt")
    files = tuple((f"{folder}/{file}", texts[file]) for file in names if file in texts)
    return (*files, (f"{folder}/{name}.issued", record.decode("utf-8", "replace")))


def _json_object(raw: bytes) -> dict[str, Any]:
    """The record of a certificate; a damaged one is empty, so that it is issued again."""
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def service_of(inventory: str, network: str, role: str) -> str:
    """The service that uses a role's certificate."""
    return service_name(inventory, network, "etcd" if role == "member" else "flanneld")


def digest(text: str) -> str:
    """The sha256 of a text, as `sha256sum` prints it."""
    return sha256(text.encode()).hexdigest()
