"""Names of containers: addresses, records, the unit, firewalls and port 53."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision import methods
from provision.checks import name_probe
from provision.checks.gather import named_pairs
from provision.checks.probe import Endpoint
from provision.engine import desired, ports_in_use
from provision.facts import docker_entry
from provision.facts.docker_entry import DockerEntry
from provision.facts.host import HostFacts, PortListener
from provision.inventory.load import load
from provision.methods._names.facts import NameFacts
from provision.methods._names.forwards import reverse_zones
from provision.methods._names.members import free_address, held_addresses
from provision.model.inventory import Inventory
from provision.resources.base import Origin, Ref
from provision.resources.kinds.container import DockerContainer
from provision.resources.kinds.dns_records import DnsForward, DnsRecords, DnsRow
from provision.resources.kinds.guest import GuestConnection
from provision.resources.kinds.service import Service
from provision.resources.on_hosts import UNMARKED, Mark
from provision.resources.steps import Put
from tests.cases.test_cases import facts

DOCKER = {"h1": "26.1.5", "h2": "20.10.24", "h3": "28.5.2"}
FILE = """
name: demo
hosts: {{h1: {{address: 10.78.0.11}}, h2: {{address: 10.78.0.12}}, h3: {{address: 10.78.0.13}}}}
networks:
  blue: {{method: routes, cidr: 172.20.0.0/16, names: {names}}}
