"""Kind `secret_file`: secrets of the inventory that a service of a network reads on its host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import SECRET_PAIRS, Found, Origin, Resource
from provision.resources.lib.base64_text import decode_text
from provision.resources.lib.stash import StashedFile
from provision.resources.on_hosts import ETC, Mark, service_name
from provision.resources.steps import Put, Run, Steps, remove_file, sh

# Ours begins with the mark; an empty file is what a crash may leave of it.
_IS_FOREIGN = r"""
[ -e "$1" ] || [ -h "$1" ] || exit 1
[ -h "$1" ] || [ ! -f "$1" ] || { [ -s "$1" ] && [ "$(head -n 1 "$1")" != "$2" ]; }
"""
# Only a restart reads the file. A service that does not exist yet, or is stopped, stays so.
_RESTART = """
[ "$(systemctl is-active "$1")" != active ] || systemctl restart "$1"
"""


def secret_path(inventory: str, network: str, program: str) -> str:
    """The path of the secrets of a network's service."""
    return f"{ETC}/{inventory}/secrets/{network}.{program}"


@dataclass(frozen=True, slots=True)
class SecretFile(StashedFile, Resource):
    """The secrets `pairs`, by name, for the service of `program` in a network.

    A change restarts the service. `protected` is False if somebody else than root may read the
    file. It is replaced by a new one rather than updated: the steps of a rollback, which lie on
    the host, have no secret. `stop_effect` describes what stops working while the service restarts.
    """

    kind: ClassVar[str] = "secret_file"
    only_where: ClassVar[tuple[str, ...]] = (f'{ETC}/"$name"/secrets',)
    # The first word keeps the line out of every message (`model/reading`).
    probe: ClassVar[str] = rf"""
for file in {ETC}/"$name"/secrets/*; do
  [ -f "$file" ] && [ ! -h "$file" ] || continue
  printf '@secret %s %s %s\n' "$(stat -c '%U %a' "$file")" \
    "$(head -c 65536 "$file" | base64 -w0)" "${{file##*/}}"
done
"""
    fingerprint: ClassVar[str] = rf"""
for file in {ETC}/*/secrets/*; do
  [ ! -f "$file" ] || echo "$(stat -c '%U %a %n' "$file") $(sha256sum <"$file")"
done
"""

    network: str
    program: str
    inventory: str
    pairs: tuple[tuple[str, str], ...] = field(default=(), repr=False, metadata=SECRET_PAIRS)
    protected: bool = True
    stop_effect: str = field(default="", compare=False, repr=False)

    @property
    def name(self) -> str:
        return f"{self.network}.{self.program}"

    @property
    def _path(self) -> str:
        return secret_path(self.inventory, self.network, self.program)

    @property
    def _head(self) -> str:
        return f"# {Mark(self.inventory, self.network).tag}"

    def is_foreign(self) -> Run:
        return sh(_IS_FOREIGN, self._path, self._head)

    def create(self) -> Steps:
        lines = (self._head, *(f"{key} {value}" for key, value in self.pairs))
        return (Put(self._path, "".join(f"{line}\n" for line in lines), 0o600), self._restart)

    def unstash(self, txn: str) -> Steps:
        return (*StashedFile.unstash(self, txn), self._restart)

    @property
    def _restart(self) -> Run:
        return sh(_RESTART, service_name(self.inventory, self.network, self.program))

    def delete(self) -> Steps:
        return remove_file(self._path)

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:
        return self.stop_effect or None if recreated and current is not None else None

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        for line in text.splitlines():
            _, owner, mode, encoded, name = line.split(" ", 4)
            network, _, program = name.rpartition(".")
            pairs = (pair.partition(" ") for pair in decode_text(encoded).splitlines()[1:])
            resource = cls(
                origin.host,
                network,
                program,
                origin.inventory,
                tuple((key, value) for key, _, value in pairs),
                (owner, mode) == ("root", "600"),
            )
            yield Found(resource, ours=True)
