"""The files by which the network manager of a lab host configures its two NICs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from uuid import UUID, uuid5

from provision.lab import variants
from provision.lab.layout import LabHost, addresses_of, mac
from provision.lab.settings import LabSettings
from provision.resources.render import render

_UUIDS = UUID("6f1b1d3c-2f0e-4d3e-9d51-0c6b6d0b7a11")
"""Namespace of the UUIDs of NetworkManager's connections."""

Files = Mapping[str, tuple[str, int]]
"""Text and mode by path, without the leading slash."""


@dataclass(frozen=True, slots=True)
class LabNic:
    """A NIC of a lab host. `uuid` names its connection, as NetworkManager wants it.

    `leased` is True if it has its address by DHCP.
    """

    name: str
    purpose: str
    mac: str
    address: IPv4Address
    uuid: UUID
    leased: bool


def files(host: LabHost, target: LabSettings) -> Files:
    """The files of both NICs, for the manager of the host."""
    nics = tuple(_nics(host, target))
    match variants.value(target.choice(host.name), "manager"):
        case "ifupdown":
            managed = {"etc/network/interfaces": (_text("interfaces", nics), 0o644)}
        case "networkmanager":
            managed = {
                f"etc/NetworkManager/system-connections/{nic.name}.nmconnection": (
                    render("lab/nic.nmconnection.j2", nic=nic),
                    0o600,
                )
                for nic in nics
            }
        case "netplan":
            managed = {"etc/netplan/50-lab.yaml": (_text("netplan.yaml", nics), 0o600)}
        case "netplan-nm":
            text = _text("netplan.yaml", nics, renderer="NetworkManager")
            managed = {"etc/netplan/50-lab.yaml": (text, 0o600)}
        case _:
            return dict(_networkd_files(nics))
    return {**managed, **_mac_unit(nics)}


def _nics(host: LabHost, target: LabSettings) -> Iterator[LabNic]:
    for address, (name, purpose) in zip(
        addresses_of(host.name, target.ranges),
        (("host0", "the NIC for SSH"), ("eth1", "the NIC for the containers' traffic")),
        strict=True,
    ):
        nic_mac = mac(host, name)
        leased = name == "eth1" and host.name in target.leased
        yield LabNic(name, purpose, nic_mac, address, uuid5(_UUIDS, nic_mac), leased)


def _networkd_files(nics: tuple[LabNic, ...]) -> Iterator[tuple[str, tuple[str, int]]]:
    for nic in nics:
        text = render("lab/nic.network.j2", nic=nic)
        yield f"etc/systemd/network/10-{nic.name}.network", (text, 0o644)


def _mac_unit(nics: tuple[LabNic, ...]) -> dict[str, tuple[str, int]]:
    """A unit that gives the NICs their MACs before a manager starts.

    systemd-nspawn draws new ones at each boot, while a real NIC keeps its own; so the files of the
    manager are as on a real host.
    """
    return {"etc/systemd/system/lab-mac.service": (_text("mac.service", nics), 0o644)}


def _text(template: str, nics: tuple[LabNic, ...], *, renderer: str = "networkd") -> str:
    return render(f"lab/{template}.j2", nics=nics, renderer=renderer)
