"""Kind `tls_request`: a private key that never leaves its host, and a request signed by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.lib.stash import Stashed
from provision.resources.on_hosts import ETC
from provision.resources.steps import Steps, remove_file, sh

# The request comes last and by a rename: where it is, the key is whole.
_MAKE = """
if [ -s "$1.key" ] && [ -s "$1.csr" ]; then chown root "$1.key" && chmod 600 "$1.key"; exit; fi
mkdir -p -- "${1%/*}" || exit
umask 077
openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null ||
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" || exit
chmod 600 "$1.key" &&
  openssl req -new -sha256 -key "$1.key" -subj "/CN=$2" -out "$1.csr.new" &&
  chmod 644 "$1.csr.new" && sync "$1.key" "$1.csr.new" && mv -f -- "$1.csr.new" "$1.csr"
"""


def stem(inventory: str, network: str, role: str) -> str:
    """What the files of a role are called, without their ends."""
    return f"{ETC}/{inventory}/pki/{network}.{role}"


@dataclass(frozen=True, slots=True)
class TlsRequest(Stashed, Resource):
    """The key of `role` in a network, and a request signed by it. Found whole, it is ours.

    The names in the certificate are the controller's to choose, not the request's.
    """

    kind: ClassVar[str] = "tls_request"
    changes_facts: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
for request in {ETC}/"$name"/pki/*.csr; do
  key=${{request%.csr}}.key
  [ -f "$request" ] && [ -s "$key" ] && [ ! -h "$key" ] || continue
  request=${{request##*/}}; echo "${{request%.csr}} $(stat -c '%U %a' "$key")"
done
"""

    fingerprint: ClassVar[str] = rf"""
for file in {ETC}/*/pki/*.csr {ETC}/*/pki/*.key; do
  [ ! -f "$file" ] || echo "$(stat -c '%U %a %n' "$file") $(sha256sum <"$file")"
done
"""

    network: str
    role: str
    inventory: str
    guarded: bool = True

    @property
    def name(self) -> str:
        return f"{self.network}.{self.role}"

    @property
    def _stem(self) -> str:
        return stem(self.inventory, self.network, self.role)

    def create(self) -> Steps:
        return (sh(_MAKE, self._stem, self.name),)

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        return (*remove_file(f"{self._stem}.key"), *remove_file(f"{self._stem}.csr"))

    @property
    def _paths(self) -> tuple[str, str]:
        return f"{self._stem}.csr", f"{self._stem}.key"

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        for line in text.splitlines():
            name, owner, mode = line.rsplit(" ", 2)
            network, role = name.split(".")
            guarded = (owner, mode) == ("root", "600")
            yield Found(cls(scope.host, network, role, scope.inventory, guarded), ours=True)