containers:
  web: {{host: h1, network: blue, aliases: [www]}}
  db: {{host: h2, network: blue, address: 172.20.1.77}}
{more}
"""


def inventory(tmp_path: Path, *more: str, names: str = "lab.internal") -> Inventory:
    """Two containers with names, and `more` lines of containers."""
    path = tmp_path / "demo.yml"
    path.write_text(FILE.format(names=names, more="\n".join(f"  {line}" for line in more)))
    return load(path)


Known = dict[str, dict[str, Any]]
"""Fields of the facts of some hosts, by host."""


def known(
    host: str,
    *,
    marked: Mapping[str, IPv4Address] | None = None,
    unmarked: Iterable[IPv4Address] = (),
    records: Mapping[str, IPv4Address] | None = None,
) -> Known:
    """What one host knows about the addresses in the network `blue`."""
    ours = [
        container(name, address, Mark("demo", "blue")) for name, address in (marked or {}).items()
    ]
    others = [container(f"other-{address}", address, UNMARKED) for address in unmarked]
    names = NameFacts({"blue": records or {}})
    return {host: {"of_methods": {NameFacts: names}, "docker_containers": (*ours, *others)}}


def container(name: str, address: IPv4Address, mark: Mark) -> DockerEntry:
    """A container as Docker lists it."""
    return DockerEntry(name, mark, True, "blue", {"blue": address}, {"blue": None})


def with_names(loaded: Inventory, names: Known) -> dict[str, HostFacts]:
    """The facts of all hosts, with what some know about addresses."""
    return {
        host: replace(of_host, **names.get(host, {}))
        for host, of_host in facts(loaded, {"docker": DOCKER}).items()
    }


def addresses(loaded: Inventory, names: Known | None = None) -> dict[str, str]:
    """The address of each member."""
    of_hosts = with_names(loaded, names or {})
    members = methods.members(loaded, loaded.networks["blue"], of_hosts)
    return {member.container: str(member.address) for member in members}


def test_containers_of_a_service_share_its_name(tmp_path: Path) -> None:
    """Every record of the service has its name, and each answer may be any of these."""
    more = (
        "api1: {host: h1, network: blue, service: API}",
        "api2: {host: h3, network: blue, service: api}",
    )
    loaded = inventory(tmp_path, *more)
    found = with_names(loaded, {})
    records = desired.wanted(loaded, found)[Ref("h2", "dns_records", "blue")]
    assert isinstance(records, DnsRecords)
    of_service = [row for row in records.rows if "api" in row.names]
    assert [row.key for row in of_service] == ["api1.blue.lab.internal", "api2.blue.lab.internal"]
    ends = {"web": Endpoint("web", "h1", "blue", 7, IPv4Address("172.20.0.9"), 1500)}
    asked = name_probe.questions(
        loaded, found, ends, named_pairs(loaded, loaded.containers.values())
    )
    (arguments,) = asked.values()
    questions = {arguments[k : k + 4] for k in range(0, len(arguments), 4)}
    both = ",".join(str(row.address) for row in of_service)
    assert {("api1", "A", "api", both), ("api2", "A", "api.blue", both)} <= questions


def test_guests_have_names_and_do_not_ask(tmp_path: Path) -> None:
    """By their name in the file, at the address that they have, else at a free one."""
    path = tmp_path / "demo.yml"
    guests = "guests: {shop: {host: h1, container: app, network: blue, absent: wait}}"
    path.write_text(FILE.format(names="true", more="") + guests)
    loaded = load(path)
    blue = loaded.networks["blue"]
    (shop,) = (
        m for m in methods.members(loaded, blue, with_names(loaded, {})) if m.container == "shop"
    )
    assert shop.names == ("shop.blue", "shop")
    found = with_names(loaded, {})
    there = IPv4Address("172.20.0.9")
    entry = DockerEntry("app", Mark("", ""), True, "web", {"blue": there}, {"blue": None})
    found["h1"] = replace(found["h1"], docker_containers=(entry,))
    (live,) = (m for m in methods.members(loaded, blue, found) if m.container == "shop")
    assert (shop.address, live.address) == (shop.proposed, there)
    connection = desired.wanted(loaded, found)[Ref("h1", "guest", "shop")]
    assert isinstance(connection, GuestConnection)
    # Docker may give it another address at any start, so its own host answers for it.
    assert (connection.address, connection.proposed) == (None, shop.proposed)
    assert connection.dns_names == shop.names
    assert "/etc/provision/demo/names/blue.live/shop" in str(connection.restore())
    asked = named_pairs(loaded, loaded.members.values())
    assert {(source.name, target.name) for source, target in asked} == {
        ("web", "db"), ("db", "web"), ("web", "shop"), ("db", "shop"),
    }  # fmt: skip


def test_hosts_ask_the_host_of_a_guest(tmp_path: Path) -> None:
    """By the gateways of both; a guest with a written address is in the records of all hosts."""
    path = tmp_path / "demo.yml"
    guests = (
        "guests: {shop: {host: h1, container: app, network: blue},"
        " sql: {host: h3, container: sql, network: blue, address: 172.20.2.200}}"
    )
    path.write_text(FILE.format(names="true", more="") + guests)
    loaded = load(path)
    state = desired.wanted(loaded, with_names(loaded, {}))
    records = {ref.host: each for ref, each in state.items() if isinstance(each, DnsRecords)}
    keys = {row.key for each in records.values() for row in each.rows}
    assert keys == {"web.blue", "db.blue", "sql.blue"}
    assert list(map(str, records["h2"].forwards)) == [
        "shop.blue 172.20.0.1@172.20.1.1",
        "shop 172.20.0.1@172.20.1.1",
        "0.20.172.in-addr.arpa 172.20.0.1@172.20.1.1",
    ]
    assert (records["h1"].forwards, records["h1"].here) == ((), ("shop.blue",))
    assert records["h2"].here == ()
    unit = {
        host: state[Ref(host, "service", "provision-demo-blue-dns.service")]
        for host in ("h1", "h2")
    }
    h1, h2 = (each.text for each in unit.values() if isinstance(each, Service))
    assert "--addn-hosts=/etc/provision/demo/names/blue.live " in h1
    assert "blue.live" not in h2
    # dnsmasq asks nobody for a name without a dot with --domain-needed, not even a server for it.
    assert "--domain-needed" in h1 and "--local=// " in h2 and "--domain-needed" not in h2


def test_a_further_network_is_asked_for_its_guests(tmp_path: Path) -> None:
    """A container of two networks asks the first, which asks the other by full names."""
    path = tmp_path / "demo.yml"
    text = FILE.format(names="true", more="  two: {host: h2, network: blue, networks: [red]}")
    red = "  red: {method: vxlan, cidr: 172.21.0.0/16, names: true}\ncontainers:\n"
    guests = "\nguests: {shop: {host: h1, container: app, network: red}}\n"
    path.write_text(text.replace("containers:\n", red) + guests)
    loaded = load(path)
    state = desired.wanted(loaded, with_names(loaded, {}))
    records = {ref: each for ref, each in state.items() if isinstance(each, DnsRecords)}
    of_blue = records[Ref("h2", "dns_records", "blue")]
    assert list(map(str, of_blue.forwards)) == ["shop.red 172.21.0.1@172.21.1.1"]
    assert records[Ref("h1", "dns_records", "blue")].forwards == ()


def test_the_host_of_a_guest_lets_other_hosts_ask(tmp_path: Path) -> None:
    """By the NIC with routed networks, by the bridge on one layer 2; other hosts need nothing."""
    path = tmp_path / "demo.yml"
    guests = "guests: {shop: {host: h1, container: app, network: blue}}"
    for method, nic in (("routes", "eth1"), ("vxlan", "br-blue-v242wt")):
        text = FILE.format(names="true", more="").replace("routes", method)
        path.write_text(text + guests)
        loaded = load(path)
        found = facts(loaded, {"docker": DOCKER})
        needs = {
            host: {str(n) for n in methods.firewall_needs(loaded, loaded.networks["blue"], of_host)}
            for host, of_host in found.items()
        }
        assert f"UDP 53 from 172.20.0.0/16 on {nic}" in needs["h1"]
        assert not any("53 from 172.20.0.0/16" in need for need in needs["h2"])


def test_an_absent_guest_moves_no_container(tmp_path: Path) -> None:
    """Its proposed address is one that no container has, whatever the order of names."""
    before = addresses(inventory(tmp_path))
    path = tmp_path / "demo.yml"
    guests = "".join(
        f"  a{k}: {{host: h1, container: app{k}, network: blue, absent: wait}}\n"
        for k in range(120)
    )
    path.write_text(FILE.format(names="lab.internal", more="") + f"guests:\n{guests}")
    after = addresses(load(path))
    assert {name: after[name] for name in before} == before
    assert len(set(after.values())) == len(after)


def test_addresses_stay_when_containers_come_and_go(tmp_path: Path) -> None:
    """An address depends on the container's own name, and lies in the upper half of the subnet."""
    before = addresses(inventory(tmp_path))
    after = addresses(inventory(tmp_path, "app: {host: h1, network: blue}"))
    assert before["db"] == after["db"] == "172.20.1.77"
    assert before["web"] == after["web"]
    assert int(before["web"].rpartition(".")[2]) > 127


