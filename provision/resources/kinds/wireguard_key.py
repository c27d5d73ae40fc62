"""Kind `wireguard_key`: a private key of WireGuard that never leaves its host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from provision.model.names import interface_name
from provision.resources.base import Found, Origin, Resource
from provision.resources.joint import NEW_KEY, JointChange
from provision.resources.kinds.wireguard import PREFIX, UP
from provision.resources.lib.stash import StashedFile
from provision.resources.lib.wireguard_conf import renewal_path, stem
from provision.resources.on_hosts import ETC
from provision.resources.steps import Run, Steps, partial_path, remove_file, sh

# Written under another name and renamed: a key that exists is complete.
_MAKE = """
if [ -s "$1" ]; then chown root "$1" && chmod 600 "$1"; exit; fi
mkdir -p -- "${1%/*}" && umask 077 && wg genkey >"$2" && sync "$2" && mv -fT -- "$2" "$1"
"""
# A key is a line of 44 characters; an empty file is what a crash may leave of ours.
_IS_FOREIGN = r"""
[ -e "$1" ] || [ -h "$1" ] || exit 1
[ -h "$1" ] || [ ! -f "$1" ] || { [ -s "$1" ] && ! grep -q '^[A-Za-z0-9+/]\{43\}=$' "$1"; }
"""


@dataclass(frozen=True, slots=True)
class WireguardKey(StashedFile, Resource):
    """The private key of a host in a network; `public` is its public key, empty if unknown.

    The folder is the mark. `protected` is False if somebody else than root may read the file.
    `renewal` is "asked for" if a file beside it asks for another key, which then replaces this one.
    """

    kind: ClassVar[str] = "wireguard_key"
    # The next snapshot has the public key, which the peers need.
    changes_facts: ClassVar[bool] = True
    only_where: ClassVar[tuple[str, ...]] = (f'{ETC}/"$name"/wireguard',)
    probe: ClassVar[str] = rf"""
for key in {ETC}/"$name"/wireguard/*.key; do
  [ -s "$key" ] && [ ! -h "$key" ] || continue
  public=$(wg pubkey <"$key" 2>/dev/null) || public=
  network=${{key##*/}}; echo "$(stat -c '%U %a' "$key") ${{network%.key}} $public"
  [ ! -e "${{key%.key}}.renew" ] || echo "renew ${{network%.key}}"
done
"""
    fingerprint: ClassVar[str] = rf"""
for file in {ETC}/*/wireguard/*.key; do
  [ ! -f "$file" ] || echo "$(stat -c '%U %a %n' "$file") $(sha256sum <"$file")"
done
"""

    network: str
    inventory: str
    protected: bool = True
    renewal: str = ""
    public: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        return self.network

    @property
    def _path(self) -> str:
        return f"{stem(self.inventory, self.network)}.key"

    @property
    def _request(self) -> str:
        return renewal_path(self.inventory, self.network)

    def is_foreign(self) -> Run:
        return sh(_IS_FOREIGN, self._path)

    def create(self) -> Steps:
        return (sh(_MAKE, self._path, partial_path(self._path)),)

    def joint_change(self, current: Resource) -> JointChange | None:
        assert isinstance(current, WireguardKey)
        return JointChange(self.network, NEW_KEY) if current.renewal else None

    def update(self, current: Resource) -> Steps | None:
        assert isinstance(current, WireguardKey)
        return None if current.renewal else self.create()

    def stash(self, txn: str) -> Steps:
        # A rollback does not bring the request back: the next change would replace the key again.
        return (Run(("rm", "-f", "--", self._request)), *StashedFile.stash(self, txn))

    def unstash(self, txn: str) -> Steps:
        # A device that runs has loaded the new key.
        device = interface_name(PREFIX, self.inventory, self.network)
        load = sh(UP, device, "", stem(self.inventory, self.network), "", "", "")
        return (*StashedFile.unstash(self, txn), load)

    def delete(self) -> Steps:
        # The name under which earlier versions wrote the key.
        partial = Run(("rm", "-f", "--", f"{self._path}.new"))
        return (partial, *remove_file(self._request), *remove_file(self._path))

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = text.splitlines()
        renewals = {line.split(" ")[1] for line in lines if line.startswith("renew ")}
        for line in lines:
            if line.startswith("renew "):
                continue
            owner, mode, network, *public = line.split(" ")
            protected = (owner, mode) == ("root", "600")
            renewal = "asked for" if network in renewals else ""
            key = cls(origin.host, network, origin.inventory, protected, renewal, "".join(public))
            yield Found(key, ours=True)
