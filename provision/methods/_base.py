"""The contract of a network method: one class with defaults, of which a method overrides a part.

Every function is pure: it neither contacts a host nor reads a file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from provision.facts.host import HostFacts, PortNic
from provision.facts.probe import FactsProbe
from provision.methods._parts import ClashKey, Facts, HostCheck, Row
from provision.methods._shared import docker_bridge, firewall_needs, second_nics, subnets
from provision.methods._shared.setting_problems import networkd_problems, policy_problems
from provision.model import names
from provision.model.findings import BadValueError, Finding, Loc
from provision.model.inventory import Inventory, LocalBinary, Network
from provision.model.needs import Need
from provision.model.problems import Problem
from provision.model.tunnel import Tunnel
from provision.resources.base import Ref, Resource

if TYPE_CHECKING:
    from provision.model.documents import (
        Decoded,
        Document,
        Layout,
        Member,
        NetworkDocument,
        Subnets,
    )


class Method(ABC):
    """A way to connect the containers of several hosts.

    By default each host gets a Docker network of its own for its subnet, on a Linux bridge.
    """

    name: ClassVar[str]
    """The value of `method` in YAML."""
    Options: ClassVar[type]
    """A frozen dataclass: the keys that a network of this method may have besides the common ones.
    Decoding, the JSON Schema and the error messages are made from its fields."""
    HostOptions: ClassVar[type[Document] | None] = None
    """The document of the key with the method's name in an entry of `hosts`; None: there is none.
    `Network.host_options` has it."""
    on_hosts_lan: ClassVar[bool] = False
    """The network's range is the LAN of the hosts, in which other machines have addresses, too.
    `Options` then has the key `pool`: the part of the LAN that Docker may hand out."""
    uses_bridge: ClassVar[bool] = True
    """Containers' interfaces are ports of a bridge of the host. False: they are on the NIC itself
    (macvlan), so that the kernel passes nothing between a host and its own containers."""
    takes_nic: ClassVar[bool] = False
    """Its datapath may take a NIC of the host, by the kind `ovs_uplink`."""
    takes_interfaces: ClassVar[bool] = False
    """`interfaces:` of containers can join a network of this method, by `interface_bridge`."""
    packages: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Debian packages of the commands in `tools` that the kind `package` does not know."""
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {}}
    """Options of each network that `compare` measures, by the end of its name (`METHOD-END`)."""
    sole: ClassVar[str] = ""
    """What a host has once, such as FRR: `compare` deploys its networks after each other."""
    checks: ClassVar[tuple[HostCheck, ...]] = ()
    """Checks of `verify` besides those of every method."""
    secrets: ClassVar[Mapping[str, Callable[[str], None]]] = {}
    """Options of type `ValueDocument`, and checks of their texts, which raise BadValueError."""

    # Reading the file.

    def subnets(self, document: NetworkDocument, options: Any, hosts: tuple[str, ...]) -> Subnets:
        """The subnet of each host; a host that gets none is left out."""
        return subnets.equal_blocks(document, hosts)

    def check_file(self, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
        """Yield the mistakes in this method's networks, and in the containers that use them."""
        for name, document in self.documents(decoded).items():
            loc: Loc = ("networks", name)
            yield from subnets.findings(loc, document, layout.hosts[name], layout.subnets[name])

    def documents(self, decoded: Decoded) -> dict[str, NetworkDocument]:
        """The networks of this method in a file, by name."""
        networks = decoded.networks.items()
        return {name: document for name, document in networks if document.method == self.name}

    def networks(self, inventory: Inventory, host: str) -> tuple[Network, ...]:
        """The networks of this method that a host is in."""
        networks = inventory.networks.values()
        return tuple(net for net in networks if net.method == self.name and host in net.hosts)

    def check_address(
        self, loc: Loc, container: Member, subnet: IPv4Network, decoded: Decoded
    ) -> Iterator[Finding]:
        """Yield the reasons why Docker cannot give a container its fixed address."""
        docker0 = docker_bridge.uses_docker0(decoded.options[container.network])
        yield from subnets.address_findings(loc, container, subnet, docker0=docker0)

    def capacity(self, subnet: IPv4Network) -> int:
        """The number of containers that Docker can give an address of a host's subnet."""
        return names.container_capacity(subnet)

    def withheld(self, network: Network, subnet: IPv4Network) -> Mapping[IPv4Address, str]:
        """Addresses that count in `capacity` and that Docker gives to nobody, each with its use."""
        return {}

    def clash_keys(self, name: str, decoded: Decoded) -> Iterator[ClashKey]:
        """Yield what no other network of the same hosts may use."""
        if docker_bridge.uses_docker0(decoded.options[name]):
            hint = "remove 'bridge' from one, or give them other hosts"
            yield ClashKey(("docker0",), ("bridge",), "use docker0", hint)

    def controller_files(
        self, options: Any, folder: Path
    ) -> Mapping[str, LocalBinary | BadValueError]:
        """Files of the controller that the hosts get, by the option that names them.

        An option inside another has a dot: `etcd.ca`. Relative names are relative to `folder`. The
        value is an error for a file that cannot be used; a file that can be built and does not
        exist yet is left out.
        """
        return {}

    def build_files(
        self, network: Network, say: Callable[[str], None]
    ) -> Mapping[str, LocalBinary]:
        """Build missing files of `controller_files`; `say` gets progress. Raises SupplyError."""
        return {}

    def programs(self) -> Mapping[str, Callable[[Callable[[str], None]], LocalBinary]]:
        """Programs that hosts get from the controller, and how each is made if no file names one.

        The functions get lines of progress as `say`, and raise SupplyError.
        """
        return {}

    # Planning.

    def needs_peers(self, network: Network, host: str) -> bool:
        """True if what a host gets, or may have, follows from other hosts' subnets or facts.

        `apply --limit` then reads the other hosts, too, as it does for an MTU that is not written.
        """
        return True

    def subnet_bounds(self, network: Network) -> tuple[IPv4Address, IPv4Address] | None:
        """The lowest and the highest address at which a host's subnet may begin.

        A host keeps the subnet that it is found to have, and a new one gets a free subnet. None:
        the subnets of this method follow from the file alone.
        """
        return network.cidr.network_address, network.cidr.broadcast_address

    def facts(self, inventory: Inventory, host: str) -> tuple[FactsProbe, ...]:
        """Probes for facts that only this method needs, for a host of one of its networks.

        `HostFacts.of` gives what they have read to the other functions.
        """
        return ()

    @abstractmethod
    def desired(self, inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
        """Yield the resources of one network, on every host of it that is in `facts`."""

    def check_host(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield the reasons why one host cannot carry its part of the network."""
        overhead, single_l2 = self.overhead(network), self.single_l2(network)
        yield from docker_bridge.problems(
            inventory, network, facts, overhead=overhead, single_l2=single_l2
        )
        yield from docker_bridge.peer_problems(inventory, network, facts)

    def check_network(
        self, inventory: Inventory, network: Network, facts: Facts
    ) -> Iterator[Problem]:
        """Yield the reasons that only several hosts together tell; each is of one host."""
        yield from ()

    def rule_problems(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield the rules of one host's `ip rule` that take packets from the network's routes."""
        if not self.single_l2(network):
            needs = self.firewall_needs(inventory, network, facts)
            yield from policy_problems(inventory, network, facts, needs)

    def warnings(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield what will break one host's part of the network later."""
        # A bridge on the LAN has files of networkd from provision itself.
        if not self.on_hosts_lan:
            devices = self.tunnel_links(inventory, network)
            yield from networkd_problems(inventory, network, facts, devices)
            needs = self.firewall_needs(inventory, network, facts)
            bound = self.is_bound_to_nics(network, facts)
            yield from second_nics.problems(inventory, network, facts, needs, bound=bound)

    def is_bound_to_nics(self, network: Network, facts: HostFacts) -> bool:
        """True if the host takes packets of its tunnel by the NICs that lead to the peers alone."""
        return False

    def firewall_needs(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Need]:
        """Yield the packets of a network that the firewalls of one host must let through."""
        if self.on_hosts_lan:
            return  # they go from port to port of a bridge
        tunnel = self.tunnel(network)
        yield from firewall_needs.of_tunnel(inventory, network, facts, tunnel)
        if not self.single_l2(network):
            devices = self.tunnel_links(inventory, network)
            links = docker_bridge.incoming_links(inventory, network, facts, tunnel, devices)
            yield from firewall_needs.of_routes(inventory, network, facts, links)

    def tunnel_links(self, inventory: Inventory, network: Network) -> tuple[str, ...]:
        """Interfaces by which packets leave a tunnel to be routed; empty: by the NICs."""
        return ()

    def strict_device(self, inventory: Inventory, network: Network) -> str:
        """The tunnel's device, if it takes only packets from the network's own range; else ""."""
        return ""

    def overhead(self, network: Network) -> int:
        """Bytes by which a packet grows on its way to another host."""
        return 0

    def mtu(self, inventory: Inventory, network: Network, facts: Facts) -> int:
        """The size in bytes of the largest packet that containers may send."""
        return docker_bridge.mtu(inventory, network, facts, overhead=self.overhead(network))

    def docker_network(self, network: Network, host: str) -> Ref:
        """The resource that Docker attaches a container of this host to."""
        return docker_bridge.docker_network(network, host)

    def interface_bridge(self, network: Network, host: str) -> Ref | None:
        """The bridge that `interfaces:` of containers join; None: they cannot join this network."""
        return None

    def nic_bridges(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Mapping[str, str]:
        """The interfaces of a host that become ports of a bridge, and the bridge of each."""
        return {}

    def port_nics(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Mapping[str, PortNic]:
        """The NICs of `nic_bridges`, by the interface with their addresses once they are ports."""
        return {}

    def tunnel(self, network: Network) -> Tunnel | None:
        """The encapsulation of packets between hosts; None: they travel unwrapped."""
        return None

    def table_service(self, inventory: Inventory, network: Network) -> str:
        """FRR's service that fills the table of routes, or of the tunnel's device; empty: none."""
        return ""

    def single_l2(self, network: Network) -> bool:
        """True if a broadcast of one container reaches all others of the network."""
        return False

    def ports(self, network: Network, host: str) -> tuple[str, ...]:
        """Ports of the host that the network may take, such as `udp/4789`."""
        tunnel = self.tunnel(network)
        return (f"udp/{tunnel.port}",) if tunnel and tunnel.port else ()

    def tools(self, network: Network, host: str) -> tuple[str, ...]:
        """Commands that a host needs in addition to those that every host needs."""
        return ()

    def tools_by_facts(self, network: Network, facts: HostFacts) -> tuple[str, ...]:
        """Commands of `packages` that a host needs because of its facts, such as its kernel."""
        return ()

    def lan_addresses(self, inventory: Inventory, host: str) -> tuple[IPv4Address, ...]:
        """Addresses of the hosts' LAN that a host's networks of this method use."""
        return ()

    def lan_pool(self, network: Network) -> IPv4Network | None:
        """The part of the hosts' LAN from which Docker gives addresses; None: there is none."""
        return None

    def lan_router(self, network: Network) -> IPv4Address | None:
        """The containers' default gateway on the hosts' LAN; None: each container's own host."""
        return None

    def renewal_file(self, inventory: Inventory, network: Network) -> str:
        """The file on a host that asks for another secret key; empty: hosts have no key."""
        return ""

    # Verifying and showing.

    def status_script(self, inventory: Inventory, host: str, *, wait: bool = False) -> str:
        """A POSIX sh program that prints the status of a host's networks; empty for none.

        It runs with the snapshots of `verify` and `show`, in a shell of its own. With `wait`, as
        `verify` runs it, it may wait some seconds for hosts that have just started.
        """
        return ""

    def parse_status(self, inventory: Inventory, host: str, text: str) -> Any:
        """The status of one host, from the output of `status_script`; empty without an answer."""
        return None

    def show_tables(
        self, statuses: Mapping[str, Any]
    ) -> Iterator[tuple[str, Row, tuple[Row, ...]]]:
        """Yield title, columns and rows of each table of `show`; `statuses` are by host."""
        yield from ()

    def show_json(self, statuses: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keys to add to the JSON of `show --json`; `statuses` are by host."""
        return {}
