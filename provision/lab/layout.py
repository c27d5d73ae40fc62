"""Paths and names of a lab and of its hosts. Pure: touches nothing.

Every name derives from the lab's folder. Two labs therefore never share a name, and `down`
needs no record of what an interrupted `up` had created.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address
from pathlib import Path

from provision.lab.ranges import Ranges
from provision.model.names import hashed_mac

CACHE = Path("/var/cache/provision/lab")
SUITES = ("trixie", "bookworm", "sid")
MIXED = "mixed"
NICS = ("host0", "eth1")
"""The NICs of a host: for SSH, and for the containers' traffic."""
MOST_HOSTS = 200
"""Hosts h1 … h200 get the addresses .11 … .210 of a /24; .254 is this machine."""


@dataclass(frozen=True, slots=True)
class Lab:
    """The lab of one folder."""

    folder: Path

    @property
    def tag(self) -> str:
        """The part of every name that makes it unique on the machine."""
        # Interface names have at most 15 characters (IFNAMSIZ). The longest is `vb-<tag>-h200`,
        # which systemd-nspawn derives from the machine's name.
        return sha256(str(self.folder).encode()).hexdigest()[:6]

    @property
    def dot(self) -> Path:
        """The folder `.provision`, which other files of the project share."""
        return self.folder / ".provision"

    @property
    def state(self) -> Path:
        return self.dot / "lab"

    @property
    def dhcp(self) -> Path:
        """The folder of the lab's DHCP server."""
        return self.state / "dhcp"

    @property
    def ssh_config(self) -> Path:
        return self.dot / "ssh_config"

    @property
    def key(self) -> Path:
        return self.dot / "lab_ed25519"

    @property
    def image(self) -> Path:
        """An archive of the busybox image, for hosts without images and without a registry."""
        return self.dot / "busybox.tar"

    @property
    def known_hosts(self) -> Path:
        return self.dot / "known_hosts"

    @property
    def namespace(self) -> str:
        return f"lab-{self.tag}"

    @property
    def links(self) -> tuple[str, str]:
        """This machine's ends of the two veth pairs into the lab: management and data."""
        return f"lm-{self.tag}", f"ld-{self.tag}"

    def host(self, name: str) -> LabHost:
        return LabHost(self, name)


@dataclass(frozen=True, slots=True)
class LabHost:
    """The files and names of one host of a lab."""

    lab: Lab
    name: str

    @property
    def path(self) -> Path:
        return self.lab.state / self.name

    @property
    def upper(self) -> Path:
        """The writable layer of the host's overlay."""
        return self.path / "upper"

    @property
    def merged(self) -> Path:
        """The mount point of the host's overlay: its root file system."""
        return self.path / "merged"

    @property
    def docker(self) -> Path:
        """The host's `/var/lib/docker`."""
        return self.path / "docker"

    @property
    def base(self) -> Path:
        """For a host with a kernel of its own: a link to the folder of the disk that it shares."""
        return self.path / "base"

    @property
    def disk(self) -> Path:
        """The own disk of a host with a kernel of its own."""
        return self.path / "disk.ext4"

    @property
    def console(self) -> Path:
        return self.path / "console.log"

    @property
    def host_key(self) -> Path:
        return self.path / "ssh_host_ed25519_key"

    @property
    def script(self) -> Path:
        return self.path / "supervisor.sh"

    @property
    def machine(self) -> str:
        return f"{self.lab.tag}-{self.name}"

    @property
    def link(self) -> str:
        """The outer end of eth1; the outer end of host0 is `vb-<machine>`."""
        return f"e1-{self.machine}"

    def outer(self, nic: str) -> str:
        """The outer end of a NIC."""
        return self.link if nic == "eth1" else f"vb-{self.machine}"

    def ifb(self, nic: str) -> str:
        """The interface that queues packets which the host sends by a NIC."""
        return f"f{NICS.index(nic)}-{self.machine}"

    @property
    def unit(self) -> str:
        return f"provision-lab-{self.machine}.service"


def host_names(count: int) -> tuple[str, ...]:
    return tuple(f"h{number}" for number in range(1, count + 1))


def number(name: str) -> int:
    return int(name.removeprefix("h"))


def suite_of(name: str, suite: str) -> str:
    """The suite of a host: `suite`, or in a mixed lab each of SUITES in turn."""
    return SUITES[(number(name) - 1) % len(SUITES)] if suite == MIXED else suite


def addresses_of(name: str, ranges: Ranges) -> tuple[IPv4Address, IPv4Address]:
    """The host's addresses for SSH and for the containers' traffic."""
    offset = 10 + number(name)
    return ranges.management[offset], ranges.data[offset]


def mac(host: LabHost, nic: str) -> str:
    """A locally administered MAC address that stays the same over reboots."""
    return hashed_mac(f"{host.machine} {nic}", first_byte=0x0A)
