"""The BGP speaker of one host: its files, service and firewall rule, of any method. Pure.

Debian's own service of FRR is not used, so that no file in /etc/frr is touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address

from provision.facts.host import HostFacts
from provision.methods._shared import firewall_needs
from provision.methods._shared.bgp_options import (
    BFD_INTERVAL_MS,
    BFD_MULTIPLIER,
    PORT,
    reflectors,
    speaker_options,
)
from provision.model.inventory import Inventory, Network
from provision.model.names import chain_name, interface_name
from provision.resources.kinds.file import File
from provision.resources.kinds.iptables_chain import IptablesChain, comment
from provision.resources.kinds.secret_file import SecretFile, secret_path
from provision.resources.kinds.service import Service, head
from provision.resources.on_hosts import ETC, Mark, service_name
from provision.resources.render import render

GROUP = "hosts"
"""The name of all callers in the configuration of a reflector."""
HOLD_S = 5
"""Seconds from the first call to a restarted reflector until it tells the hosts its routes."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """The speaker of a network on one host.

    `program`: the end of the names of its service, program and file of secrets.
    """

    inventory: Inventory
    network: Network
    host: str
    program: str

    @property
    def mark(self) -> Mark:
        """The mark of the network."""
        return Mark(self.inventory.name, self.network.name)

    @property
    def unit(self) -> str:
        """The systemd service, the same on every host."""
        return service_name(self.inventory.name, self.network.name, self.program)

    @property
    def run_folder(self) -> str:
        """The folder of the daemons' sockets."""
        name = interface_name(f"{self.program}-", self.inventory.name, self.network.name)
        return f"/run/provision-{name}"

    @property
    def reflects(self) -> bool:
        """True if the host passes on the routes of all others."""
        return self.host in reflectors(self.network)

    @property
    def peers(self) -> tuple[str, ...]:
        """The addresses of the reflectors that the host calls."""
        names = (name for name in reflectors(self.network) if name != self.host)
        return tuple(str(self.inventory.hosts[name].address) for name in names)

    @property
    def neighbors(self) -> tuple[str, ...]:
        """The names of all peers in the configuration: of the callers' group, and addresses."""
        return (*((GROUP,) if self.reflects else ()), *self.peers)

    @property
    def password_path(self) -> str:
        """The file of the password; empty if the network has none."""
        name = (self.inventory.name, self.network.name, self.program)
        return secret_path(*name) if self.network.secrets else ""

    @property
    def bfdd_path(self) -> str:
        """The file of bfdd; empty if the network has no BFD."""
        return self.path("bfdd.conf") if speaker_options(self.network).bfd else ""

    def callers(self, facts: HostFacts) -> tuple[object, ...]:
        """The ranges from which a reflector is called; empty for another host."""
        ranges = {
            source for _, source in firewall_needs.sources(self.inventory, self.network, facts)
        }
        return tuple(sorted(ranges)) if self.reflects else ()

    def path(self, ending: str) -> str:
        """The path of one of the speaker's files."""
        return f"{ETC}/{self.inventory.name}/{self.network.name}.{ending}"

    def file(self, ending: str, text: str, mode: str = "0644") -> File:
        """One of the speaker's files."""
        return File(self.host, self.path(ending), text, mode)

    def program_file(self, template: str, **values: object) -> File:
        """The program that runs the daemons; `values` go before those of every speaker."""
        common = {
            "mark": self.mark,
            "config": self.path("bgpd.conf"),
            "zebra": self.path("zebra.conf"),
            "folder": self.run_folder,
            "port": PORT if self.reflects else 0,
            "bfdd": self.bfdd_path,
            "asn": speaker_options(self.network).asn,
            "password": self.password_path,
            "of_password": " ".join(self.neighbors),
        }
        return self.file(f"{self.program}.sh", render(template, **{**common, **values}), "0755")

    def zebra(self, *, several_links: bool = False) -> File:
        """The file of zebra."""
        text = render("bgp/zebra.conf.j2", mark=self.mark, several_links=several_links)
        return self.file("zebra.conf", text)

    def bfdd(
        self, routed: Collection[IPv4Address] = (), *, several_links: bool = False
    ) -> tuple[File, ...]:
        """The file of bfdd, if the network has BFD; `routed` are the hosts behind a router.

        With `several_links` such hosts may also come later, and change nothing then.
        """
        if not self.bfdd_path:
            return ()
        text = render(
            "bgp/bfdd.conf.j2",
            mark=self.mark,
            address=self.inventory.hosts[self.host].address,
            peers=() if self.reflects else self.peers,
            routed=tuple(map(str, routed)),
            crosses_routers=bool(routed) or several_links,
            group=GROUP,
            multiplier=BFD_MULTIPLIER,
            interval_ms=BFD_INTERVAL_MS,
        )
        return (self.file("bfdd.conf", text),)

    def secrets(self) -> tuple[SecretFile, ...]:
        """The file of the password, if the network has one."""
        pairs, name = tuple(self.network.secrets.items()), self.network.name
        if not pairs:
            return ()
        return (SecretFile(self.host, name, self.program, self.inventory.name, pairs),)

    def service(
        self,
        template: str,
        files: tuple[File, ...],
        optional: tuple[File | SecretFile, ...],
        **values: object,
    ) -> Service:
        """The service; it is restarted, not replaced, when one of `optional` appears."""
        needs, after = tuple(file.ref for file in files), tuple(file.ref for file in optional)
        texts = [file.text for file in (*files, *optional) if isinstance(file, File)]
        text = render(
            template,
            head=head(self.mark, needs, after),
            config=sha256("".join(texts).encode()).hexdigest()[:16],
            mark=self.mark,
            folder=self.run_folder,
            program=self.path(f"{self.program}.sh"),
            asn=speaker_options(self.network).asn,
            **values,
        )
        return Service(self.host, self.unit, self.mark, text, needs=needs, started_after=after)

    def chain(self, routers: Iterable[IPv4Address] = ()) -> IptablesChain:
        """Keep forwarded packets from the port of reflectors and routers.

        A container whose address is masqueraded would be a host to them.
        """
        hosts = [self.inventory.hosts[name].address for name in reflectors(self.network)]
        rules = tuple(
            # In the order of `iptables -S`, so that the parsed rule equals this one.
            (
                *("-d", f"{address}/32", "-p", "tcp", "-m", "tcp"),
                *("--dport", str(PORT), *comment(self.mark), "-j", "DROP"),
            )
            for address in (*hosts, *routers)
        )
        name = chain_name(self.inventory.name, f"{self.network.name}.{self.program}")
        return IptablesChain(self.host, "filter", name, "DOCKER-USER", rules, self.mark)
