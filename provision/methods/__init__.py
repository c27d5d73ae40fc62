"""The registry of network methods: one module or folder each, named like the method.

A `-` in YAML is a `_` in the file name; names that begin with `_` are not methods. Other packages
bring methods by entry points of the group `provision.methods`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from ipaddress import IPv4Address, IPv4Network
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from provision.facts.host import HostFacts
from provision.facts.probe import FactsProbe
from provision.methods._base import Method as Method
from provision.methods._names import facts as _name_facts
from provision.methods._names import server as _name_server
from provision.methods._names.members import NamedMember as NamedMember
from provision.methods._names.members import all_names as all_names
from provision.methods._names.members import members as members
from provision.methods._parts import ClashKey as ClashKey
from provision.methods._parts import Facts as Facts
from provision.methods._parts import HostCheck as HostCheck
from provision.methods._parts import Row as Row
from provision.methods._shared import access as _access
from provision.methods._shared import access_rules as _access_rules
from provision.methods._shared.docker_bridge import uses_docker0
from provision.model.errors import SupplyError
from provision.model.inventory import Container, Inventory, MethodOptions, Network
from provision.model.needs import Need
from provision.model.problems import Problem
from provision.model.reading import require_types
from provision.model.text import count
from provision.resources.base import Resource

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

    from provision.model.documents import NetworkDocument

GROUP = "provision.methods"
"""The group of entry points by which other packages bring methods."""
DEFAULT = "routes"
"""The method of a new inventory, and the first that a comparison deploys."""
_STATUS = "method-status"
"""The first word of each line of a status script's output, among that of other programs."""


@cache
def names() -> tuple[str, ...]:
    """Every method's name as YAML writes it, sorted."""
    return tuple(sorted({*_modules(), *(point.name for point in _entry_points())}))


def is_known(name: str) -> bool:
    """True for the name of a method."""
    # Entry points are in a file of each installed package: read them only for other names.
    return name in _modules() or name in names()


@cache
def named(name: str) -> Method:
    """The method of this name, which must be one of `names`. Raises SupplyError."""
    if name in _modules():
        module = import_module(f"{__name__}.{_modules()[name]}")
        classes = [member for member in vars(module).values() if _is_method_of(module, member)]
        assert len(classes) == 1, (
            f"{module.__name__} defines {count(len(classes), 'method')}, not one"
        )
        return cast("Method", classes[0]())
    return _loaded(next(point for point in _entry_points() if point.name == name))


@cache
def _modules() -> dict[str, str]:
    """The modules and folders of this package that are methods, by the method's name."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return {name.replace("_", "-"): name for name in modules if not name.startswith("_")}


def _entry_points() -> EntryPoints:
    from importlib.metadata import entry_points  # only for methods of other packages

    return entry_points(group=GROUP)


def _is_method_of(module: ModuleType, member: object) -> bool:
    return (
        isinstance(member, type)
        and issubclass(member, Method)
        and member.__module__.startswith(module.__name__)
    )


def _loaded(point: EntryPoint) -> Method:
    """The method of an entry point, which names a class: `NAME = "module:Class"`."""
    where = f"method {point.name} of the entry point {point.value}"
    try:
        method = point.load()()
    except Exception as error:  # another package's import may raise anything
        raise SupplyError(f"{where} cannot be loaded: {error!r}") from error
    if not isinstance(method, Method) or method.name != point.name:
        raise SupplyError(f"{where} is not a Method named {point.name}")
    return method


def facts_probes(inventory: Inventory, host: str) -> tuple[FactsProbe, ...]:
    """The probes of the methods that the networks of a host use, each once."""
    probes = [p for method in on_host(inventory, host) for p in method.facts(inventory, host)]
    if has_names(inventory, host):
        probes.append(_name_facts.probe())
    return tuple(dict.fromkeys(probes))


def dns_resources(inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
    """Yield the records and the DNS server of each host of a network with names."""
    return _name_server.resources(inventory, network, facts)


def dns_network(inventory: Inventory, container: Container) -> Network | None:
    """The network whose DNS server a container asks; None for that of Docker."""
    return _name_server.asked_network(inventory, container)


def dns_address(network: Network, host: str) -> IPv4Address:
    """The address of the DNS server of a network with names on a host."""
    return _name_server.address(network, host)


def dns_unit(inventory: Inventory, network: Network) -> str:
    """The systemd service of the DNS server of a network with names."""
    return _name_server.unit(inventory, network)


def is_on_docker0(options: MethodOptions) -> bool:
    """True for a network with these options that is on Docker's own default bridge."""
    return uses_docker0(options)


