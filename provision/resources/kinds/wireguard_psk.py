"""Kind `wireguard_psk`: a host's file of the keys that it shares with each of its peers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from provision.model.names import interface_name
from provision.resources.base import Found, Origin, Resource
from provision.resources.kinds.wireguard import KEEP_KEY, PREFIX, UP
from provision.resources.lib.stash import StashedFile
from provision.resources.lib.wireguard_conf import stem
from provision.resources.on_hosts import ETC
from provision.resources.steps import Preshare, Run, Steps, remove_file, sh

# Ours begins with two fingerprints; an empty file is what a crash may leave of it.
_IS_FOREIGN = r"""
[ -e "$1" ] || [ -h "$1" ] || exit 1
[ -h "$1" ] || [ ! -f "$1" ] || { [ -s "$1" ] && ! head -n 1 "$1" | grep -q '^# [0-9a-f]\{32\}$'; }
"""


@dataclass(frozen=True, slots=True)
class WireguardPsk(StashedFile, Resource):
    """The keys that a host shares with `peers` in a network; the plan has no key.

    `secret` is the fingerprint of the secret from which the controller makes them; empty before
    the first apply. `intact` is False for a file with other content, `protected` is False if
    somebody else than root may read it. `source` is the controller's file of the secret.
    """

    kind: ClassVar[str] = "wireguard_psk"
    # The next snapshot has the fingerprint of the secret.
    changes_facts: ClassVar[bool] = True
    only_where: ClassVar[tuple[str, ...]] = (f'{ETC}/"$name"/wireguard',)
    probe: ClassVar[str] = rf"""
for file in {ETC}/"$name"/wireguard/*.psk; do
  [ -f "$file" ] && [ ! -h "$file" ] || continue
  network=${{file##*/}}
  echo "file $(stat -c '%U %a' "$file") ${{network%.psk}}"
  # Only the names of the peers, never a key.
  sed -n '1,2s/^# \([0-9a-f]*\)$/head \1/p; 3,$s/^\([^ ]*\) .*/peer \1/p' "$file"
  echo "sum $(tail -n +3 "$file" | sha256sum | cut -c1-64)"
done
"""
    fingerprint: ClassVar[str] = rf"""
for file in {ETC}/*/wireguard/*.psk; do
  [ ! -f "$file" ] || echo "$(stat -c '%U %a %n' "$file") $(sha256sum <"$file")"
done
"""

    network: str
    inventory: str
    secret: str
    peers: tuple[str, ...]
    intact: bool = True
    protected: bool = True
    source: Path | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return self.network

    @property
    def _path(self) -> str:
        return f"{stem(self.inventory, self.network)}.psk"

    def is_foreign(self) -> Run:
        return sh(_IS_FOREIGN, self._path)

    def create(self) -> Steps:
        if self.source is None:  # as found on a host: only its stash has the keys
            return (self._load,)
        label = f"{self.inventory}/{self.network}"
        keys = Preshare(self.source, label, self.host, self.peers, self.secret, self._path)
        return (keys, self._load)

    def unstash(self, txn: str) -> Steps:
        return (*StashedFile.unstash(self, txn), self._load)

    @property
    def _load(self) -> Run:
        """Give the keys to the device if it runs; sessions stay as they are."""
        device = interface_name(PREFIX, self.inventory, self.network)
        return sh(UP, device, "", stem(self.inventory, self.network), "", "", KEEP_KEY)

    def delete(self) -> Steps:
        return remove_file(self._path)

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        for part in f"\n{text}".split("\nfile ")[1:]:
            first, *lines = part.splitlines()
            owner, mode, network = first.split(" ")
            heads, sums, peers = (
                [line.partition(" ")[2] for line in lines if line.startswith(f"{key} ")]
                for key in ("head", "sum", "peer")
            )
            resource = cls(
                origin.host,
                network,
                origin.inventory,
                heads[0] if heads else "",
                tuple(peers),
                heads[1:] == sums,
                (owner, mode) == ("root", "600"),
            )
            yield Found(resource, ours=True)
