"""Where a lab lives and what its things are called. Pure: touches nothing.

Every name derives from the folder, so that two labs never meet and `down` needs no record
of what an interrupted `up` had made.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address
from pathlib import Path

from provision.lab.ranges import Ranges

CACHE = Path("/var/cache/provision/lab")
SUITES = ("trixie", "bookworm", "sid")
MIXED = "mixed"
MOST_HOSTS = 200


@dataclass(frozen=True, slots=True)
class Place:
    """One lab's folder; `tag` is what makes its names unique on the machine."""

    folder: Path

    @property
    def tag(self) -> str:
        # 6 digits: `vb-<tag>-h200`, which systemd-nspawn makes, has to fit in 15 characters.
        return sha256(str(self.folder).encode()).hexdigest()[:6]

    @property
    def dot(self) -> Path:
        return self.folder / ".provision"

    @property
    def state(self) -> Path:
        return self.dot / "lab"

    @property
    def ssh_config(self) -> Path:
        return self.dot / "ssh_config"

    @property
    def key(self) -> Path:
        return self.dot / "lab_ed25519"

    @property
    def image(self) -> Path:
        """An archive of busybox, for hosts that have no image and reach no registry."""
        return self.dot / "busybox.tar"

    @property
    def known_hosts(self) -> Path:
        return self.dot / "known_hosts"

    @property
    def namespace(self) -> str:
        return f"lab-{self.tag}"

    @property
    def links(self) -> tuple[str, str]:
        """The machine's ends of the veth pairs into the lab: for SSH, for the containers."""
        return f"lm-{self.tag}", f"ld-{self.tag}"

    def seat(self, host: str) -> HostFiles:
        return HostFiles(self, host)


@dataclass(frozen=True, slots=True)
class HostFiles:
    """One host's files and names."""

    place: Place
    host: str

    @property
    def path(self) -> Path:
        return self.place.state / self.host

    @property
    def upper(self) -> Path:
        return self.path / "upper"

    @property
    def merged(self) -> Path:
        return self.path / "merged"

    @property
    def docker(self) -> Path:
        return self.path / "docker"

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
        return f"{self.place.tag}-{self.host}"

    @property
    def link(self) -> str:
        """The outer end of eth1; the outer end of host0 is `vb-<machine>`."""
        return f"e1-{self.machine}"

    @property
    def unit(self) -> str:
        return f"provision-lab-{self.machine}.service"


def host_names(count: int) -> tuple[str, ...]:
    return tuple(f"h{number}" for number in range(1, count + 1))


def number(host: str) -> int:
    return int(host.removeprefix("h"))


def suite_of(host: str, suite: str) -> str:
    """The host's own suite: in a mixed lab one of each in turn."""
    return SUITES[(number(host) - 1) % len(SUITES)] if suite == MIXED else suite


def addresses_of(host: str, ranges: Ranges) -> tuple[IPv4Address, IPv4Address]:
    """The host's addresses for SSH and for the containers."""
    step = 10 + number(host)
    return ranges.management[step], ranges.data[step]


def mac(seat: HostFiles, nic: str) -> str:
    """A locally administered address that stays the same over reboots."""
    digest = sha256(f"{seat.machine} {nic}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x0A, *digest[:5]))
