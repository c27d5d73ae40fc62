"""The values of an explanation: the probe, the hops of its path, and the cause. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from provision.facts.topology import HostTopology
from provision.model.errors import ExitStatus, HostError

# fmt: off
KINDS = (
    "link_down", "no_carrier", "address_missing", "no_route",
    "wrong_route", "policy_rule", "forwarding_off", "rp_filter",
    "neighbor_failed", "duplicate_address", "duplicate_mac", "firewall_rule",
    "nat_rule", "mtu", "bridge_port", "bridge_down",
    "vlan", "fdb", "tunnel_device", "tunnel_port_blocked",
    "underlay_down", "container_stopped", "container_paused", "no_listener",
    "docker_down", "daemon_down", "container_route", "container_firewall",
    "docker_isolation", "source_check", "host_unreachable", "drift",
    "unknown",
)
# fmt: on
"""The kinds of causes, which scripts rely on."""
HOST = "host"
"""The label of a host's own network namespace."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The packet that is sent: `icmp`, or `tcp` or `udp` with a port."""

    protocol: str = "icmp"
    port: int = 0

    def __str__(self) -> str:
        return f"{self.protocol}/{self.port}" if self.port else self.protocol


@dataclass(frozen=True, slots=True)
class Point:
    """A device that the probe has to pass, and how the packet comes to it from the point before.

    `space` is `host` or a container's label. `outgoing` is the direction as a sniffer on the device
    sees it. `step` is send, veth, bridge, route, encapsulate, wire, decapsulate, macvlan or answer.
    """

    host: str
    space: str
    device: str
    outgoing: bool
    step: str
    reply: bool = False

    @property
    def container(self) -> str:
        """The container whose namespace this is; "" for the host's own."""
        return "" if self.space == HOST else self.space.removeprefix("+")

    @property
    def location(self) -> str:
        """The host or the container, for a sentence."""
        return f"the container {self.container} on {self.host}" if self.container else self.host

    @property
    def enter(self) -> str:
        """The start of a command that runs in this namespace; "" for the host's own."""
        if not self.container:
            return ""
        return f"nsenter -t $(docker inspect -f '{{{{.State.Pid}}}}' {self.container}) -n "


@dataclass(frozen=True, slots=True)
class Hop:
    """A point of the path as the user reads it; `seen` is None where nobody could watch."""

    host: str
    place: str
    device: str
    direction: str
    seen: bool | None
    detail: str
    by_hand: str

    def as_json(self) -> dict[str, Any]:
        """The hop's keys in the output of `explain --json`."""
        return {
            "host": self.host, "place": self.place, "device": self.device,
            "direction": self.direction, "seen": self.seen, "detail": self.detail,
            "by_hand": self.by_hand,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cause:
    """The reason why the probe was lost.

    `kind` is one of KINDS, `object` the rule, route or device in full, `text` a sentence. `certain`
    is True only where the evidence shows that this object stops the packet.
    """

    host: str
    kind: str
    object: str
    text: str
    owner: str
    fix: str
    certain: bool = True

    def as_json(self) -> dict[str, Any]:
        """The cause's keys in the output of `explain --json`."""
        return {
            "host": self.host, "kind": self.kind, "object": self.object, "text": self.text,
            "owner": self.owner, "fix": self.fix, "certain": self.certain,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Explanation:
    """The result of `explain`. `errors` are those of hosts that could not be asked."""

    source: str
    target: str
    probe: Probe
    reached: bool
    seconds: float
    hops: tuple[Hop, ...]
    cause: Cause | None
    errors: Mapping[str, HostError]
    notes: tuple[str, ...] = ()
    """What could not be watched, and why."""
    topologies: Mapping[str, HostTopology] = field(default_factory=dict, repr=False, compare=False)
    """The hosts as they were before the probe, for a drawing."""

    @property
    def exit_status(self) -> ExitStatus:
        """4 if a host could not be asked, 7 if the probe did not arrive, else 0."""
        if self.errors:
            return ExitStatus.HOST
        return ExitStatus.OK if self.reached else ExitStatus.VERIFY

    def as_json(self) -> dict[str, Any]:
        """The output of `explain --json`."""
        return {
            "from": self.source,
            "to": self.target,
            "probe": str(self.probe),
            "reached": self.reached,
            "seconds": round(self.seconds, 2),
            "hops": [hop.as_json() for hop in self.hops],
            "cause": self.cause.as_json() if self.cause else None,
            "notes": list(self.notes),
        }
