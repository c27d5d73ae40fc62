"""The contract of a network manager: how provision makes a NIC a port with its consent. Pure.

A manager configures NICs from its own files. A NIC that becomes a port of a bridge needs files that
say so, or the manager would undo the change at its next start. Some managers read a file of ours
beside those of the administrator; for others the NIC's lines are replaced by a marked block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.lib.nic_records import DhcpLease, HostVeth
from provision.resources.on_hosts import Mark

Files = tuple[tuple[str, str], ...]
"""Paths and texts, sorted by path."""
Reason = tuple[str, str]
"""A message, which begins with file and line, and its hint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePort:
    """A NIC as a port of the bridge of `mark`, as the files of a manager have to describe it."""

    mark: Mark
    nic: str
    mac: str
    mtu: int
    stp: bool
    vlans: tuple[int, ...]
    host_veth: HostVeth | None
    ovs: bool = False
    lease: DhcpLease | None = None

    @property
    def bridge(self) -> str:
        """The bridge, which its mark names."""
        return self.mark.network

    @property
    def host_link(self) -> str:
        """The interface that holds the host's addresses."""
        return self.host_veth.name if self.host_veth else self.bridge


@dataclass(frozen=True, slots=True)
class UnreadFile:
    """A file that was not read: its line `line` has `content`, which is secret or not known."""

    path: str
    line: int
    content: str


@dataclass(frozen=True, slots=True)
class ManagerSetting:
    """A line `KEY=VALUE` of a manager's own file, for all of its NICs."""

    path: str
    line: int
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class ManagerFiles:
    """The managers' files of a host, by path; those with secrets are not read.

    `profiles` is the path of NetworkManager's file for each NIC, and `metrics` the metric that it
    gives the routes of the NIC by itself. `settings` are those of its own files about DHCP.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[UnreadFile, ...] = ()
    profiles: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[ManagerSetting, ...] = ()


class NicManager(ABC):
    """A network manager whose NICs provision can make ports of bridges."""

    name: ClassVar[str]
    """The name in messages, in facts and in the records of hosts."""
    programs: ClassVar[tuple[str, ...]]
    """Files of shell functions, below the template folder, that make the manager agree."""
    mode: ClassVar[int] = 0o644
    """The mode of the files that provision adds."""
    sets_forward_delay: ClassVar[bool] = True
    """False if it leaves a bridge without STP its forward delay, which has no effect then."""
    serves_ovs: ClassVar[bool] = False
    """True if it can configure a bridge of Open vSwitch."""
    serves_vlans: ClassVar[bool] = True
    """True if it can configure the VLANs of the port."""
    serves_veth: ClassVar[bool] = True
    """True if it can configure a veth into the bridge (`host_port: veth`)."""

    remakes_bridges: ClassVar[bool] = False
    """True if applying its files deletes the bridge and makes it anew."""
    dhcp_client: ClassVar[str] = ""
    """The program that can get the lease of the NIC for a bridge, as facts name it; or empty."""

    @abstractmethod
    def describe(self, nic: str, files: ManagerFiles) -> str:
        """The manager's settings of a NIC, in its own language; a host's record keeps them."""

    def uses_dhcp(self, nic: str, files: ManagerFiles) -> bool:  # noqa: ARG002
        """True if the files ask for an IPv4 address by DHCP."""
        return False

    def mode_of(self, path: str) -> int:  # noqa: ARG002
        """The mode of a file that provision adds."""
        return self.mode

    @abstractmethod
    def reasons(self, nic: str, files: ManagerFiles) -> Iterator[Reason]:
        """Yield the settings that a bridge could not keep."""

    @abstractmethod
    def paths(self, mark: Mark) -> tuple[str, ...]:
        """Every file that provision may add for a bridge."""

    @abstractmethod
    def added(self, port: BridgePort, settings: str) -> Files:
        """The files that provision adds; `settings` are those of `describe`."""

    def edited(self, port: BridgePort, settings: str, files: ManagerFiles) -> Files:  # noqa: ARG002
        """The administrator's files with blocks of ours; `files` are without them."""
        return ()

    def arguments(self, mark: Mark, settings: str) -> str:  # noqa: ARG002
        """The words that `programs` get as `$manager_arguments`."""
        return ""


def marked(mark: Mark, texts: Mapping[str, str]) -> Files:
    """Files whose first line has the mark of the inventory."""
    return tuple(
        sorted((path, f"# {Mark(mark.inventory).tag}\n{text}") for path, text in texts.items())
    )
