"""Which host keys are new, and recording those that a person has agreed to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from provision.engine.fleet import Session, each
from provision.model.errors import HostError, HostKeyError
from provision.model.inventory import Inventory
from provision.transport.ssh.transport import SshTransport

if TYPE_CHECKING:
    from provision.transport.ssh.host_key_offer import Offer


@dataclass(frozen=True, slots=True)
class Survey:
    """Keys as shown, jump hosts before what is behind them, and hosts that showed none."""

    offers: tuple[Offer, ...]
    errors: tuple[HostError, ...]

    @property
    def seen(self) -> set[str]:
        """Hosts and jump hosts that have shown a key, or that failed to."""
        return {offer.host for offer in self.offers} | {error.host for error in self.errors}

    def known_now(self) -> Survey:
        """The same after its new keys were recorded."""
        offers = (
            replace(one, status="known") if one.status == "new" else one for one in self.offers
        )
        return Survey(tuple(offers), self.errors)

    def __add__(self, later: Survey) -> Survey:
        offers = {offer.name: offer for offer in (*self.offers, *later.offers)}
        return Survey(tuple(offers.values()), (*self.errors, *later.errors))

    def of(self, status: str) -> tuple[Offer, ...]:
        """Those that are `new`, `known` or `changed`."""
        return tuple(offer for offer in self.offers if offer.status == status)


def survey(ssh: SshTransport, inventory: Inventory, hosts: Iterable[str], *, jobs: int) -> Survey:
    """Ask every host, and every jump host before it, for its key. Nobody logs in at `hosts`."""
    answers, errors = each(Session(inventory, ssh, jobs), hosts, ssh.offers)
    offers = {offer.name: offer for answer in answers.values() for offer in answer}
    return Survey(tuple(offers.values()), tuple(errors.values()))


def changed_key(offer: Offer, path: Path) -> HostKeyError:
    """The error of a host that shows another key than the one on record."""
    return HostKeyError(
        offer.host,
        f"its host key differs from the recorded one: it offers {offer.kind} {offer.fingerprint}",
        f"if the host was installed anew, delete the line of {offer.name} from {path} first",
    )


def record(path: Path, offers: Iterable[Offer]) -> None:
    """Append keys to a file of host keys, which is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text() if path.is_file() else ""
    begin = "\n" if before and not before.endswith("\n") else ""
    lines = "".join(f"{offer.line}\n" for offer in offers)
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w") as file:
        file.write(before + begin + lines)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
