"""Explain one pair: read its hosts, watch a probe on its path, and judge the evidence."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from types import MappingProxyType

from provision import methods
from provision.checks.explain import ends, judge, mtu, preconditions, scripts
from provision.checks.explain.case import Case
from provision.checks.explain.destination import ExplainTarget, Question
from provision.checks.explain.ends import End, EndSpace
from provision.checks.explain.evidence import HostEvidence, parse
from provision.checks.explain.judge import Judgement
from provision.checks.explain.model import HOST, Cause, Explanation, Hop, Probe
from provision.checks.explain.path import destination_network, exit_device, path
from provision.checks.explain.scripts import Marks, Sent, Watch
from provision.checks.explain.sides import Side
from provision.engine.bridge_subnets import with_bridge_subnets
from provision.engine.fleet import Session, each
from provision.facts import topology_probe
from provision.facts.topology import HostTopology
from provision.model.errors import FactsError, HostError
from provision.model.inventory import Inventory, Network
from provision.model.reading import reading
from provision.resources.script import PRELUDE

PING = Probe()
_READ_S, _SEND_S = 30.0, 15.0
_SUBJECT = "observations of the packet"


def explain(
    session: Session,
    inventory: Inventory,
    source: str,
    target: str,
    probe: Probe = PING,
    known: Mapping[str, HostTopology] = MappingProxyType({}),
) -> Explanation:
    """Explain the path from a container or host to another one, or to an address.

    Changes nothing that lasts on a host. `known` are topologies that were read just now: those
    hosts are not asked again. Raises UsageError for a name that the inventory lacks.
    """
    begin = time.monotonic()
    run = _Inquiry(
        session, inventory, ends.end(inventory, source, "FROM"), ends.end(inventory, target, "TO"),
        probe, known,
    )  # fmt: skip
    return run.explanation(begin)


@dataclass
class _Inquiry:
    session: Session
    inventory: Inventory
    source: End
    target: End
    probe: Probe
    known: Mapping[str, HostTopology]
    errors: dict[str, HostError] = field(default_factory=dict)
    topologies: dict[str, HostTopology] = field(default_factory=dict)

    def explanation(self, begin: float) -> Explanation:
        hosts = tuple(dict.fromkeys(h for h in (self.source.host, self.target.host) if h))
        asked = [host for host in hosts if host not in self.known]
        answers, self.errors = each(self.session, asked, self._topology) if asked else ({}, {})
        self.topologies = {host: self.known[host] for host in hosts if host in self.known} | answers
        self.inventory = with_bridge_subnets(self.inventory, self.topologies)
        cause = preconditions.before(
            self.inventory, self.source, self.target, self.topologies, self.errors
        )
        if cause is not None:
            return self._result(begin, False, (), cause)
        question = self._question()
        destination = question.destination()
        if destination is None:
            cause = preconditions.without_address(self.inventory, self.target)
        else:
            cause = question.isolated(destination)
        if cause is not None or destination is None:
            return self._result(begin, False, (), cause)
        judgement = self._judgement(self._probed(self._case(question, destination)))
        return self._result(
            begin, judgement.reached, judgement.hops, judgement.cause, judgement.notes
        )

    def _result(
        self, begin: float, reached: bool, hops: tuple[Hop, ...], cause: Cause | None,
        notes: tuple[str, ...] = (),
    ) -> Explanation:  # fmt: skip
        return Explanation(
            self.source.name, self.target.name, self.probe, reached,
            time.monotonic() - begin, hops, cause, self.errors, notes,
            self.topologies,
        )  # fmt: skip

    def _judgement(self, case: Case) -> Judgement:
        """The judgement; a host whose evidence cannot be judged has an error, and is left out.

        `ip` may print JSON that has text where each known version has a number.
        """
        try:
            with reading(self.source.host, _SUBJECT, ""):
                return judge.judgement(case)
        except FactsError as error:
            for host in case.evidence:
                others = {name: each for name, each in case.evidence.items() if name != host}
                with suppress(FactsError), reading(host, _SUBJECT, ""):
                    judgement = judge.judgement(replace(case, evidence=others))
                    self.errors[host] = FactsError(host, error.message)
                    return judgement
            raise

    def _topology(self, host: str) -> HostTopology:
        script = PRELUDE + topology_probe.script()
        timeout_s = self.session.snapshot_s
        output = self.session.transport.run(host, script, timeout_s=timeout_s)
        if output.status:
            reason = output.stderr.strip()[-500:] or f"exit status {output.status}"
            raise FactsError(host, f"its interfaces and containers cannot be read: {reason}")
        return topology_probe.parse(host, output.stdout)

    def _question(self) -> Question:
        near = self._end_space(self.source)
        assert near is not None  # `preconditions` has found that the source runs
        return Question(
            self.inventory, self.topologies, self.source, near, self.target,
            self._end_space(self.target), self.probe,
        )  # fmt: skip

    def _case(self, question: Question, to: ExplainTarget) -> Case:
        """The ends and the path."""
        near, topology = question.near, self.topologies[self.source.host]
        network = destination_network(self.inventory, near, to.address)
        link = ends.source_link(self.inventory, near, to.address) if near.label != HOST else None
        host_address = self.inventory.hosts[self.source.host].address
        near_side = Side(
            self.inventory, self.source.host, topology, near, link[0] if link else None, network
        )
        far_side = self._far_side(question.far, to.inner, network)
        if far_side is not None:
            far_side = replace(far_side, peer_nic=near_side.nic[0])
            near_side = replace(near_side, peer_nic=far_side.nic[0])
        else:
            near_side = replace(near_side, exit_device=exit_device(topology, to.address))
        return Case(
            self.inventory, to.probe, self.source, self.target, self.topologies, near_side,
            far_side, link[1] if link else host_address, to.address, to.inner,
            path(near_side, far_side), {}, Sent(), inner_port=to.inner_port,
        )  # fmt: skip

    def _end_space(self, point: End) -> EndSpace | None:
        topology = self.topologies.get(point.host)
        return ends.end_space(self.inventory, topology, point) if topology else None

    def _far_side(
        self, far: EndSpace | None, inner: IPv4Address, network: Network | None
    ) -> Side | None:
        if far is None:
            return None
        topology, space = self.topologies[self.target.host], far
        if self.target.container is None and self.target.address is not None:
            space = self._container_with(topology, inner) or far
        links = [x for x in ends.links(space.space) if inner in (a.ip for a in x.addresses)]
        link = links[0] if links and space.label != "host" else None
        return Side(self.inventory, self.target.host, topology, space, link, network)

    def _container_with(self, topology: HostTopology, address: IPv4Address) -> EndSpace | None:
        """The container that has an address."""
        for info in topology.namespace_owners():
            space = topology.namespaces[info.net]
            if address in space.addresses:
                return EndSpace(ends.label_of(info.name), info.pid, space, info)
        return None

    def _probed(self, case: Case) -> Case:
        """The case with the evidence of its hosts."""
        number = secrets.randbelow(60000) + 1
        marks = Marks(secrets.token_hex(8), number, 61000 + secrets.randbelow(4000))
        watches = {host: self._watch(case, host) for host in self.topologies}
        timeout_s = min(_READ_S, self.session.timeout_s)

        def start(host: str) -> tuple[int | None, str]:
            script = scripts.start_script(watches[host], case.probe, marks)
            output = self.session.transport.run(host, script, timeout_s=timeout_s)
            return scripts.parse_watch(output.stdout), output.stdout + output.stderr

        started, errors = each(self.session, watches, start)
        self.errors |= errors
        sent, large = self._send(case, marks)

        def stop(host: str) -> HostEvidence:
            number, text = started[host]
            lookup_lines = judge.lookup_lines(case, host)
            pids = watches[host].spaces
            script = scripts.stop_script(number, pids, lookup_lines(pids), case.inner_port)
            output = self.session.transport.run(host, script, timeout_s=timeout_s)
            printed = output.stdout if number else text + output.stdout
            with reading(host, _SUBJECT, printed):
                return parse(printed)

        evidence, errors = each(self.session, started, stop)
        self.errors |= errors
        return replace(case, evidence=evidence, sent=sent, large=large)

    def _send(self, case: Case, marks: Marks) -> tuple[Sent, int]:
        side = case.source_side
        large = mtu.largest(case) if self.probe.protocol == "icmp" else 0
        script = scripts.send_script(
            side.end_space.pid, case.probe, marks, case.target_address, large=large
        )

        def send(host: str) -> Sent:
            printed = self.session.transport.run(host, script, timeout_s=_SEND_S).stdout
            with reading(host, "answer of the probe", printed):
                return scripts.parse_sent(printed)

        results, errors = each(self.session, [side.host], send)
        self.errors |= errors
        return results.get(side.host, Sent()), large

    def _watch(self, case: Case, host: str) -> Watch:
        spaces = {"host": 1}
        for side in (case.source_side, case.target_side):
            if side and side.host == host:
                spaces[side.end_space.label] = side.end_space.pid
        addresses = dict.fromkeys((case.target_address, case.inner_address))
        network = case.network
        tunnel = methods.of(network).tunnel(network) if network else None
        hosts = self.inventory.hosts
        peers = [hosts[p].address for p in (self.source.host, self.target.host) if p and p != host]
        return Watch(
            spaces, tuple(addresses), tunnel.every_port if tunnel and peers else (), tuple(peers)
        )
