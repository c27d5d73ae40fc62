"""Kind `package`: a command that the host needs, from its own package manager."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.steps import Steps, sh

MANAGER = "apt-get"
"""The only package manager that is used; others are refused by name before any change."""

# Command → its Debian packages. Docker says that it fails without apparmor_parser where the
# kernel has AppArmor, and pulls nothing without certificates.
PACKAGES = {
    "docker": ("docker.io", "ca-certificates", "apparmor"),
    "ip": ("iproute2",),
    "iptables": ("iptables",),
    "sysctl": ("procps",),
    "base64": ("coreutils",),
    "perl": ("perl-base",),
    "nsenter": ("util-linux",),
    "openssl": ("openssl",),
    "etcdctl": ("etcd-client",),
    "etcd": ("etcd-server",),
    "ovs-vsctl": ("openvswitch-switch",),
    "ethtool": ("ethtool",),
}
EVERYWHERE = ("docker", "ip", "iptables", "sysctl", "base64", "perl", "nsenter")
"""What every host needs; a method may need more of its own."""
# Split off from docker.io after bookworm (12) and Ubuntu 24.04, where it does not exist.
_LATER = {"docker": "docker-cli"}

_INSTALL = """
export DEBIAN_FRONTEND=noninteractive
get() {
  apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \\
    --no-install-recommends install "$@"
}
tool=$1 later=$2; shift 2
get "$@" || { apt-get -q update && get "$@"; } || exit
[ -z "$later" ] || command -v "$tool" >/dev/null || get "$later"
# Debian starts an etcd that anybody on the host may write to; nobody has asked for that one.
[ "$tool" != etcd ] || systemctl -q disable --now etcd.service
"""


@dataclass(frozen=True, slots=True)
class Package(Resource):
    """The command `tool`, whatever package brought it; where it is missing ours is installed.

    It stays when the inventory is destroyed: by then others may count on it.
    """

    kind: ClassVar[str] = "package"
    edits: ClassVar[bool] = True
    before_removals: ClassVar[bool] = True
    changes_facts: ClassVar[bool] = True
    permanent: ClassVar[bool] = True
    probe: ClassVar[str] = f"""
for tool in {" ".join(PACKAGES)}; do
  if command -v "$tool" >/dev/null 2>&1; then echo "$tool"; fi
done
"""
    fingerprint: ClassVar[str] = ":"  # what was installed stays

    tool: str

    @property
    def name(self) -> str:
        return PACKAGES[self.tool][0]

    def create(self) -> Steps:
        packages = PACKAGES[self.tool]
        later = _LATER.get(self.tool, "")
        return (sh(_INSTALL, self.tool, later, *packages),)

    def delete(self) -> Steps:
        return ()

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        # dockerd sets the FORWARD policy to DROP when it is the one that turns forwarding on.
        return "Docker starts, and what the host forwards is dropped" if self._docker else None

    @property
    def _docker(self) -> bool:
        return self.tool == "docker"

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        for tool in text.splitlines():
            yield Found(cls(scope.host, tool), ours=False)
