"""Kind `docker_network`: a Docker network of an inventory on one host."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource, is_rebuilt, keyed_lines
from provision.resources.lib import bridge_state, network_answer, network_options, sysfs
from provision.resources.lib.bridge_state import BridgeLinks, BridgeState
from provision.resources.lib.network_answer import BRIDGE_PREFIX
from provision.resources.lib.network_guests import network_guests
from provision.resources.lib.network_options import BRIDGE_NAME, INHIBIT, MTU
from provision.resources.lib.shared_json import decode
from provision.resources.on_hosts import VAR, Mark
from provision.resources.render import program_text
from provision.resources.steps import Run, Steps, Unless, sh

LABEL = "provision"
"""Label key of every Docker object that provision creates; its value is the mark."""

_DOCKER_ID = program_text("host/docker_id.sh", "host/docker_owner.sh")
_CREATE = (
    _DOCKER_ID
    + r"""
name=$1 mark=$2 subnet=$3; shift 3
docker network create "$@" && exit
id=$(network_id "$name") && [ -n "$id" ] || exit 1
shown='{{index .Labels "provision"}} {{range .IPAM.Config}}{{.Subnet}}{{end}}'
[ "$(docker network inspect --format "$shown" "$id")" = "$mark $subnet" ] || {
  echo "a Docker network $name exists outside this inventory" >&2
  exit 1
}
"""
)
_REMOVE = (
    _DOCKER_ID
    + r"""
ids=$(network_id "$1") || exit
for id in $ids; do
  is_owned network "$id" "$2"
  case $? in
  0) docker network rm "$id" || exit ;;
  1) echo "@note Docker network $1 was left: it is not of this inventory" ;;
  *) exit 1 ;;
  esac
done
[ -n "$3" ] && [ "$(cat "/sys/class/net/$3/ifalias" 2>/dev/null)" = "$4" ] || exit 0
ip link del dev "$3"
"""
)


@dataclass(frozen=True, slots=True)
class DockerNetwork(Resource):
    """A network with one IPv4 subnet; `options` are sorted pairs of Docker's own option names.

    `driver` is that of Docker, empty for its default, `bridge`.

    `gateway` None: Docker chooses one. After its next restart it shows its choice, which then
    differs from None, so a method should name one.
    `usual` are sorted pairs of options with Docker's own value, which the daemon does not use.
    Docker assigns addresses of `ip_range` only, if there is one. `lacks` names what the kernel does
    not have of it. `guests` are running containers of others on it, `restarted` those that
    restart when it is healed. `ssh` is True if the controller connects from `subnet`.
    """

    kind: ClassVar[str] = "docker_network"
    uses_dockerd: ClassVar[bool] = True
    probe: ClassVar[str] = f"""
need_docker
for path in /sys/class/net/{BRIDGE_PREFIX}*/bridge; do
  [ ! -e "$path" ] || {{ path=${{path%/bridge}}; echo "bridge ${{path##*/}}"; }}
