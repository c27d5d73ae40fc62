"""The documents of a container's `interfaces` in an inventory file, for pydantic."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from provision.model.document import Document
from provision.model.fields import containers, interfaces, names
from provision.model.fields.scalars import (
    Argument,
    Mtu,
    Priority,
    Table,
    Vlan,
    between,
    number_range,
)

# Named here, since a key such as `mac` would hide a function `mac` inside the class.
Nic = Annotated[str, AfterValidator(names.nic_name)]
InterfaceName = Annotated[str, AfterValidator(names.container_interface)]
MacAddress = Annotated[str, AfterValidator(containers.mac)]
InterfaceAddress = Annotated[str, AfterValidator(interfaces.address)]
Router = Annotated[str, AfterValidator(interfaces.router)]
Prefix = Annotated[str, AfterValidator(interfaces.prefix)]
Destination = Annotated[str, AfterValidator(interfaces.destination)]
Metric = Annotated[int, AfterValidator(between(1, 2**31, "metric")), number_range(1, 2**31)]


class RouteDocument(Document):
    """An entry of an interface's `routes`."""

    to: Destination
    via: Router | None = None
    source: Router | None = None
    metric: Metric = 0
    table: Table | None = None


class RuleDocument(Document):
    """An entry of an interface's `rules`: packets of `source` or to `to` use `table`."""

    source: Prefix | None = None
    to: Prefix | None = None
    table: Table
    priority: Priority


class InterfaceDocument(Document):
    """An entry of a container's `interfaces`."""

    network: str | None = None
    macvlan: Nic | None = None
    nic: Nic | None = None
    name: InterfaceName | None = None
    address: InterfaceAddress | None = None
    addresses: list[InterfaceAddress] = []
    gateway: Router | None = None
    gateway6: Router | None = None
    routes: list[RouteDocument] = []
    rules: list[RuleDocument] = []
    mac: MacAddress | None = None
    mac_from: Argument | None = None
    vlan: Vlan | None = None
    mtu: Mtu | None = None

    @property
    def all_addresses(self) -> tuple[str, ...]:
        """All its addresses, in the order of the file."""
        return (*((self.address,) if self.address else ()), *self.addresses)