def test_an_address_that_a_container_has_is_kept(tmp_path: Path) -> None:
    """A container that Docker gave an address keeps it as its fixed one."""
    loaded = inventory(tmp_path)
    assert addresses(loaded, known("h1", marked={"web": IPv4Address("172.20.0.2")}))["web"] == (
        "172.20.0.2"
    )
    elsewhere = known("h1", marked={"web": IPv4Address("172.20.1.2")})
    assert addresses(loaded, elsewhere)["web"] == addresses(loaded)["web"]
    address = IPv4Address("172.20.0.2")
    taken = known("h1", marked={"web": address}, unmarked=[address])
    assert addresses(loaded, taken)["web"] == addresses(loaded)["web"]


def test_a_host_without_an_answer_is_known_by_the_records_of_others(tmp_path: Path) -> None:
    """`--limit` and a host that is off do not move the containers of other hosts."""
    record = {"web.blue.lab.internal": IPv4Address("172.20.0.9")}
    assert addresses(inventory(tmp_path), known("h3", records=record))["web"] == "172.20.0.9"


def test_the_address_of_an_unmarked_container_is_left_out(tmp_path: Path) -> None:
    """A container of others that runs keeps its address, and ours gets the next one."""
    loaded = inventory(tmp_path)
    first = IPv4Address(addresses(loaded)["web"])
    second = addresses(loaded, known("h1", unmarked=frozenset({first})))["web"]
    assert IPv4Address(second) == first + 1


@given(st.integers(16, 30), st.lists(st.text(max_size=5), max_size=40))
def test_free_addresses_differ_and_are_usable(prefix: int, seeds: list[str]) -> None:
    """No two containers get one address while the subnet has free ones, nor that of the gateway."""
    subnet = IPv4Network(("172.20.0.0", prefix))
    used: list[IPv4Address] = []
    for seed in seeds[: subnet.num_addresses - 3]:
        used.append(free_address(subnet, seed, used))
    assert len(set(used)) == len(used)
    hosts = {subnet.network_address, subnet.network_address + 1, subnet.broadcast_address}
    assert all(address in subnet and address not in hosts for address in used)


def test_containers_ask_the_gateway_and_records_are_the_same_everywhere(tmp_path: Path) -> None:
    """Every host has all records, and each container the server on its own bridge."""
    loaded = inventory(tmp_path)
    state = desired.wanted(loaded, with_names(loaded, {}))
    tables = {resource.rows for resource in state.values() if isinstance(resource, DnsRecords)}
    (rows,) = tables
    assert [row.key for row in rows] == ["db.blue.lab.internal", "web.blue.lab.internal"]
    assert rows[1].names == ("web.blue", "web", "www.blue.lab.internal", "www.blue", "www")
    web = state[Ref("h1", "container", "web")]
    assert isinstance(web, DockerContainer)
    assert web.dns == ("172.20.0.1",)
    assert str(web.address) == str(rows[1].address)
    service = state[Ref("h3", "service", "provision-demo-blue-dns.service")]
    assert isinstance(service, Service)
    assert "--listen-address=172.20.2.1 " in service.text
    assert "--local=/blue.lab.internal/ " in service.text
    assert Ref("h3", "package", "dnsmasq-base") in state


