"""netplan with the renderer NetworkManager, which has its profiles in /run from netplan. Pure.

The profile of the NIC keeps its UUID, which NetworkManager derives from the name of its file. The
profile of the bridge gets a UUID of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from provision.resources.lib.managers.base import (
    BridgePort,
    Files,
    ManagerFiles,
    Reason,
    marked,
)
from provision.resources.lib.managers.netplan import Netplan
from provision.resources.lib.managers.network_manager import (
    NetworkManager,
    lease_reasons,
    profile_uuid,
)
from provision.resources.on_hosts import Mark


class NetplanNm(Netplan):
    """NICs for which netplan has written the profiles of NetworkManager."""

    name = "netplan-nm"
    renderer = "NetworkManager"
    programs = ("host/manager_networkmanager.sh", "host/manager_netplan_nm.sh")
    sets_forward_delay = False
    dhcp_client = NetworkManager.name
    # netplan apply flushes all addresses before it starts NetworkManager, which deletes the bridge.
    remakes_bridges = True

    def describe(self, nic: str, files: ManagerFiles) -> str:
        """The entry of the NIC, with the metric of its routes, which a bridge would not get."""
        metric = files.metrics.get(nic)
        return super().describe(nic, files) + (f"# route-metric: {metric}\n" if metric else "")

    def reasons(self, nic: str, files: ManagerFiles) -> Iterator[Reason]:
        """Yield also settings of NetworkManager for all NICs, which a lease could not keep."""
        yield from super().reasons(nic, files)
        if self.uses_dhcp(nic, files):
            yield from lease_reasons(nic, "", (), files)

    def paths(self, mark: Mark) -> tuple[str, ...]:
        """The file of the bridge."""
        return super().paths(mark)[:1]

    def mode_of(self, path: str) -> int:  # noqa: ARG002
        """Root alone reads the file."""
        return self.mode

    def arguments(self, mark: Mark, settings: str) -> str:  # noqa: ARG002
        """The UUID of the bridge's profile; the host knows that of the NIC's."""
        return f"- {profile_uuid(mark, 'bridge')} -"

    def added(self, port: BridgePort, settings: str) -> Files:
        """The file of the bridge."""
        metric = re.search("^# route-metric: ([0-9]+)$", settings, re.MULTILINE)
        more = f', passthrough: {{ipv4.route-metric: "{metric[1]}"}}' if metric else ""
        backend = f'networkmanager: {{uuid: "{profile_uuid(port.mark, "bridge")}"{more}}}'
        (path,) = self.paths(port.mark)
        return marked(port.mark, {path: self.bridge(port, settings, backend)})
