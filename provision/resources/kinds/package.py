"""Kind `package`: a command that the host needs, installed by its package manager."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.render import program_text
from provision.resources.steps import Steps, sh

MANAGER = "apt-get"
"""The only supported package manager; preflight refuses hosts with another one."""

PACKAGES = {
    # docker.io only recommends the other two. Docker fails without apparmor_parser if the kernel
    # has AppArmor, and pulls nothing without CA certificates.
    "docker": ("docker.io", "ca-certificates", "apparmor"),
    "ip": ("iproute2",),
    "iptables": ("iptables",),
    "nft": ("nftables",),
    "sysctl": ("procps",),
    "base64": ("coreutils",),
    "perl": ("perl-base",),
    "nsenter": ("util-linux",),
    "openssl": ("openssl",),
    "etcdctl": ("etcd-client",),
    "etcd": ("etcd-server",),
    "ovs-vsctl": ("openvswitch-switch",),
    "ethtool": ("ethtool",),
    # The package dnsmasq would also start a DNS server for the host.
    "dnsmasq": ("dnsmasq-base",),
}
"""Command → its Debian packages. Methods name the packages of other commands that they need."""
EVERYWHERE = ("docker", "ip", "iptables", "sysctl", "base64", "perl", "nsenter")
"""Commands that every host needs; methods add their own."""
# The docker command moved from docker.io to docker-cli after Debian 12 and Ubuntu 24.04.
NEWER_PACKAGE = {"docker": "docker-cli"}

_INSTALL = program_text("host/install_packages.sh")


@dataclass(frozen=True, slots=True)
class Package(Resource):
    """The command `tool`, from any package; if it is missing, its packages are installed.

    `packages` are those of a command that is not in PACKAGES. `destroy` leaves the packages
    installed, because others may use them by then.
    """

    kind: ClassVar[str] = "package"
    edits: ClassVar[bool] = True
    before_removals: ClassVar[bool] = True
    takes_long: ClassVar[bool] = True
    changes_facts: ClassVar[bool] = True
    permanent: ClassVar[bool] = True
    probe: ClassVar[str] = """
for tool in $tools; do
  if command -v "$tool" >/dev/null 2>&1; then echo "$tool"; fi
done
"""
    fingerprint: ClassVar[str] = ":"  # packages are not rolled back

    tool: str
    packages: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def name(self) -> str:
        # The probe finds the command, which does not tell the package that it is from.
        return PACKAGES.get(self.tool, (self.tool,))[0]

    def is_foreign(self) -> None:
        return None  # a package is never removed

    def create(self) -> Steps:
        packages = PACKAGES.get(self.tool) or self.packages
        newer = NEWER_PACKAGE.get(self.tool, "")
        return (sh(_INSTALL, self.tool, newer, *packages),)

    def delete(self) -> Steps:
        return ()

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        # dockerd sets the policy of the chain FORWARD to DROP if it turns IP forwarding on itself.
        starts = self.tool == "docker"
        return "Docker starts, and the host no longer forwards other packets" if starts else None

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        for tool in text.splitlines():
            if tool != "systemctl":  # asked for as a fact of the host: no package brings it
                yield Found(cls(origin.host, tool), ours=False)