def test_without_names_nothing_changes(tmp_path: Path) -> None:
    """`names: false` is a network as before."""
    path = tmp_path / "plain.yml"
    path.write_text(FILE.format(names="false", more="").replace(", aliases: [www]", ""))
    loaded = load(path)
    state = desired.wanted(loaded, with_names(loaded, {}))
    assert not {ref.kind for ref in state} & {"dns_records", "service"}
    web = state[Ref("h1", "container", "web")]
    assert isinstance(web, DockerContainer)
    assert (web.address, web.dns) == (None, ())
    assert not any("Dns" in str(step) for step in web.create())
    assert methods.facts_probes(loaded, "h1") == ()
    assert "dnsmasq" not in methods.tools(loaded, "h1")


@pytest.mark.parametrize(
    ("cidr", "zones"),
    [
        ("172.20.0.0/16", ["20.172.in-addr.arpa"]),
        ("10.0.0.0/7", ["10.in-addr.arpa", "11.in-addr.arpa"]),
        ("172.21.4.0/23", ["4.21.172.in-addr.arpa", "5.21.172.in-addr.arpa"]),
        ("192.0.2.6/31", ["6.2.0.192.in-addr.arpa", "7.2.0.192.in-addr.arpa"]),
    ],
)
def test_reverse_zones_are_exactly_the_range(cidr: str, zones: list[str]) -> None:
    """PTR records of other ranges are still asked for elsewhere."""
    assert list(reverse_zones(IPv4Network(cidr))) == zones


def listeners(loaded: Inventory, *addresses: str) -> list[str]:
    """The conflicts on h1 with a program that listens at port 53 of these addresses."""
    of_hosts = facts(loaded, {"docker": DOCKER})
    programs = tuple(PortListener("udp", address, 53, "unbound") for address in addresses)
    of_hosts["h1"] = replace(of_hosts["h1"], listeners=programs)
    return [conflict.message for conflict in ports_in_use.conflicts(loaded, of_hosts)]


def test_a_program_at_port_53_of_all_addresses_is_a_conflict(tmp_path: Path) -> None:
    """A stub resolver at an address of its own, such as that of systemd-resolved, is none."""
    loaded = inventory(tmp_path)
    assert listeners(loaded, "127.0.0.53", "127.0.0.54", "10.78.0.11") == []
    message = "unbound listens at port 53 of 172.20.0.1, which its names need"
    assert listeners(loaded, "0.0.0.0") == listeners(loaded, "172.20.0.1", "*") == [message]


def test_the_firewall_needs_of_names_are_the_questions_of_the_own_containers(
    tmp_path: Path,
) -> None:
    """Containers reach port 53 of their gateway by the bridge, and nobody else has to."""
    loaded = inventory(tmp_path)
    host = facts(loaded, {"docker": DOCKER})["h2"]
    needs = [str(n) for n in methods.firewall_needs(loaded, loaded.networks["blue"], host)]
    bridge = "br-blue-v242wt"
    assert f"TCP 53 from 172.20.1.0/24 on {bridge}" in needs
    assert f"UDP 53 from 172.20.1.0/24 on {bridge}" in needs


def test_verify_asks_for_all_names_of_a_target_that_may_be_down(tmp_path: Path) -> None:
    """A source that does not run asks nothing; a target is asked for by each name and backwards."""
    loaded = inventory(tmp_path, "app: {host: h3, network: blue}")
    source = Endpoint("web", "h1", "blue", 7, IPv4Address("172.20.0.9"), 1500)
    chosen = named_pairs(loaded, loaded.containers.values())
    assert len(chosen) == 6
    asked = name_probe.questions(loaded, with_names(loaded, {}), {"web": source}, chosen)
    assert list(asked) == [source]
    assert "".join(f"{text} " for text in asked[source]).startswith(
        "db A db.blue.lab.internal 172.20.1.77 db A db.blue 172.20.1.77 db A db 172.20.1.77 "
        "db PTR 77.1.20.172.in-addr.arpa db.blue.lab.internal,db.blue,db "
    )
    assert "nsenter -t 7 -n perl" in name_probe.script(asked)
    assert name_probe.script({}) == ""


