"""The BGP speaker of one host: zebra, bgpd, their files and their firewall rule. Pure.

Debian's own service of FRR is not used, so that no file in /etc/frr is touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from provision.facts.host import HostFacts
from provision.methods._shared import docker_bridge, firewall_needs
from provision.methods.bgp.facts import UNIT, FrrFacts
from provision.methods.bgp.options import (
    BFD_INTERVAL_MS,
    BFD_MULTIPLIER,
    KEPT,
    PORT,
    PROTOCOL,
    accepted_ranges,
    options,
    reflectors,
    routers,
)
from provision.model.inventory import Inventory, Network
from provision.model.names import chain_name, interface_name
from provision.model.problems import Problem
from provision.model.text import listed
from provision.resources.base import Resource
from provision.resources.kinds.file import File
from provision.resources.kinds.iptables_chain import IptablesChain, comment
from provision.resources.kinds.secret_file import SecretFile, secret_path
from provision.resources.kinds.service import Service, head
from provision.resources.on_hosts import ETC, Mark, service_name
from provision.resources.render import render

PROGRAM = "bgp"
"""The end of the names of the service and of its file of secrets."""
GROUP = "hosts"
"""The name of all callers in the configuration of a reflector."""
HOLD_S = 5
"""Seconds from the first call to a restarted reflector until it tells the hosts its routes."""


def unit(inventory: Inventory, network: Network) -> str:
    """The systemd service of the speaker, the same on every host."""
    return service_name(inventory.name, network.name, PROGRAM)


def run_folder(inventory: Inventory, network: Network) -> str:
    """The folder of the daemons' sockets."""
    return f"/run/provision-{interface_name('bgp-', inventory.name, network.name)}"


def resources(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Resource]:
    """The speaker of one host."""
    host, mark = facts.host, Mark(inventory.name, network.name)
    zebra = _file(inventory, network, host, "zebra.conf", render("bgp/zebra.conf.j2", mark=mark))
    bgpd = _file(inventory, network, host, "bgpd.conf", _bgpd_conf(inventory, network, facts))
    program = _file(inventory, network, host, "bgp.sh", _program(inventory, network, host), "0755")
    files, optional = (zebra, bgpd, program), _bfdd(inventory, network, host)
    yield from (*files, *optional)
    secrets = _secrets(inventory, network, host)
    yield from secrets
    yield _service(inventory, network, host, files, (*optional, *secrets))
    yield _chain(inventory, network, host)


def problems(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Problem]:
    """Yield the reason why the host cannot run FRR for the network."""
    if facts.of(FrrFacts).of_others:
        message = f"its own {UNIT} is enabled or runs, and a host has one FRR for its kernel"
        hint = f"run `systemctl disable --now {UNIT}`, or write method: routes"
        yield Problem(facts.host, message, hint)
    nics = docker_bridge.nics(inventory, network, facts)
    links = [
        held.network for nic in nics if nic in facts.links for held in facts.links[nic].addresses
    ]
    for router in routers(network) if nics else ():
        if not any(router.address in link for link in links):
            message = f"router {router.address} is not on the link of {listed(nics)} to its peers"
            hint = "write the router's address on that link"
            yield Problem(facts.host, message, hint)


def _file(
    inventory: Inventory, network: Network, host: str, ending: str, text: str, mode: str = "0644"
) -> File:
    return File(host, _path(inventory, network, ending), text, mode)


def _path(inventory: Inventory, network: Network, ending: str) -> str:
    return f"{ETC}/{inventory.name}/{network.name}.{ending}"


def _bgpd_conf(inventory: Inventory, network: Network, facts: HostFacts) -> str:
    address = inventory.hosts[facts.host].address
    ranges = {source for _, source in firewall_needs.sources(inventory, network, facts)}
    return render(
        "bgp/bgpd.conf.j2",
        mark=Mark(inventory.name, network.name),
        asn=options(network).asn,
        address=address,
        cidr=network.cidr,
        lengths=sorted({subnet.prefixlen for subnet in network.subnets.values()}),
        subnet=network.subnets[facts.host],
        routers=routers(network),
        strict=options(network).strict,
        owners=_owners(inventory, network, facts.host),
        peers=_peers(inventory, network, facts.host),
        ranges=sorted(ranges) if facts.host in reflectors(network) else (),
        reflects=facts.host in reflectors(network),
        group=GROUP,
        hold_s=HOLD_S,
        bfd=options(network).bfd,
    )


