"""Method `bgp`: the files of its speakers, its checks, and why a host cannot join."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from provision.engine import preflight
from provision.engine.departures import warnings
from provision.engine.desired import wanted
from provision.engine.host_subnets import settled_inventory
from provision.engine.overlaps import overlaps
from provision.engine.parts_in_use import parts_in_use
from provision.engine.plan import Change, plan
from provision.engine.report import change_json
from provision.facts.host import HostFacts, KernelRoute
from provision.inventory.load import load
from provision.methods._shared import frr_facts
from provision.methods._shared.frr_facts import FrrFacts
from provision.methods.bgp import status
from provision.methods.bgp.method import BgpMethod
from provision.model.errors import FactsError, InventoryError
from provision.model.inventory import Inventory
from provision.model.needs import Inbound
from provision.model.reading import reading
from provision.resources.base import Origin, Ref
from provision.resources.kinds.file import File
from provision.resources.kinds.routes import Routes, row
from provision.resources.kinds.secret_file import SecretFile
from provision.resources.kinds.service import Service
from provision.resources.lib.daemon_range import DaemonRange, daemon_range
from provision.resources.lib.route_claims import FOREIGN
from provision.resources.on_hosts import Mark
from provision.resources.steps import Put
from tests.cases.test_cases import facts
from tests.house.test_structure import ROOT

CASE = {"docker": {"h1": "26.1.5", "h2": "20.10.24", "h3": "28.5.2", "h4": "26.1.5"}}
CONFIG = "/etc/provision/mesh/core.bgpd.conf"
UNIT = "provision-mesh-core-bgp.service"
RANGE = DaemonRange(Mark("mesh", "core"), (186, 241), (IPv4Network("172.27.0.0/16"),))


def example(folder: Path, *changes: tuple[str, str]) -> Inventory:
    """The example bgp.yml with changes of its text."""
    text = (ROOT / "inventories" / "bgp.yml").read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "inventory.yml"
    path.write_text(text)
    return load(path)


def text_of(inventory: Inventory, host: str, path: str = CONFIG) -> str:
    """The text of a planned file."""
    resource = wanted(inventory, facts(inventory, CASE))[Ref(host, "file", path)]
    assert isinstance(resource, File)
    return resource.text


def host_facts(inventory: Inventory, host: str) -> HostFacts:
    """The facts of one host."""
    return facts(inventory, CASE)[host]


def test_a_new_host_at_the_end_changes_no_other(tmp_path: Path) -> None:
    """Neither a file nor any other resource of the three hosts before it."""
    before = example(tmp_path)
    after = example(tmp_path, ("# h4: {address", "h4: {address"))
    old, new = (wanted(each, facts(each, CASE)) for each in (before, after))
    assert {ref: new[ref] for ref in old} == old
    assert {ref.host for ref in new.keys() - old.keys()} == {"h4"}


def test_only_reflectors_accept_callers(tmp_path: Path) -> None:
    """The others call both reflectors, and listen at no port."""
    inventory = example(tmp_path, ("# reflectors: [h1, h2] ", "reflectors: [h3]"))
    program = "/etc/provision/mesh/core.bgp.sh"
    assert "bgp listen range 10.78.0.0/24" in text_of(inventory, "h3")
    assert "neighbor 10.78.0.1" not in text_of(inventory, "h3")
    assert "listen range" not in text_of(inventory, "h1")
    assert "neighbor 10.78.0.13 remote-as 64512" in text_of(inventory, "h1")
    assert "--bgp_port 0" in text_of(inventory, "h1", program)
    assert "--bgp_port 179" in text_of(inventory, "h3", program)
    network = inventory.networks["core"]
    needs = {
        host: [
            need.ports
            for need in BgpMethod().firewall_needs(inventory, network, host_facts(inventory, host))
            if isinstance(need, Inbound)
        ]
        for host in network.hosts
    }
    assert needs == {"h1": [], "h2": [], "h3": [(179,)]}


def test_only_reflectors_heed_bfd(tmp_path: Path) -> None:
    """bgpd of the others has no part in it, so that they keep the routes of a dead reflector."""
    inventory, path = (
        example(tmp_path, ("# asn: 64512", "bfd: true #")),
        CONFIG.replace("bgpd", "bfdd"),
    )
    assert "neighbor hosts bfd profile hosts" in text_of(inventory, "h1")
    assert "bfd" not in text_of(inventory, "h3")
    assert "peer 10.78.0" not in text_of(inventory, "h2", path)
    for address in ("10.78.0.11", "10.78.0.12"):
        assert f"peer {address} local-address 10.78.0.13" in text_of(inventory, "h3", path)
    assert f"--config_file {path}" in text_of(inventory, "h3", "/etc/provision/mesh/core.bgp.sh")
    network = inventory.networks["core"]
    assert BgpMethod().ports(network, "h1") == ("tcp/179", "udp/3784", "udp/4784")
    needs = BgpMethod().firewall_needs(inventory, network, host_facts(inventory, "h3"))
    assert [(n.protocol, n.ports) for n in needs if isinstance(n, Inbound)] == [("udp", (3784,))]
    plain = example(tmp_path)
    files = {ref.name for ref in wanted(plain, facts(plain, CASE)) if ref.kind == "file"}
    assert path not in files and "bfd" not in text_of(plain, "h1")


BFD, PLAIN = "bfd: true #", "# asn: 64512"


@pytest.mark.parametrize("options", [(BFD, PLAIN), (PLAIN, BFD)])
def test_bfd_is_switched_on_and_off_by_a_restart(tmp_path: Path, options: tuple[str, str]) -> None:
    """A replaced service withdraws the subnet and flushes its routes; a restarted one does not."""
    before = example(tmp_path, ("# asn: 64512", options[0]))
    current = wanted(before, facts(before, CASE))
    after = example(tmp_path, ("# asn: 64512", options[1]))
    changes = plan(current, wanted(after, facts(after, CASE))).changes
    verbs = {change.verb for change in changes if change.ref.kind == "service"}
    assert verbs == {"update"}


def test_only_subnets_of_the_size_of_a_hosts_are_accepted(tmp_path: Path) -> None:
    """A fixed subnet of another size is accepted by all hosts, too."""
    lists = [
        line for line in text_of(example(tmp_path), "h1").splitlines() if "prefix-list" in line
    ]
    assert lists[:2] == [
        "ip prefix-list hosts permit 172.27.0.0/16 ge 24 le 24",
        "ip prefix-list own permit 172.27.0.0/24",
    ]
    other = example(tmp_path, ("# asn: 64512", "subnets: {h3: 172.27.64.0/20} #"))
    assert "permit 172.27.0.0/16 ge 20 le 20\n" in text_of(other, "h1")


def test_a_change_of_a_file_restarts_the_service(tmp_path: Path) -> None:
    """The unit file has a digest of the files; it names the routes that the daemon makes."""
    units = [
        wanted(inventory, facts(inventory, CASE))[Ref("h1", "service", UNIT)]
        for inventory in (example(tmp_path), example(tmp_path, ("# asn: 64512", "asn: 64513")))
    ]
    assert units[0] != units[1]
    for unit in units:
        assert isinstance(unit, Service)
        assert daemon_range(unit.text) == RANGE


def test_a_host_with_an_frr_of_others_is_refused(tmp_path: Path) -> None:
    """The probe prints a line for a unit that runs or is enabled, and none for a masked one."""
    inventory = example(tmp_path)
    states = facts(inventory, CASE)
    assert not preflight.problems(inventory, states)
    assert frr_facts.probe().parse("") == FrrFacts()
    found = frr_facts.probe().parse("frr running\nfrr enabled\n")
    states["h2"] = replace(states["h2"], of_methods={FrrFacts: found})
    (problem,) = preflight.problems(inventory, states)
    assert problem.host == "h2" and "frr.service" in problem.message
    assert "systemctl disable --now frr.service" in problem.hint
    for name, expected in (("other", 1), (inventory.name, 0)):
        found = frr_facts.probe().parse(f"speaker bgp.service # provision:{name}/core\n")
        states["h2"] = replace(states["h2"], of_methods={FrrFacts: found})
        problems = list(preflight.problems(inventory, states))
        assert len(problems) == expected, problems


@pytest.mark.parametrize(
    ("destination", "protocol", "expected"),
    [
        ("172.27.9.0/24", 186, 0),
        ("172.27.9.0/24", 4, 1),
        ("172.27.9.0/25", 186, 0),
        ("172.27.9.0/24", 241, 0),
        ("172.16.0.0/12", 2, 1),
    ],
)
def test_routes_that_bgp_has_made_are_no_conflict(
    tmp_path: Path, destination: str, protocol: int, expected: int
) -> None:
    """They are those of BGP into the network's range, while the host has the service."""
    inventory = example(tmp_path)
    states = facts(inventory, CASE)
    route = KernelRoute(IPv4Network(destination), "eth1", protocol)
    states["h1"] = replace(states["h1"], routes=(route,))
    current = wanted(inventory, states)
    assert len(list(overlaps(inventory, states, current, {}))) == expected
    assert len(list(overlaps(inventory, states, {}, {}))) == 1
    # A unit file that somebody has deleted does not keep apply from writing it again.
    without_unit = {ref: each for ref, each in current.items() if ref.name != UNIT}
    assert len(list(overlaps(inventory, states, without_unit, {}))) == expected