def dns_obstacle(document: NetworkDocument, options: object) -> tuple[str, str] | None:
    """Message and hint for a network whose containers cannot have names; None if they can."""
    return _name_server.obstacle(named(document.method), options)


def access_resources(inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
    """Yield the routes and rules by which others reach the containers of a network."""
    return _access.resources(inventory, network, of(network), facts)


def access_obstacle(document: NetworkDocument) -> tuple[str, str] | None:
    """Message and hint for a network whose containers can have no `access`; None if they can."""
    return _access.obstacle(named(document.method))


def access_warnings(inventory: Inventory, network: Network, facts: Facts) -> Iterator[Problem]:
    """Yield what keeps `access` of a network from having an effect."""
    return _access.warnings(inventory, network, facts)


def access_sources(inventory: Inventory, network: Network) -> tuple[IPv4Network, ...]:
    """The ranges of sources that `access` of a network allows."""
    return _access_rules.sources(inventory, network)


def members_reach(inventory: Inventory, network: Network) -> bool:
    """True if the hosts of a network reach all its containers, whatever `access` says."""
    return _access.members_reach(inventory, network, of(network))


def has_names(inventory: Inventory, host: str) -> bool:
    """True for a host of a network whose containers have names in DNS."""
    networks = inventory.networks.values()
    return any(net.names is not None and host in net.subnets for net in networks)


def tools(
    inventory: Inventory, host: str, facts: HostFacts | None = None
) -> dict[str, tuple[str, ...]]:
    """Commands that the networks of a host need, with the packages that only their methods know.

    Without `facts`, all that they may need.
    """
    commands: dict[str, tuple[str, ...]] = {}
    for network in inventory.networks.values():
        method = of(network)
        if host in network.hosts:
            more = method.packages if facts is None else method.tools_by_facts(network, facts)
            for tool in (*method.tools(network, host), *more):
                commands.setdefault(tool, method.packages.get(tool, ()))
    if has_names(inventory, host):
        commands[_name_server.TOOL] = ()
    if facts is not None and facts.nftables_backend:
        commands["nft"] = ()
    return commands


def ports(inventory: Inventory, host: str) -> tuple[str, ...]:
    """The ports that the networks of a host may take, such as `udp/4789`."""
    networks = [network for network in inventory.networks.values() if host in network.hosts]
    of_methods = (port for network in networks for port in of(network).ports(network, host))
    return (*of_methods, *(_name_server.PORTS if has_names(inventory, host) else ()))


def firewall_needs(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Need]:
    """Yield the packets of a network that the firewalls of one host must let through."""
    needs = tuple(of(network).firewall_needs(inventory, network, facts))
    yield from needs
    yield from _name_server.firewall_needs(inventory, network, facts, needs)


def checks_of(network: Network) -> tuple[HostCheck, ...]:
    """The checks of the method that the network has."""
    return tuple(check for check in of(network).checks if check.applies(network))


def on_host(inventory: Inventory, host: str) -> tuple[Method, ...]:
    """The methods of a host's networks, each once."""
    networks = [network for network in inventory.networks.values() if host in network.hosts]
    return tuple(dict.fromkeys(of(network) for network in networks))


def status_script(inventory: Inventory, host: str, *, wait: bool = False) -> str:
    """The status scripts of a host's methods, each line of their output marked by the method."""
    texts = {
        method.name: method.status_script(inventory, host, wait=wait)
        for method in on_host(inventory, host)
    }
    return "".join(
        f"(\n{text.rstrip()}\n) | sed 's/^/{_STATUS} {name} /'\n"
        for name, text in texts.items()
        if text
    )


def parse_statuses(inventory: Inventory, host: str, output: str) -> dict[str, Any]:
    """The statuses of a host by method, from an output that holds that of `status_script`."""
    texts: dict[str, list[str]] = {}
    for line in output.splitlines():
        mark, _, rest = line.partition(" ")
        if mark == _STATUS:
            name, _, text = rest.partition(" ")
            texts.setdefault(name, []).append(text)
    statuses = {
        method.name: method.parse_status(inventory, host, "\n".join(texts.get(method.name, ())))
        for method in on_host(inventory, host)
        if method.status_script(inventory, host)
    }
    for status in statuses.values():
        for part in status if isinstance(status, tuple) else (status,):
            require_types(part)
    return statuses


def of(network: Network) -> Method:
    """The method of a network."""
    return named(network.method)
