"""Host keys of an inventory's hosts: ask the hosts for them, record those a person agreed to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from provision.engine.fleet import Session, each
from provision.model.errors import HostError, HostKeyError, UsageError
from provision.model.inventory import Inventory
from provision.transport.ssh.transport import SshTransport

if TYPE_CHECKING:
    from provision.transport.ssh.host_key_offer import Offer


@dataclass(frozen=True, slots=True)
class Survey:
    """The keys that hosts offered, jump hosts first, and the errors of hosts that offered none."""

    offers: tuple[Offer, ...]
    errors: tuple[HostError, ...]

    @property
    def asked(self) -> set[str]:
        """Hosts and jump hosts that have offered a key or failed to."""
        return {offer.host for offer in self.offers} | {error.host for error in self.errors}

    def after_recording(self) -> Survey:
        """The same survey, with its new keys as known ones."""
        offers = (
            replace(offer, status="known") if offer.status == "new" else offer
            for offer in self.offers
        )
        return Survey(tuple(offers), self.errors)

    def __add__(self, later: Survey) -> Survey:
        offers = {offer.name: offer for offer in (*self.offers, *later.offers)}
        return Survey(tuple(offers.values()), (*self.errors, *later.errors))

    def of(self, status: str) -> tuple[Offer, ...]:
        """The keys that are `new`, `known` or `changed`."""
        return tuple(offer for offer in self.offers if offer.status == status)


def survey(ssh: SshTransport, inventory: Inventory, hosts: Iterable[str], *, jobs: int) -> Survey:
    """Ask `hosts`, and the jump hosts before them, for their keys. Does not log in to `hosts`."""
    answers, errors = each(Session(inventory, ssh, jobs), hosts, ssh.offers)
    # Several hosts may be behind one jump host: keep its key once.
    offers = {offer.name: offer for answer in answers.values() for offer in answer}
    return Survey(tuple(offers.values()), tuple(errors.values()))


def changed_key(offer: Offer) -> HostKeyError:
    """The error of a host whose key differs from the recorded one."""
    lines = ", ".join(offer.recorded_in) or f"hosts.{offer.host}.host_key in the inventory"
    return HostKeyError(
        offer.host,
        f"its host key differs from the recorded one: it offers {offer.kind} {offer.fingerprint}",
        f"if the host was reinstalled, delete the line of {offer.name} first: {lines}",
    )


def record(path: Path, offers: Iterable[Offer]) -> None:
    """Append keys to a known_hosts file; create the file if it does not exist.

    Raises UsageError if it cannot be written.
    """
    lines = "".join(f"{offer.line}\n" for offer in offers)
    try:
        _append(path, lines.encode())
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise UsageError(message, "check the permissions of file and folder") from error


def _append(path: Path, lines: bytes) -> None:
    # The file itself: a symbolic link to that of a team stays, and so do its mode and owner.
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    # As bytes: comments of other programs need not be UTF-8.
    before = target.read_bytes() if target.is_file() else b""
    newline = b"\n" if before and not before.endswith(b"\n") else b""
    new = target.with_name(f".{target.name}.new")
    new.unlink(missing_ok=True)
    with new.open("xb") as file:
        if target.is_file():
            old = target.stat()
            with suppress(PermissionError):
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
            shutil.copystat(target, new)
        file.write(before + newline + lines)
        # Without it, a crash after the rename could leave an empty file: all keys lost.
        file.flush()
        os.fsync(file.fileno())
    new.rename(target)