def test_its_routes_are_not_in_the_way_of_the_next_method(tmp_path: Path) -> None:
    """Method routes wants the same destinations: our service takes its routes away first."""
    learned = example(tmp_path)
    current = wanted(learned, facts(learned, CASE))
    inventory = example(tmp_path, ("method: bgp", "method: routes"))
    states, dst = facts(inventory, CASE), "172.27.1.0/24"
    route = KernelRoute(IPv4Network(dst), "eth1", 186, via="10.78.0.12")
    states["h1"] = replace(states["h1"], routes=(route,))
    table = Routes.of("h1", FOREIGN, "", [row(dst, "10.78.0.12", "eth1")])
    foreign, after = {table.ref: table}, wanted(inventory, states)
    assert not list(parts_in_use(inventory, states, current, foreign, after))
    (conflict,) = parts_in_use(inventory, states, {}, foreign, after)
    assert conflict.ref.name == dst
    of_a_person = route._replace(proto=4)
    for routes in ((of_a_person,), (route, of_a_person)):
        states["h1"] = replace(states["h1"], routes=routes)
        assert list(parts_in_use(inventory, states, current, foreign, after)), routes


def test_a_host_that_left_is_named_by_the_routes_of_its_peers(tmp_path: Path) -> None:
    """h2 keeps announcing its subnet: a new host gets another one, while one is free."""
    current, addresses = wanted(example(tmp_path), facts(example(tmp_path), CASE)), ("12", "13")
    routes = [
        KernelRoute(IPv4Network(f"172.27.{part}.0/24"), "eth1", 186, via=f"10.78.0.{address}")
        for part, address in enumerate(addresses, 1)
    ]
    left = example(
        tmp_path,
        ("  h2: {address: 10.78.0.12}\n", ""),
        ("# h4: {address", "h4: {address"),
        ("  b2: {host: h2, network: core}\n", ""),
    )
    states = facts(left, CASE)
    states["h1"] = replace(states["h1"], routes=tuple(routes))
    current = {ref: each for ref, each in current.items() if ref.host != "h2"}
    named = next(line for line in warnings(left, current, states) if "routes by BGP" in line)
    assert "10.78.0.12 (with 172.27.1.0/24 of network 'core')" in named
    assert "10.78.0.13" not in named
    settled = settled_inventory(left, current, facts=states).inventory
    assert {host: str(net) for host, net in settled.networks["core"].subnets.items()} == {
        "h1": "172.27.0.0/24",
        "h3": "172.27.2.0/24",
        "h4": "172.27.3.0/24",
    }