def _owners(inventory: Inventory, network: Network, host: str) -> tuple[tuple[str, str], ...]:
    """The addresses of the hosts that call a strict reflector, each with the host's subnet."""
    if not options(network).strict or host not in reflectors(network):
        return ()
    return tuple(
        (str(inventory.hosts[name].address), str(subnet))
        for name, subnet in network.subnets.items()
        if name not in reflectors(network)
    )


def _bfdd(inventory: Inventory, network: Network, host: str) -> tuple[File, ...]:
    """The file of bfdd, if the network has BFD."""
    if not options(network).bfd:
        return ()
    text = render(
        "bgp/bfdd.conf.j2",
        mark=Mark(inventory.name, network.name),
        address=inventory.hosts[host].address,
        peers=() if host in reflectors(network) else _peers(inventory, network, host),
        group=GROUP,
        multiplier=BFD_MULTIPLIER,
        interval_ms=BFD_INTERVAL_MS,
    )
    return (_file(inventory, network, host, "bfdd.conf", text),)


def _peers(inventory: Inventory, network: Network, host: str) -> tuple[str, ...]:
    """The addresses of the reflectors that the host calls."""
    names = (name for name in reflectors(network) if name != host)
    return tuple(str(inventory.hosts[name].address) for name in names)


def _program(inventory: Inventory, network: Network, host: str) -> str:
    reflects, peers = host in reflectors(network), _peers(inventory, network, host)
    called = tuple(str(router.address) for router in routers(network))
    shared = called if "router_password" not in network.secrets else ()
    return render(
        "bgp/bgp.sh.j2",
        mark=Mark(inventory.name, network.name),
        config=_path(inventory, network, "bgpd.conf"),
        zebra=_path(inventory, network, "zebra.conf"),
        folder=run_folder(inventory, network),
        port=PORT if reflects else 0,
        bfdd=_path(inventory, network, "bfdd.conf") if options(network).bfd else "",
        asn=options(network).asn,
        peers=" ".join((*peers, *called)),
        routers=",".join(called),
        ranges=" ".join(map(str, (network.cidr, *accepted_ranges(network)))),
        protocol=PROTOCOL,
        kept=KEPT,
        cidr=network.cidr,
        password=secret_path(inventory.name, network.name, PROGRAM) if network.secrets else "",
        of_password=" ".join((*((GROUP,) if reflects else ()), *peers, *shared)),
        of_router_password=" ".join(called),
    )


def _secrets(inventory: Inventory, network: Network, host: str) -> tuple[SecretFile, ...]:
    """The file of the password, if the network has one."""
    pairs = tuple(network.secrets.items())
    return (SecretFile(host, network.name, PROGRAM, inventory.name, pairs),) if pairs else ()


def _service(
    inventory: Inventory,
    network: Network,
    host: str,
    files: tuple[File, ...],
    optional: tuple[File | SecretFile, ...],
) -> Service:
    """The service; it is restarted, not replaced, when one of `optional` appears."""
    mark, needs = Mark(inventory.name, network.name), tuple(file.ref for file in files)
    after = tuple(file.ref for file in optional)
    texts = [file.text for file in (*files, *optional) if isinstance(file, File)]
    text = render(
        "bgp/bgp.service.j2",
        head=head(mark, needs, after),
        config=sha256("".join(texts).encode()).hexdigest()[:16],
        mark=mark,
        folder=run_folder(inventory, network),
        program=_path(inventory, network, "bgp.sh"),
        asn=options(network).asn,
        subnet=network.subnets[host],
        cidr=network.cidr,
        protocol=PROTOCOL,
        kept=KEPT,
        routers=",".join(str(router.address) for router in routers(network)),
        ranges=(network.cidr, *accepted_ranges(network)),
    )
    return Service(host, unit(inventory, network), mark, text, needs=needs, started_after=after)


def _chain(inventory: Inventory, network: Network, host: str) -> IptablesChain:
    """Keep forwarded packets from the port of reflectors and routers.

    A container whose address is masqueraded would be a host to them.
    """
    mark = Mark(inventory.name, network.name)
    addresses = [inventory.hosts[name].address for name in reflectors(network)]
    addresses += [router.address for router in routers(network)]
    rules = tuple(
        # In the order of `iptables -S`, so that the parsed rule equals this one.
        (
            *("-d", f"{address}/32", "-p", "tcp", "-m", "tcp"),
            *("--dport", str(PORT), *comment(mark), "-j", "DROP"),
        )
        for address in addresses
    )
    name = chain_name(inventory.name, f"{network.name}.bgp")
    return IptablesChain(host, "filter", name, "DOCKER-USER", rules, mark)
