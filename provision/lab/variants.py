"""Variants of lab hosts: managers, firewalls, backends of iptables, Docker, resolvers. Pure.

`VARIANTS` is the table of them all, and `GROUPS` tells which of them exclude each other. To add a
variant, add a row to both; `lab up --host` and the settings of a lab take it from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from provision.model.errors import UsageError
from provision.resources.render import program_text


@dataclass(frozen=True, slots=True)
class Variant:
    """Further packages of a base tree, and a program that runs in it once they are installed.

    `setup` is POSIX sh, run by chroot(8) while no service of the tree runs. `networkd` is False if
    systemd-networkd is not enabled on such hosts. `version` counts the changes of `setup`, because
    the name of a tree is made of the names of its variants alone. `suite_packages` are packages
    that differ by suite. `newer_docker` is True if the tree gets the programs of newer_docker.py;
    `suites` are the suites that can have the variant, all if it is empty. `unmasked` are units that
    other trees have masked, and `resolv_conf` is the target of the link /etc/resolv.conf, a file
    without a server if it is empty.
    """

    packages: tuple[str, ...] = ()
    suite_packages: Mapping[str, str] = field(default_factory=dict)
    setup: str = ""
    networkd: bool = True
    version: int = 1
    newer_docker: bool = False
    suites: tuple[str, ...] = ()
    unmasked: tuple[str, ...] = ()
    resolv_conf: str = ""


# No udev runs in systemd-nspawn, where /sys is read-only. One of its rules keeps NetworkManager off
# every veth; in the lab the host's own NICs are veths, too.
_NETWORK_MANAGER = """mkdir -p /etc/NetworkManager/conf.d
cat >/etc/NetworkManager/conf.d/lab.conf <<'END'
[main]
no-auto-default=*
[keyfile]
unmanaged-devices=driver:veth;except:interface-name:host0;except:interface-name:eth1
END
"""
# `netplan apply` calls udevadm, which fails without udev, and stops half-way.
_NETPLAN = """printf '#!/bin/sh\\nexit 0\\n' >/usr/local/sbin/udevadm
chmod 755 /usr/local/sbin/udevadm
"""

# The unit that gives a host's NICs their MACs; provision/lab/nic_files.py writes it for each host.
_MACS = """mkdir -p /etc/systemd/system/sysinit.target.wants
ln -s ../lab-mac.service /etc/systemd/system/sysinit.target.wants/
"""

# The programs take the place of Debian's, so that unit, socket and paths are those of Debian. A new
# Docker 29 keeps images in the folder of containerd, whose overlays cannot be on the overlay that
# is the root of the host: /var/lib/docker is on the disk of the machine.
_DOCKER_29 = """for name in dockerd docker-proxy; do
  dpkg-divert --local --rename --add "/usr/sbin/$name"
  mv "/usr/local/sbin/$name" /usr/sbin/