def answers(routes: dict[str, str], *, left: bool = True, **states: str) -> str:
    """The output of the status script: next hops by subnet, and states of sessions by address.

    Each subnet has another path, which a dead peer has left or which is announced.
    """
    peers = {
        address.replace("_", "."): {"state": state, "pfxRcd": 1, "peerUptimeMsec": 5000}
        for address, state in states.items()
    }
    table = {
        subnet: [
            {"stale": left, "nexthops": [{"ip": "192.0.2.1"}]},
            {"bestpath": True, "nexthops": [{"ip": hop}]},
        ]
        for subnet, hop in routes.items()
    }
    return f"bgp core {json.dumps({'peers': peers})}\nbgp core {json.dumps({'routes': table})}\n"


ROUTES = {
    "172.27.0.0/24": "0.0.0.0",
    "172.27.1.0/24": "10.78.0.12",
    "172.27.2.0/24": "10.78.0.13",
}
UP = {"10_78_0_12": "Established", "10_78_0_13": "Established"}


def errors_of(inventory: Inventory, text: str) -> tuple[str, str]:
    """What the checks `sessions` and `subnets` say of h1."""
    network, of_host = inventory.networks["core"], host_facts(inventory, "h1")
    statuses = status.parse(inventory, "h1", [network], text)
    return (
        status.sessions_error(inventory, network, of_host, statuses),
        status.subnets_error(inventory, network, of_host, statuses),
    )


