"""The texts of shell and perl that hosts get: files, rendered templates, scripts, steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import yaml

from provision import methods
from provision.checks import lan_probe, probe, wire
from provision.checks.limits import Limits
from provision.compare import probe as compare_probe
from provision.compare.result import Settings
from provision.engine import desired, guard
from provision.engine.plan import operations, plan
from provision.engine.undo import drop_stash, undo
from provision.facts import gather, topology_probe
from provision.facts.probe import FactsProbe
from provision.inventory.load import load
from provision.resources import script
from provision.resources.base import Resource
from provision.resources.kinds.binary import Binary
from provision.resources.kinds.certificate import Certificate
from provision.resources.kinds.vxlan import ASK_CONTAINERS
from provision.resources.render import program_text, render
from provision.resources.steps import Attempt, Refuse, Run, Steps, Unless
from tests.cases.test_cases import CASES, facts

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "templates"
SHELL = sorted(str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*.sh"))
PERL = sorted(str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*.pl"))

ON_HOSTS: Mapping[str, Mapping[int, str]] = {
    "host/attach_interface.sh": {
        2016: "the quoted program is for the sh in the container's namespace",
        2086: "$size, $tag, $pair and $family are words or none; a rule is several words",
    },
    "host/container_interface.sh": {},
    "host/follow_shared_namespace.sh": {2086: "each answer of Docker is several fields"},
    "host/ovs_uplink.sh": {
        1007: "variables are set to nothing on purpose",
        2086: "$permanent is a word or none",
        2195: "`fe80:*` never matches behind the space; such routes are `proto kernel` as well",
    },
    "common/follow.sh.j2": {1007: "variables are set to nothing on purpose"},
}
"""Programs that hosts keep and the plan compares: no byte of them may change, so the exclusions
stand here with their reasons, not in the programs."""

EXAMPLES: Mapping[str, Mapping[str, object]] = {
    "bgp/bgp.sh.j2": {
        "mark": "demo/core",
        "folder": "/run/provision-bgp-core-x",
        "zebra": "/etc/provision/demo/core.zebra.conf",
        "config": "/etc/provision/demo/core.bgpd.conf",
        "peers": "10.0.0.1 10.0.0.2",
        "asn": 64512,
        "port": 179,
        "protocol": 186,
        "kept": 241,
        "cidr": "172.27.0.0/16",
        "password": "/etc/provision/demo/secrets/core.bgp",
        "of_password": "hosts 10.0.0.1 10.0.0.2",
        "of_router_password": "10.0.0.254 10.0.0.253",
        "keys": ("password", "router_password"),
        "routers": "10.0.0.254,10.0.0.253",
        "ranges": "172.27.0.0/16 10.200.0.0/16",
        "accepted": [("10.200.0.0/16", ("10.78.0.1", "10.78.0.2"))],
        "bfdd": "/etc/provision/demo/core.bfdd.conf",
    },
    "bgp/status.sh.j2": {
        "tries": 200,
        "unit": "provision-demo-core-bgp.service",
        "protocol": 186,
        "cidr": "172.27.0.0/16",
        "peers": 2,
        "sessions": 2,
        "port": 179,
        "network": "core",
        "folder": "/run/provision-bgp-core-x",
    },
    "evpn/evpn.sh.j2": {
        "mark": "demo/lan",
        "folder": "/run/provision-evpn-lan-x",
        "zebra": "/etc/provision/demo/lan.zebra.conf",
        "config": "/etc/provision/demo/lan.bgpd.conf",
        "asn": 64512,
        "port": 179,
        "password": "/etc/provision/demo/secrets/lan.evpn",
        "of_password": "hosts 10.0.0.1 10.0.0.2",
        "of_router_password": "",
        "bfdd": "/etc/provision/demo/lan.bfdd.conf",
        "docker": "lan",
        "bridge": "br-lan-x",
        "device": "vx-lan-x",
        "ask": ASK_CONTAINERS.strip(),
    },
    "evpn/status.sh.j2": {
        "wait_s": 20,
        "unit": "provision-demo-lan-evpn.service",
        "folder": "/run/provision-evpn-lan-x",
        "network": "lan",
        "device": "vx-lan-x",
        "vni": 42,
        "port": 179,
        "sessions": 2,
        "local": 2,
        "remote": 4,
    },
    "common/follow.sh.j2": {
        "inventory": "demo",
        "links": ["eth1", "br lan"],
        "rules": ["DOCKER-USER FORWARD", "PROV-demo-blue-x filter"],
        "devices": [("flannel.1", "provision-demo-over-flanneld.service")],
        "flannels": [("/var/lib/x/config", "provision-demo-over-flanneld.service", "etcdctl-over")],
        "bridges": ["br-blue-v242wt", "docker0"],
        "ports": True,
        "prerouting": True,
        "tables": True,
        "forwards": True,
        "ends": True,
        "lock": "/run/provision-demo.lock",
        "holders": program_text("host/lock_holders.sh"),
        "networkd_link": program_text("host/networkd_link.sh"),
    },
    "flannel/etcdctl.j2": {
        "mark": "demo/wide",
        "network": "wide",
        "prefix": "/wide",
        "endpoints": "https://10.0.0.1:2379",
        "ca": "/etc/provision/demo/pki/wide.ca.crt",
        "stem": "/etc/provision/demo/pki/wide.client",
        "prefixes": ["/wide/", "/provision/demo/wide/"],
    },
    "lab/attach.sh.j2": {"host": "h1", "namespace": "/run/lab", "link": "h1-eth1", "bridge": "lan"},
    "lab/guest.sh.j2": {
        **dict.fromkeys(("host", "kernel", "programs", "base", "disk", "root"), "/run/lab/h1"),
        "user": 1_900_000_000,
        "memory_mb": 512,
        "taps": ("vb-h1", "e1-h1"),
        "arguments": "mem=512M",
    },
    "lab/supervisor.sh.j2": {
        "host": "h1",
        "attach": "/run/lab/attach.sh",
        "cgroups": ["/sys/fs/cgroup/lab"],
        "command": "systemd-nspawn --machine=h1",
    },
}
"""Values for each jinja2 template that is a shell program."""

_UNUSED = {2034, 2329}
"""Names that a prelude defines are used by the programs that follow it."""


@dataclass(frozen=True)
class Program:
    """A text for shellcheck; findings before the line `first` belong to other programs."""

    name: str
    text: str
    first: int = 1
    excluded: frozenset[int] = frozenset()


def head(path: str) -> list[str]:
    """The comment lines of a file before its first empty line, which hosts do not get."""
    lines = (TEMPLATES / path).read_text().partition("\n\n")[0].split("\n")
    return lines if all(line.startswith("#") for line in lines) else []


def declared(path: str, key: str) -> list[str]:
    """The names behind `# KEY:` in the head of a program; keys: Prelude, Variables, Defines."""
    mark = f"# {key}:"
    lines = [line.removeprefix(mark) for line in head(path) if line.startswith(mark)]
    return " ".join(lines).split()


def with_prelude(path: str) -> Program:
    """A program after the variables and the preludes that its head declares."""
    variables = declared(path, "Variables")
    assignments = [f"read -r {' '.join(variables)}"] if variables else []
    preludes = program_text(*declared(path, "Prelude"))
    before = "\n".join(["#!/bin/sh", *assignments, preludes])
    excluded = {*ON_HOSTS.get(path, {}), *(_UNUSED if declared(path, "Defines") else ())}
    text = before + program_text(path)
    return Program(path, text, before.count("\n") + 1, frozenset(excluded))


def templates() -> list[Program]:
    """Every jinja2 template of a shell program, with example values."""
    return [
        Program(path, render(path, **values), excluded=frozenset(ON_HOSTS.get(path, ())))
        for path, values in EXAMPLES.items()
    ]


def method_probes() -> tuple[FactsProbe, ...]:
    """The probe of each method, one for each section, as the examples use it."""
    inventories = [load(path) for path in sorted((ROOT / "inventories").glob("*.yml"))]
    probes = [p for one in inventories for p in methods.facts_probes(one, next(iter(one.hosts)))]
    return tuple({probe.section: probe for probe in probes}.values())


def check_scripts() -> Iterator[Program]:
    """The scripts that gather facts, check, and compare."""
    address = IPv4Address("10.0.0.2")
    ends = [probe.Endpoint(name, "h1", "wide", 7, address, 1450, ("tcp/80",)) for name in "ab"]
    on_lan = lan_probe.LanEndpoint("a", "h1", "lan", 0, 7, "eth1", address, 1500)
    pair = compare_probe.MeasuredPath("routes", 0, 7, address, address, 5201, 5202)
    wide = load(ROOT / "inventories/flannel-vxlan.yml")
    limits, calls = Limits(2000), dict.fromkeys(ends, ends)
    openings = {("a", 7): [("b", "mode", "tcp", "10.0.0.2", "80", "own")]}
    texts = {
        "snapshot": gather.script("a", ["10.0.0.1"], nonce="n", probes=method_probes()),
        "fingerprint": guard.fingerprint(),
        "topology": topology_probe.script(),
        "methods": methods.status_script(wide, "h1"),
        "status": guard.status(),
        "listen": probe.combined(probe.listen_script(ends, limits)),
        "call": probe.combined(limits.files, probe.call_script(calls, {"a": 80}, limits)),
        "open": probe.combined(probe.open_script(openings, limits)),
        "stop": probe.combined(probe.stop_script([7, 8]), wire.stop_script(7)),
        "wire": probe.combined(wire.start_script(wide, limits), wire.send_script(wide, calls)),
        "lan": lan_probe.script([lan_probe.LanProbe("own", on_lan, "b", address)]),
        "survey": compare_probe.survey(),
        "serve": compare_probe.serve([pair], 60),
        "mtus": compare_probe.mtus([pair]),
        "measure": compare_probe.measure("udp", pair, Settings(1, 1, 100)),
        "end": compare_probe.stop(),
    }
    return (Program(name, text) for name, text in texts.items())


def change_scripts() -> Iterator[Program]:
    """The scripts of a change and of its end on one host, for one golden case a method."""
    txn = guard.Txn("0123abcd", "token", "me@controller", "demo", "apply")
    cases = {case.parent: case for case in reversed(CASES)}
    for case in cases.values():
        # A resource that edits needs the state before it; a certificate is signed by a controller.
        whole = [each for each in resources(case) if each.host == "h1" and not each.edits]
        state = {each.ref: each for each in whole if not isinstance(each, Certificate)}
        made = operations(plan({}, state), txn=txn.id)
        part = guard.TransactionStep(undo(made, txn=txn.id), drop_stash(made, txn=txn.id))
        change = script.render(
            [operation.steps for operation in made],
            nonce="n",
            lock="/run/a.lock",
            journal=guard.journal(1),
        )
        removed = operations(plan(state, {}), txn=txn.id)
        yield Program(f"{case.parent.name}: change", change)
        yield Program(f"{case.parent.name}: rollback", part.undo)
        yield Program(f"{case.parent.name}: drop", drop_stash(removed, txn=txn.id))
    yield Program("arm", guard.arm(txn, part, seconds=9, nonce="n"))
    yield Program("extend", guard.extend(txn, 2, part, seconds=9, nonce="n"))
    yield Program("act", guard.act(txn, 2, change, nonce="n"))
    yield Program("rearm", guard.rearm(txn, seconds=9, nonce="n").replace("x" * guard.PADDING, ""))
    yield Program("confirm", guard.confirm(txn))
    yield Program("force", guard.force(txn.id, "me@controller"))
    yield Program("revert", guard.revert(txn.id, "asked for", nonce="n"))


def step_programs() -> list[Program]:
    """Every `sh -c` text that the kinds use in any golden case, once; those of files left out."""
    programs: dict[str, Program] = {}
    preludes = [program_text(path) for path in SHELL if declared(path, "Defines")]
    files = tuple(program_text(path) for path in SHELL if not declared(path, "Defines"))
    for resource in (resource for case in CASES for resource in resources(case)):
        for run in (run for steps in _every_life(resource) for run in _runs(steps)):
            if run.argv[:2] == ("sh", "-c") and not run.argv[2].endswith(files):
                text = run.argv[2]
                before = max((each for each in preludes if text.startswith(each)), default="")
                first = before.count("\n") + 2
                programs[text] = Program(resource.kind, f"#!/bin/sh\n{text}", first)
    return list(programs.values())


def resources(case: Path) -> Iterator[Resource]:
    """The resources that a golden case wants, but for a flanneld that is not built yet."""
    inventory = load(case / "inventory.yml")
    state = yaml.safe_load((case / "found.yml").read_text())
    for resource in desired.wanted(inventory, facts(inventory, state)).values():
        if not isinstance(resource, Binary) or resource.source is not None:
            yield resource


def _every_life(resource: Resource) -> Iterator[Steps]:
    """The steps of everything that a change may do with a resource."""
    yield tuple(test for test in (resource.is_foreign(),) if test)
    yield resource.create()
    yield resource.update(resource) or ()
    yield resource.stash("0123")
    yield resource.unstash("0123")
    yield resource.drop_stash("0123")
    yield resource.delete()
    yield resource.undo(resource if resource.edits else None, ours=False)


def _runs(steps: Steps) -> Iterator[Run]:
    """Every command among steps, nested ones included."""
    for step in steps:
        match step:
            case Run():
                yield step
            case Refuse(test, _):
                yield test
            case Unless(test, inner, _):
                yield test
                yield from _runs(inner)
            case Attempt(inner, undo_steps):
                yield from _runs((*inner, *undo_steps))
