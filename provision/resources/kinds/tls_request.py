"""Kind `tls_request`: a private key that never leaves its host, and a signing request (CSR)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.lib.stash import Stashed
from provision.resources.on_hosts import ETC
from provision.resources.steps import Run, Steps, partial_path, remove_file, sh

# The request is written last and renamed: if it exists, the key is complete. Older
# OpenSSL has no `genpkey -quiet`.
_MAKE = """
if [ -s "$1.key" ] && [ -s "$1.csr" ]; then chown root "$1.key" && chmod 600 "$1.key"; exit; fi
mkdir -p -- "${1%/*}" || exit
umask 077
openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null ||
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" || exit
chmod 600 "$1.key" &&
  openssl req -new -sha256 -key "$1.key" -subj "/CN=$2" -out "$3" &&
  chmod 644 "$3" && sync "$1.key" "$3" && mv -f -- "$3" "$1.csr"
"""

# Our request names the role; a key without a request may be ours, from an interrupted run.
_IS_FOREIGN = r"""
[ -e "$1" ] || [ -h "$1" ] || exit 1
[ ! -f "$1" ] || [ -h "$1" ] ||
  ! openssl req -noout -subject -in "$1" 2>/dev/null | grep -q "CN *= *$2\$"
"""


def stem(inventory: str, network: str, role: str) -> str:
    """The path of a role's files, without the ending (`.key`, `.csr`, `.crt`, `.issued`)."""
    return f"{ETC}/{inventory}/pki/{network}.{role}"


@dataclass(frozen=True, slots=True)
class TlsRequest(Stashed, Resource):
    """The key of `role` in a network, and a request for its certificate.

    The folder is the mark: a complete pair belongs to the inventory. The request names only the
    key, because the controller decides about the addresses in the certificate. `key_protected` is
    False if somebody else than root may read the key file.
    """

    kind: ClassVar[str] = "tls_request"
    # The controller signs the request of the next snapshot: see `Certificate.csr`.
    changes_facts: ClassVar[bool] = True
    only_where: ClassVar[tuple[str, ...]] = (f'{ETC}/"$name"/pki',)
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
    key_protected: bool = True

    @property
    def name(self) -> str:
        return f"{self.network}.{self.role}"

    @property
    def _stem(self) -> str:
        return stem(self.inventory, self.network, self.role)

    def is_foreign(self) -> Run:
        return sh(_IS_FOREIGN, f"{self._stem}.csr", self.name)

    def create(self) -> Steps:
        return (sh(_MAKE, self._stem, self.name, partial_path(f"{self._stem}.csr")),)

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        # The name under which earlier versions wrote the request.
        partial = Run(("rm", "-f", "--", f"{self._stem}.csr.new"))
        return (partial, *remove_file(f"{self._stem}.key"), *remove_file(f"{self._stem}.csr"))

    @property
    def _paths(self) -> tuple[str, str]:
        return f"{self._stem}.csr", f"{self._stem}.key"

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        for line in text.splitlines():
            name, owner, mode = line.rsplit(" ", 2)
            # Names of networks contain no dot.
            network, role = name.split(".")
            protected = (owner, mode) == ("root", "600")
            yield Found(cls(origin.host, network, role, origin.inventory, protected), ours=True)