def test_the_checks_pass_on_a_whole_table(tmp_path: Path) -> None:
    """All sessions of a reflector are established, and each subnet leads to its own host."""
    assert errors_of(example(tmp_path), answers(ROUTES, **UP)) == ("", "")


@pytest.mark.parametrize(
    ("routes", "states", "sessions", "subnets"),
    [
        ({}, {"10_78_0_13": "Active"}, "none with h3: let TCP port 179 through", ""),
        ({}, {"10_78_0_99": "Established"}, "one with 10.78.0.99, which is no host", ""),
        ({"172.27.2.0/24": "10.78.0.12"}, {}, "", "172.27.2.0/24 of h3 is announced by h2"),
        ({"172.27.9.0/24": "10.78.0.13"}, {}, "", "h3 announces 172.27.9.0/24, which no host has"),
    ],
)
def test_the_checks_name_what_is_wrong(
    tmp_path: Path, routes: dict[str, str], states: dict[str, str], sessions: str, subnets: str
) -> None:
    """A session that is down, a stranger, a subnet of another host, and one of none."""
    found = errors_of(example(tmp_path), answers({**ROUTES, **routes}, **{**UP, **states}))
    assert sessions in found[0] and bool(sessions) == bool(found[0])
    assert subnets in found[1] and bool(subnets) == bool(found[1])


def test_a_path_that_is_not_the_best_is_named(tmp_path: Path) -> None:
    """It would be, as soon as the owner of the subnet is gone."""
    inventory = example(tmp_path)
    sessions, subnets = errors_of(inventory, answers(ROUTES, left=False, **UP))
    assert not sessions
    assert "172.27.1.0/24 of h2 is announced by 192.0.2.1, too" in subnets


def test_a_missing_subnet_and_a_missing_answer_are_errors(tmp_path: Path) -> None:
    """vtysh prints a sentence where bgpd does not run."""
    inventory = example(tmp_path)
    few = answers({"172.27.0.0/24": "0.0.0.0"}, **UP)
    assert "172.27.1.0/24 of h2 is not announced" in errors_of(inventory, few)[1]
    dead = "bgp core failed to connect to any daemons.\nbgp core failed to connect\n"
    assert set(errors_of(inventory, dead)) == {"failed to connect to any daemons."}
    assert set(errors_of(inventory, "")) == {"no answer"}


def test_remarks_of_vtysh_are_no_part_of_its_answer(tmp_path: Path) -> None:
    """A remark stands before the answer; without an answer, it is what the checks say."""
    inventory = example(tmp_path)
    script = status.script(inventory, "h1", inventory.networks.values(), wait=False)

    def printed(answer: str) -> str:
        for name, text in (("vtysh", f"echo remark >&2; {answer}"), ("systemctl", "exit 3")):
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / name).chmod(0o755)
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        argv = ("sh", "-c", script)
        return subprocess.run(argv, env=path, capture_output=True, text=True, check=True).stdout

    head = "rejected core 0\n"
    assert printed("echo '{'; echo '}'") == f"{head}bgp core {{}}\nbgp core {{}}\n"
    assert printed("exit 1") == f"{head}bgp core remark\nbgp core remark\n"


@pytest.mark.parametrize(("wait", "looks"), [(False, 0), (True, 200)])
def test_only_verify_waits_for_routes(tmp_path: Path, wait: bool, looks: int) -> None:
    """`show` prints what is there; `verify` looks 200 times for the routes to all other hosts."""
    inventory, log = example(tmp_path), tmp_path / "log"
    programs = {"ip": f"echo look >>{log}", "sleep": "", "systemctl": "", "vtysh": "echo '{}'"}
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    script = BgpMethod().status_script(inventory, "h1", wait=wait)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(("sh", "-c", script), env=path, capture_output=True, check=True)
    assert (log.read_text().count("look") if log.exists() else 0) == looks


def with_password(folder: Path, text: str) -> Inventory:
    """The example with a password in a file."""
    (folder / "bgp.key").write_text(text)
    return example(folder, ("# asn: 64512", "password: {file: bgp.key} #"))


