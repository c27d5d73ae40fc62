"""systemd-networkd: files of ours are read before the administrator's, which stay. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.resources.lib import networkd
from provision.resources.lib.managers.base import (
    BridgePort,
    Files,
    ManagerFiles,
    NicManager,
    Reason,
)
from provision.resources.lib.nic_records import NETWORKD
from provision.resources.on_hosts import Mark


class SystemdNetworkd(NicManager):
    """NICs of systemd-networkd, except those for which netplan wrote the files."""

    name = NETWORKD
    programs = ("host/networkd_ranges.sh", "host/networkd_port.sh", "host/manager_networkd.sh")
    serves_ovs = True
    dhcp_client = NETWORKD

    def describe(self, nic: str, files: ManagerFiles) -> str:  # noqa: ARG002
        """Nothing: the facts of each NIC have the text of networkd's file (`Nic.network`)."""
        return ""

    def reasons(self, nic: str, files: ManagerFiles) -> Iterator[Reason]:  # noqa: ARG002
        """Nothing: every setting either stays with the cable or moves to the bridge."""
        yield from ()

    def paths(self, mark: Mark) -> tuple[str, ...]:
        """Every file that provision may add for a bridge."""
        return networkd.paths(mark.inventory, mark.network)

    def arguments(self, mark: Mark, settings: str) -> str:  # noqa: ARG002
        """The settings of the NIC, by which it keeps addresses that nobody has leased yet."""
        return networkd.kept_addresses(settings)

    def added(self, port: BridgePort, settings: str) -> Files:
        """The files of the bridge, the NIC and the host's veth."""
        return networkd.files(
            port.mark.inventory,
            port.bridge,
            nic=port.nic,
            mac=port.mac,
            mtu=port.mtu,
            stp=port.stp,
            vlans=port.vlans,
            host_veth=port.host_veth,
            network=settings,
            ovs=port.ovs,
            lease=port.lease,
        )