done
for record in {VAR}/guests/"$name"/*; do
  [ ! -f "$record" ] || echo "connected $(cat "$record")"
done
shared networks containers {" ".join(bridge_state.KEYS)}
"""
    # With the containers of ours.
    fingerprint: ClassVar[str] = r"""
need_docker
printf '%s\n' "$docker_objects"
"""

    network: str
    subnet: IPv4Network | None
    gateway: IPv4Address | None
    options: tuple[tuple[str, str], ...]
    mark: Mark
    ip_range: IPv4Network | None = None
    driver: str = ""
    lacks: str = ""
    usual: tuple[tuple[str, str], ...] = field(default=(), compare=False, repr=False)
    restarted: tuple[str, ...] = field(default=(), compare=False)
    guests: tuple[str, ...] = field(default=(), compare=False)
    ssh: bool = field(default=False, compare=False, repr=False)
    needs: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def mtu(self) -> int:
        """The largest packet in bytes; Docker's own default if the option is not set."""
        return int(dict(self.options).get(MTU) or 1500)

    @property
    def name(self) -> str:
        return self.network

    def touches_ssh(self, current: Resource | None) -> bool:  # noqa: ARG002
        return self.ssh

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def is_followed(self) -> bool:
        return bool(self.names())

    def restore(self) -> Steps:
        return (bridge_state.restore(self.bridge_name, self._bridge_address, self.subnet),)

    def names(self) -> tuple[str, ...]:
        # A bridge that it requires is made by another resource: Docker only uses it.
        required = any(need.name == self.bridge_name for need in self.needs)
        return (self.bridge_name,) if self.bridge_name and not required else ()

    def is_foreign(self) -> None:
        return None  # the programs compare the label of the network whose id they use

    def create(self) -> Steps:
        arguments = (
            "--driver",
            self.driver or "bridge",
            *self._addresses(),
            *self._labels_and_options(),
        )
        expected = (self.network, str(self.mark), str(self.subnet))
        return (sh(_CREATE, *expected, *arguments, "--", self.network),)

    def _addresses(self) -> Iterator[str]:
        yield from ("--subnet", str(self.subnet))
        if self.gateway:
            yield from ("--gateway", str(self.gateway))
        if self.ip_range:
            yield from ("--ip-range", str(self.ip_range))

    def _labels_and_options(self) -> Iterator[str]:
        yield from ("--label", f"{LABEL}={self.mark}")
        for option in (*self.options, *self.usual):
            yield from ("--opt", "=".join(option))

    def delete(self) -> Steps:
        # Only `heal` makes a bridge that outlives its network. A bridge on a NIC belongs to another
        # resource, and has the same alias where network and bridge have one name.
        bridge = self.bridge_name if self._bridge_address else ""
        removed = sh(_REMOVE, self.network, self.mark.inventory, bridge, self.mark.tag)
        return (removed, *self._remove_bridge()) if self._has_lost_network else (removed,)

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        return () if self._has_lost_network else self.create()

    def update(self, current: Resource) -> Steps | None:
        assert isinstance(current, DockerNetwork)
        # Docker cannot change the other fields of an existing network.
        if replace(current, lacks=self.lacks) != self:
            return None
        address = self._bridge_address if self.bridge_name else ""
        restarted = current.restarted
        return (
            bridge_state.heal(
                self.bridge_name, self.network, address, self.subnet, self.mark, restarted
            ),
        )

    def with_defaults(self, defaults: Mapping[str, Mapping[str, str]]) -> DockerNetwork:
        """This network on a daemon with such `default-network-opts`, by driver."""
        of_driver = defaults.get(self.driver or "bridge", {})
        return replace(self, usual=network_options.overridden(dict(self.options), of_driver))

    @property
    def bridge_name(self) -> str:
        """The name of the bridge; empty for a driver without one."""
        return dict(self.options).get(BRIDGE_NAME, "")

    @property
    def _bridge_address(self) -> str:
        """The address of the bridge; empty where Docker sets none."""
        if self.gateway is None or self.subnet is None or dict(self.options).get(INHIBIT) == "true":
            return ""
        return f"{self.gateway}/{self.subnet.prefixlen}"

    @property
    def _has_lost_network(self) -> bool:
        """True for the bridge alone, of which Docker has no network any more."""
        only_bridge = [key for key, _ in self.options] == [BRIDGE_NAME]
        return self.subnet is None and not self.driver and only_bridge

    def _remove_bridge(self) -> Steps:
        absent = Run(("test", "!", "-d", sysfs.path(self.bridge_name, "bridge")))
        return (Unless(absent, (Run(("ip", "link", "delete", "dev", self.bridge_name)),)),)

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:
        before = current if isinstance(current, DockerNetwork) else self
        if before._has_lost_network:
            return f"bridge {before.bridge_name} is ours, damaged: it has lost its Docker network"
        if recreated:
            return f"every container on {self.network} is re-created"
        restarted = current.restarted if isinstance(current, DockerNetwork) else ()
        return BridgeState(restarted=restarted).disruption

    def blocking_reason(self, after: Resource | None) -> str | None:
        if not self.guests or not is_rebuilt(self, after):
            return None
        return f"network {self.network} has containers of others: {', '.join(self.guests)}"

    def blocking_hint(self) -> str:
        if not self.guests:
            return ""
        container, _, _ = self.guests[0].partition(" ")
        return f"run `docker network disconnect {self.network} {container}`, or remove it"

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        answers, kernel = dict(lines), BridgeLinks.parse(lines)
        connected = {rest for key, rest in lines if key == "connected"}
        guests = network_guests(
            json.loads(answers["containers"]), connected, origin.inventory, LABEL
        )
        networks = json.loads(answers["networks"])
        for entry in networks:
            name, mark = entry["Name"], Mark.parse((entry.get("Labels") or {}).get(LABEL, ""))
            state = {**network_answer.fields(entry), "guests": guests.get(name, ())}
            network = cls(origin.host, name, mark=mark, **state)
            ours = mark.inventory == origin.inventory
            yield Found(network._compared_with(kernel) if ours else network, ours)
        made = {rest for key, rest in lines if key == "bridge"}
        links = decode(answers.get("addresses", "[]"))
        for name, bridge in network_answer.lost_networks(networks, links, made, origin):
            mark, options = Mark(origin.inventory, name), ((BRIDGE_NAME, bridge),)
            yield Found(cls(origin.host, name, None, None, options, mark), ours=True)

    def _compared_with(self, kernel: BridgeLinks | None) -> DockerNetwork:
        """This network, and what the kernel lacks of it."""
        if kernel is None:
            return self
        if self.bridge_name:
            state = kernel.bridge(self.bridge_name, self.network, self._bridge_address, self.subnet)
        else:
            state = kernel.containers_on(self.network)
        return replace(self, lacks=state.lacks, restarted=state.restarted)