def test_the_password_is_in_the_secret_file_alone(tmp_path: Path) -> None:
    """No other file, plan, saved plan or step of a rollback has it; the host's look tells it."""
    password = "GEHEIM!#?|\"'$x"
    inventory = with_password(tmp_path, f"{password}\n")
    resources = wanted(inventory, facts(inventory, CASE))
    secret = resources[Ref("h1", "secret_file", "core.bgp")]
    assert isinstance(secret, SecretFile) and secret.pairs == (("password", password),)
    assert password not in repr(inventory) + repr(resources)
    texts = [each.text for each in resources.values() if isinstance(each, (File, Service))]
    assert not any("GEHEIM" in text for text in texts)
    (put, _) = secret.create()
    assert isinstance(put, Put) and put.mode == 0o600
    assert put.text == f"# provision:mesh/core\npassword {password}\n"
    later = replace(secret, pairs=(("password", "other"),))
    for steps in (secret.stash("0a"), secret.unstash("0a"), later.undo(None, ours=True)):
        assert "GEHEIM" not in repr(steps)
    for before, after in ((None, secret), (secret, later), (later, secret), (secret, None)):
        change = Change(secret.ref, "replace", before, after, None)
        assert "GEHEIM" not in json.dumps(change_json(change))
    encoded = b64encode(put.text.encode()).decode()
    (found,) = SecretFile.parse(f"@secret root 600 {encoded} core.bgp", Origin("h1", "mesh"))
    assert found.ours and found.resource == secret
    (found,) = SecretFile.parse(f"@secret root 644 {encoded} core.bgp", Origin("h1", "mesh"))
    assert found.resource == replace(secret, protected=False)
    with (
        pytest.raises(FactsError, match="cannot be read") as error,
        reading("h1", "x", f"@secret {encoded}"),
    ):
        raise ValueError
    assert encoded not in str(error.value)


def test_the_service_starts_after_its_password(tmp_path: Path) -> None:
    """A new password does not stop the service, as it would by `requires`: it restarts it."""
    inventory = with_password(tmp_path, "x")
    service = wanted(inventory, facts(inventory, CASE))[Ref("h1", "service", UNIT)]
    assert service.after() == (Ref("h1", "secret_file", "core.bgp"),)
    assert service.after()[0] not in service.requires()


@pytest.mark.parametrize("text", ["", "\n", "two words", "two\nlines", "Pässwort", "x" * 81])
def test_a_password_that_frr_would_not_take_is_refused(tmp_path: Path, text: str) -> None:
    """The message names the file's key, and not the password."""
    with pytest.raises(InventoryError) as error:
        with_password(tmp_path, text)
    (finding,) = error.value.findings
    assert finding.loc == ("networks", "core", "password", "file")
    assert "printable ASCII" in finding.message
    assert not text.strip() or text not in f"{finding.message}{finding.hint}"


def test_rejected_packets_are_named(tmp_path: Path) -> None:
    """The kernel of a reflector counts those; a host that calls only waits for an answer."""
    inventory = with_password(tmp_path, "x")
    down = answers(ROUTES, **{**UP, "10_78_0_13": "Active"})
    named = errors_of(inventory, f"rejected core 7\n{down}")[0]
    assert named == (
        "none with h3: 7 packets came with another password, or with none: run apply for all hosts"
    )
    silent = errors_of(inventory, f"rejected core 0\n{down}")[0]
    assert silent.endswith("let TCP port 179 through, and give all hosts the same password")


def test_an_edited_unit_file_has_no_routes(tmp_path: Path) -> None:
    """The line names a protocol and a range, unless somebody has changed it: that is drift."""
    inventory = example(tmp_path)
    service = wanted(inventory, facts(inventory, CASE))[Ref("h1", "service", UNIT)]
    assert isinstance(service, Service)
    assert daemon_range(service.text) == RANGE
    for wrong in ("172.27.0.1/16", "everything"):
        assert daemon_range(service.text.replace("172.27.0.0/16", wrong)) is None


def test_show_has_a_row_for_each_session(tmp_path: Path) -> None:
    """Names of hosts where they are known; the JSON has the next hops, too."""
    inventory = example(tmp_path)
    text = answers(ROUTES, **UP, **{"10_78_0_99": "Active"})
    statuses = {"h1": BgpMethod().parse_status(inventory, "h1", text)}
    ((title, _, rows),) = BgpMethod().show_tables(statuses)
    assert title == "BGP sessions"
    assert rows == (
        ("h1", "core", "10.78.0.99", "Active", "-", "1"),
        ("h1", "core", "h2", "Established", "5 s", "1"),
        ("h1", "core", "h3", "Established", "5 s", "1"),
    )
    (shown,) = BgpMethod().show_json(statuses)["bgp"]
    assert shown["next_hops"] == ROUTES and shown["error"] is None
