"""The rounds of a verify: listen, connect, stop; one script a host in each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from provision import methods
from provision.checks import access_probe, lan_probe, name_probe, path_mtu, ports, probe, wire
from provision.checks.access_probe import AccessProbe
from provision.checks.backend import host as testinfra_host
from provision.checks.lan_probe import LanProbe
from provision.checks.limits import Limits
from provision.checks.pair_choice import PairChoice
from provision.checks.probe import Answer, Endpoint, Listener
from provision.checks.wire import Capture
from provision.engine.fleet import Fleet, Session, each
from provision.facts import topology_probe
from provision.facts.topology import HostTopology
from provision.model.errors import HostError
from provision.model.grouping import grouped
from provision.model.reading import reading
from provision.model.text import count

FIRST_FAILURES = 5
"""Failures that are told while other hosts still check."""


class CheckRounds:
    """The rounds that listen, connect and stop, with the evidence that each brings."""

    def __init__(
        self,
        session: Session,
        hosts: tuple[str, ...],
        fleet: Fleet,
        endpoints: Mapping[str, Endpoint],
        calls: Iterable[tuple[Endpoint, Endpoint]],
        lan_probes: tuple[LanProbe, ...],
        choice: PairChoice,
        names: Mapping[Endpoint, tuple[str, ...]],
        access: tuple[AccessProbe, ...] = (),
    ) -> None:
        self._session, self._hosts = session, hosts
        self._endpoints = endpoints
        self._by_host = grouped(endpoints.values(), lambda endpoint: endpoint.host)
        self._targets = {
            source: [target for _, target in pairs]
            for source, pairs in grouped(calls, lambda pair: pair[0]).items()
        }
        self._limits = Limits(max(map(len, self._targets.values()), default=0))
        self._choice = choice
        self._names, self._access = names, access
        self._lan_probes = grouped(lan_probes, lambda lan_probe: lan_probe.host)
        self._facts = fleet.facts
        self._reached = tuple(host for host in hosts if host in fleet.snapshots)
        self._sniffers: dict[str, int | None] = {}
        self.listeners: dict[str, Listener] = {}
        self.before: dict[str, HostTopology] = {}
        self.after: dict[str, HostTopology] = {}
        self.answers: dict[tuple[str, str, str], Answer] = {}
        self.captures: dict[str, Capture] = {}
        self.statuses: dict[str, Mapping[str, Any]] = {}
        self.missing_tools: dict[str, tuple[str, ...]] = {}
        self.errors: dict[str, HostError] = {}

    def run(self, listening: set[str]) -> None:
        """Run all rounds: listeners on the hosts `listening`, connections from every host."""
        started = self._round(listening, self._listen_script, "Starting listeners on hosts")
        try:
            for host, text in started.items():
                self._read(host, text, self._read_listen)
            for host, text in self._connect().items():
                self._read(host, text, self._read_answers)
        finally:
            # Also after Ctrl-C: a listener keeps its container's network namespace alive.
            for host, text in self._stop(started).items():
                self._read_topology(host, text, self.after)
                self._read(host, text, self._read_capture)

    def _read(self, host: str, text: str, parse: Callable[[str, str], None]) -> None:
        """Read what a host printed; what cannot be read is an error of the host."""
        try:
            with reading(host, "answers to the checks", text):
                parse(host, text)
        except HostError as error:
            self.errors.setdefault(host, error)

    def _read_answers(self, _host: str, text: str) -> None:
        self.answers |= probe.parse_answers(text)

    def _read_capture(self, host: str, text: str) -> None:
        if self._sniffers.get(host):
            self.captures[host] = wire.parse(text)

    def _read_listen(self, host: str, text: str) -> None:
        self.listeners |= probe.parse_listeners(text)
        self._sniffers[host], self.captures[host] = wire.parse_pid(text), wire.parse(text)
        self.statuses[host] = methods.parse_statuses(self._session.inventory, host, text)
        self._read_topology(host, text, self.before)
        if missing := probe.parse_missing_tools(text):
            self.missing_tools[host] = missing

    def _read_topology(self, host: str, text: str, into: dict[str, HostTopology]) -> None:
        try:
            into[host] = topology_probe.parse(host, text)
        except HostError as error:
            self.errors.setdefault(host, error)

    def _listen_script(self, host: str) -> str:
        inventory = self._session.inventory
        called = [end for end in self._by_host.get(host, ()) if end.called]
        return probe.combined(
            probe.listen_script(called, self._limits),
            wire.start_script(inventory, self._limits, access_probe.sniffed(inventory)),
            topology_probe.script(),
            methods.status_script(inventory, host, wait=True),
        )

    def _call_scripts(self) -> Callable[[str], str]:
        """A function that makes the script of each host; empty for one that has nothing to do."""
        inventory = self._session.inventory
        listening = {name: listener.port for name, listener in self.listeners.items()}
        every = ports.openings(
            inventory, self._hosts, self._endpoints, self.listeners, self._choice
        )
        access = access_probe.openings(self._access, self._endpoints, self.listeners)
        by_host = grouped((*every, *access), lambda opening: opening.by)
        openings = {host: ports.by_source(group) for host, group in by_host.items()}
        groups = (group for of_host in openings.values() for group in of_host.values())
        self._limits = Limits(max(self._limits.peers, max(map(len, groups), default=0)))

        def script(host: str) -> str:
            sources = (end for end in self._by_host.get(host, ()) if end in self._targets)
            calls = {source: self._targets[source] for source in sources}
            arguments = {
                key: [opening.arguments for opening in group]
                for key, group in openings.get(host, {}).items()
            }
            lan = lan_probe.script(self._lan_probes.get(host, ()))
            of_host = self._by_host.get(host, ())
            names = {end: self._names[end] for end in of_host if end in self._names}
            facts = self._facts[host]
            strangers = access_probe.script(self._access, self._endpoints, inventory, facts)
            if not (calls or arguments or lan or names or strangers):
                return ""
            return probe.combined(
                self._limits.files,
                probe.call_script(calls, listening, self._limits, self._mtu),
                probe.open_script(arguments, self._limits),
                lan,
                name_probe.script(names),
                strangers,
                wire.send_script(inventory, calls),
            )

        return script

    def _mtu(self, source: Endpoint, target: Endpoint) -> int:
        return path_mtu.tested_mtu(
            self._session.inventory, self._facts, self.before, source, target
        )

    def _stop_script(self, host: str) -> str:
        names = (endpoint.container for endpoint in self._by_host.get(host, ()))
        pids = [self.listeners[name].pid for name in names if name in self.listeners]
        sniffer = wire.stop_script(self._sniffers.get(host))
        return probe.combined(probe.stop_script(pids), sniffer, topology_probe.script())

    def _connect(self) -> dict[str, str]:
        """Connect from all hosts at once, and tell the first failures as they come."""
        pairs = sum(map(len, self._targets.values()))
        label = f"Checking {count(pairs, 'pair')} from hosts"
        return self._round(self._reached, self._call_scripts(), label, self._first_failures())

    def _first_failures(self) -> Callable[[str], None]:
        left = itertools.repeat(None, FIRST_FAILURES)

        def tell(text: str) -> None:
            for (check, source, target), answer in probe.parse_answers(text).items():
                if answer.status and next(left, False) is None:
                    self._session.say(f"FAILED {check} {source} → {target}: {answer.text}")

        return tell

    def _stop(self, hosts: Iterable[str]) -> dict[str, str]:
        return self._round(hosts, self._stop_script, "Stopping listeners on hosts")

    def _round(
        self,
        hosts: Iterable[str],
        script: Callable[[str], str],
        label: str,
        tell: Callable[[str], None] = lambda _text: None,
    ) -> dict[str, str]:
        """Run one script on each host that has one. Returns the outputs by host.

        `tell` is called with each output as it comes.
        """
        timeout_s = min(self._limits.round_s, self._session.timeout_s)

        def run(host: str) -> str:
            text = script(host)
            if not text:
                return ""
            remote = testinfra_host(host, self._session.transport, timeout_s=timeout_s)
            output = str(remote.run(text).stdout)
            tell(output)
            return output

        reached = sorted(set(hosts) & set(self._reached))
        outputs, errors = each(self._session, reached, run, label=label)
        self.errors = {**errors, **self.errors}
        return outputs