def test_without_names_no_pair_has_the_check(tmp_path: Path) -> None:
    """A file without names has no question, and reports look as before."""
    path = tmp_path / "plain.yml"
    path.write_text(FILE.format(names="false", more="").replace(", aliases: [www]", ""))
    assert named_pairs(load(path), load(path).containers.values()) == []


ROWS = (
    DnsRow.of(IPv4Address("172.20.0.9"), ("web.blue", "web")),
    DnsRow.of(IPv4Address("172.20.1.9"), ("db.blue", "db", "sql.example.org")),
)
RECORDS = DnsRecords("h1", "blue", "demo", ROWS, service="provision-demo-blue-dns.service")


def files(records: DnsRecords, **modes: str) -> str:
    """The output of the probe for the files that `create` writes."""
    puts = [step for step in records.create() if isinstance(step, Put)]
    return "\n".join(
        f"{modes.get(put.path[-5:], '644')} {b64encode(put.text.encode()).decode()} {put.path}"
        for put in puts
    )


def parsed(text: str) -> DnsRecords:
    """The records of an output of the probe."""
    (entry,) = DnsRecords.parse(text, Origin("h1", "demo"))
    assert isinstance(entry.resource, DnsRecords)
    assert entry.ours
    return entry.resource


def test_records_are_read_as_they_are_written() -> None:
    """What `create` writes is parsed into the same rows."""
    assert parsed(files(RECORDS)) == RECORDS
    text = "".join(step.text for step in RECORDS.create() if isinstance(step, Put))
    assert "server=/db.blue/\nserver=/sql.example.org/\n" in text
    assert "server=/web/" not in text


def test_forwards_are_read_as_they_are_written() -> None:
    """Names of this host's guests have no server, and no row either."""
    server = "172.20.2.1@172.20.0.1"
    forwards = (DnsForward("later", server), DnsForward("later.blue", server))
    records = replace(RECORDS, here=("shop.blue",), forwards=forwards)
    assert parsed(files(records)) == records
    text = "".join(step.text for step in records.create() if isinstance(step, Put))
    assert text.endswith(
        f"server=/shop.blue/\nserver=/later/{server}\nserver=/*.later/#\n"
        f"server=/later.blue/{server}\n"
    )


def test_damaged_records_differ() -> None:
    """An edited or missing file, or other modes, are drift."""
    assert not parsed(files(RECORDS, hosts="600")).intact
    hosts, local = files(RECORDS).splitlines()
    assert not parsed(hosts).intact
    assert parsed(local).rows == ()
    broken = b64encode(b"# provision:demo/blue\nno address\n172.20.0.9 web.blue web\n").decode()
    assert parsed(f"644 {broken} {RECORDS.hosts_path}").rows == ROWS[:1]


def test_a_change_of_records_restarts_nothing() -> None:
    """The server reads its files again."""
    *_, reread = RECORDS.update(replace(RECORDS, rows=ROWS[:1]))
    assert "systemctl reload" in str(reread)
    assert "restart" not in str(reread)


def test_containers_are_known_by_their_marks(tmp_path: Path) -> None:
    """A stopped container has its fixed address, and a stashed one is left out."""

    def entry(name: str, label: str, **endpoint: Any) -> dict[str, Any]:
        return {
            "Id": "0" * 64,
            "Names": [f"/{name}"],
            "State": "running",
            "Labels": {"provision": label} if label else None,
            "NetworkSettings": {"Networks": {"blue": endpoint}},
        }

    containers = [
        entry("web", "demo/blue", IPAddress="172.20.0.2", IPAMConfig=None),
        entry("db", "demo/blue", IPAddress="", IPAMConfig={"IPv4Address": "172.20.0.3"}),
        entry("off", "demo/blue", IPAddress="", IPAMConfig=None),
        entry("web.provision-1a", "demo/blue", IPAddress="172.20.0.4"),
        entry("shop", "", IPAddress="172.20.0.5"),
    ]
    loaded = inventory(tmp_path)
    host = replace(with_names(loaded, {})["h1"], docker_containers=docker_entry.parse(containers))
    held = held_addresses(loaded, loaded.networks["blue"], host)
    marked = {name: str(address) for name, address in held.marked.items()}
    assert marked == {"web": "172.20.0.2", "db": "172.20.0.3"}
    assert held.unmarked == {IPv4Address("172.20.0.5")}