done
sed -i '1i root = "/var/lib/docker/containerd-of-lab"' /etc/containerd/config.toml
"""

# Those that Debian's ifupdown recommends.
_DHCP_CLIENTS = {"bookworm": "isc-dhcp-client", "trixie": "dhcpcd-base", "sid": "dhcpcd-base"}

GROUPS: Mapping[str, tuple[str, ...]] = {
    "manager": ("networkd", "ifupdown", "networkmanager", "netplan", "netplan-nm"),
    "firewall": ("none", "ufw", "firewalld", "nftables"),
    "iptables": ("nf_tables", "legacy"),
    "address": ("static", "dhcp"),
    "docker": ("debian", "29"),
    "resolver": ("none", "resolved"),
}
"""The values of each group, the default first. A host has one value of each."""

VARIANTS = {
    "ifupdown": Variant(("ifupdown",), _DHCP_CLIENTS, _MACS, networkd=False),
    "networkmanager": Variant(
        ("network-manager",), setup=_MACS + _NETWORK_MANAGER, networkd=False, version=2
    ),
    "netplan": Variant(("netplan.io",), setup=_MACS + _NETPLAN),
    "netplan-nm": Variant(
        ("netplan.io", "network-manager"),
        setup=_MACS + _NETWORK_MANAGER + _NETPLAN,
        networkd=False,
        version=2,
    ),
    # Debian installs ufw switched off. `ufw allow` only writes its files then.
    "ufw": Variant(
        ("ufw",),
        setup="ufw allow 22/tcp && sed -i 's/^ENABLED=.*/ENABLED=yes/' /etc/ufw/ufw.conf",
    ),
    # Debian enables it; its default zone lets SSH in.
    "firewalld": Variant(("firewalld",)),
    "nftables": Variant(("nftables",), setup=program_text("lab/nftables.sh")),
    "legacy": Variant(
        setup="for name in iptables ip6tables; do "
        'update-alternatives --set "$name" "/usr/sbin/$name-legacy"; done',
    ),
    # Its backend nftables runs the program nft.
    "29": Variant(("nftables",), setup=_DOCKER_29, newer_docker=True, suites=("sid",)),
    # Debian's package makes the same link.
    "resolved": Variant(
        ("systemd-resolved",),
        unmasked=("systemd-resolved.service",),
        resolv_conf="../run/systemd/resolve/stub-resolv.conf",
    ),
}
"""The values that change the base tree."""

Choice = Mapping[str, str]
"""Values by group; a group that it lacks has its default."""


def value(choice: Choice, group: str) -> str:
    """The value of a group."""
    return choice.get(group) or GROUPS[group][0]


def names_of(choice: Choice) -> tuple[str, ...]:
    """The variants of the base tree of a host."""
    values = (value(choice, group) for group in GROUPS)
    return tuple(name for name in values if name in VARIANTS)


def refuse_unfit(names: tuple[str, ...], host: str, suite: str, *, bare: bool) -> None:
    """Raise UsageError for a variant that the tree of a host cannot have."""
    for name in names:
        variant = VARIANTS[name]
        if variant.suites and suite not in variant.suites:
            needed = " or ".join(variant.suites)
            raise UsageError(
                f"{host}: {_option_of(name)} needs the suite {needed}, and this is {suite}",
                f"--suite {variant.suites[0]}",
            )
        if variant.newer_docker and bare:
            raise UsageError(f"{host}: a bare host has no Docker, so not {_option_of(name)}")


def _option_of(name: str) -> str:
    """The option of `lab up` that chooses a variant."""
    group = next(group for group, values in GROUPS.items() if name in values)
    return f"--{group} {name}"


def packages_of(name: str, suite: str) -> tuple[str, ...]:
    """The further packages of a variant on a suite."""
    variant = VARIANTS[name]
    of_suite = variant.suite_packages.get(suite)
    return (*variant.packages, *((of_suite,) if of_suite else ()))


def digest_fields(names: tuple[str, ...]) -> dict[str, int]:
    """What the name of a tree with these variants is made of."""
    return {name: VARIANTS[name].version for name in names}


def host_choices(texts: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Read `--host NAME=GROUP:VALUE,…` options. Raises UsageError."""
    choices: dict[str, dict[str, str]] = {}
    for text in texts:
        host, _, pairs = text.partition("=")
        if not (host[:1] == "h" and host[1:].isdigit() and pairs):
            raise UsageError(f"--host {text}: write NAME=KEY:VALUE, such as h2=manager:netplan")
        for pair in pairs.split(","):
            group, _, chosen = pair.partition(":")
            if group not in GROUPS:
                raise UsageError(f"--host {text}: no key {group!r}; keys: {', '.join(GROUPS)}")
            if chosen not in GROUPS[group]:
                values = ", ".join(GROUPS[group])
                raise UsageError(f"--host {text}: no {group} {chosen!r}; values: {values}")
            choices.setdefault(host, {})[group] = chosen
    return choices
