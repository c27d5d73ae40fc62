"""Variants of the base trees: hosts with a firewall, or with the legacy backend of iptables. Pure.

`VARIANTS` is the table of them all; a host has at most one of each group.
"""

from __future__ import annotations

from dataclasses import dataclass

from provision.lab.layout import MIXED, number
from provision.resources.render import program_text

FIREWALLS = ("ufw", "firewalld", "nftables")
NONE = "none"
LEGACY = "legacy"


@dataclass(frozen=True, slots=True)
class Variant:
    """Further packages of a base tree, and a program that runs in it once they are installed.

    `setup` is POSIX sh, run by chroot(8) while no service of the tree runs. `version` counts its
    changes, because the name of a tree is made of the names of its variants alone.
    """

    packages: tuple[str, ...] = ()
    setup: str = ""
    version: int = 1


VARIANTS = {
    # Debian installs ufw switched off. `ufw allow` only writes its files then.
    "ufw": Variant(
        ("ufw",), "ufw allow 22/tcp && sed -i 's/^ENABLED=.*/ENABLED=yes/' /etc/ufw/ufw.conf"
    ),
    # Debian enables it; its default zone lets SSH in.
    "firewalld": Variant(("firewalld",)),
    "nftables": Variant(("nftables",), program_text("lab/nftables.sh")),
    LEGACY: Variant(
        (),
        "for name in iptables ip6tables; do "
        'update-alternatives --set "$name" "/usr/sbin/$name-legacy"; done',
    ),
}


def names_of(host: str, firewall: str, iptables: str) -> tuple[str, ...]:
    """The variants of a host's base tree; `firewall` mixed: each of FIREWALLS in turn."""
    if firewall == MIXED:
        firewall = FIREWALLS[(number(host) - 1) % len(FIREWALLS)]
    chosen = (firewall, iptables)
    return tuple(name for name in chosen if name in VARIANTS)


def digest_fields(names: tuple[str, ...]) -> dict[str, int]:
    """What the name of a tree with these variants is made of."""
    return {name: VARIANTS[name].version for name in names}
