"""The checks; pytest runs them once for each host, container, port or ordered pair."""

from __future__ import annotations

import pytest

from provision.checks import drift_text, modes, path_mtu, ports
from provision.checks.causes import firewall_cause, stopped_dns
from provision.checks.gather import Evidence
from provision.checks.ports import Publication
from provision.checks.probe import Answer
from provision.checks.require import (
    require_docker,
    require_finished,
    require_reached,
    require_tools,
)
from provision.checks.subjects import Pair, PublishedPort
from provision.checks.wire import ContainerPair
from provision.model.inventory import Container


def test_drift(evidence: Evidence, host: str) -> None:
    """The host is as the inventory wants it."""
    require_reached(evidence, host)
    drift = evidence.drift[host]
    conflicting = {conflict.ref for conflict in drift.conflicts}
    differences = [conflict.message for conflict in drift.conflicts]
    differences += [
        drift_text.describe(change)
        for change in sorted(drift.changes, key=drift_text.rank)
        if change.ref not in conflicting
    ]
    messages = [f"cannot be compared: {'; '.join(drift.reasons)}"] if drift.reasons else []
    messages += [f"differs: {'; '.join(differences)}"] if differences else []
    assert not messages, "; ".join(messages)


def test_mode(evidence: Evidence, container: Container) -> None:
    """Namespace, interfaces, addresses and routes are those of the container's network mode."""
    require_finished(evidence, container.host)
    require_docker(evidence, container.host)
    topology = evidence.before[container.host]
    differences = modes.differences(evidence.inventory, container, topology)
    assert not differences, "; ".join(differences)


def test_lo(evidence: Evidence, sharer: Container) -> None:
    """Two containers that share a network namespace reach each other by TCP over lo."""
    assert sharer.namespace_owner is not None
    _require_running(evidence, sharer, evidence.inventory.containers[sharer.namespace_owner])
    answer = _answer(evidence, "lo", sharer.name, sharer.host, sharer.namespace_owner)
    assert answer == "same 127.0.0.1"


def test_alone(evidence: Evidence, isolated: Container) -> None:
    """A container without a network reaches no host."""
    _require_running(evidence, isolated)
    for host in evidence.inventory.hosts:
        require_finished(evidence, isolated.host)
        answer = evidence.answers.get(("alone", isolated.name, host))
        assert answer is not None, f"{isolated.host} gave no answer"
        assert "unreachable" in answer.text, f"connecting to {host}: {answer.text}"


def test_dnat(evidence: Evidence, published_port: PublishedPort) -> None:
    """Docker's DNAT rule forwards the port to the container, and counts the checks' packets."""
    container, port = published_port
    require_finished(evidence, container.host)
    before = modes.dnat_rule(container, port, evidence.before[container.host])
    hint = f"docker restart {container.name} makes one"
    assert before is not None, f"no DNAT rule forwards {port} to {container.name} ({hint})"
    after = modes.dnat_rule(container, port, evidence.after[container.host])
    assert after is not None, f"the DNAT rule of {port} was removed during the check"
    if port.ip is not None and port.ip.is_loopback:
        return  # docker-proxy serves connections of the host itself, which bypass the rule
    assert after.packets > before.packets, f"the DNAT rule of {port} counted no packet"


def test_port(evidence: Evidence, publication: Publication) -> None:
    """A published port answers a caller as the container's own port does from inside."""
    target = publication.target
    members = evidence.inventory.members
    callers = [members[publication.caller]] if publication.caller else []
    _require_running(evidence, *callers, target)
    answer = _answer(evidence, publication.check, publication.source, publication.by, target.name)
    port = ports.container_port(publication.port)
    if port in evidence.listeners[target.name].program_ports:
        inside = _answer(evidence, f"inside={port}", target.name, target.host, target.name)
        assert answer == inside, f"it answers {answer!r} from outside, {inside!r} from inside"
    else:
        assert answer.startswith("same "), answer


def test_ping(evidence: Evidence, pair: Pair) -> None:
    """Every ping to the container's own address is answered."""
    _pair_answer(evidence, "ping", pair)


def test_source(evidence: Evidence, pair: Pair) -> None:
    """The other container sees the container's own address as source: nothing masquerades it."""
    answer = _pair_answer(evidence, "tcp", pair)
    source = str(evidence.endpoints[pair[0].name].address)
    seen_source = answer.removeprefix("same ")
    assert answer == f"same {source}", f"{pair[1].name} saw {seen_source} as source, not {source}"


def test_mtu(evidence: Evidence, pair: Pair) -> None:
    """A packet of exactly the network's MTU passes unfragmented, and no interface sends larger."""
    _pair_answer(evidence, "mtu", pair)
    source, target = pair
    if source.network in evidence.inventory.networks and source.host in evidence.before:
        ends = (evidence.endpoints[source.name], evidence.endpoints[target.name])
        error = path_mtu.mtu_error(evidence.inventory, evidence.facts, evidence.before, *ends)
        assert not error, error


def test_tcp(evidence: Evidence, pair: Pair) -> None:
    """Bytes sent by TCP come back unchanged."""
    assert _pair_answer(evidence, "tcp", pair).startswith("same ")


def test_udp(evidence: Evidence, pair: Pair) -> None:
    """A UDP datagram that fills the MTU arrives with a correct checksum."""
    _pair_answer(evidence, "udp", pair)


def test_name(evidence: Evidence, named_pair: Pair) -> None:
    """Every name of the other container, and its address, are answered as in the inventory."""
    source, target = named_pair
    _require_running(evidence, source)
    answer = _answered(evidence, "name", source, target)
    assert not answer.status, answer.text + stopped_dns(evidence, source)


def test_wire(evidence: Evidence, network_pair: Pair) -> None:
    """Between hosts, packets travel in the tunnel that the method declares, or in none."""
    error = _captured_pair(evidence, network_pair).traffic_error()
    assert not error, error


def test_broadcast(evidence: Evidence, network_pair: Pair) -> None:
    """A broadcast arrives once on each host of one layer 2 and on no other: no loop, no leak."""
    captured = _captured_pair(evidence, network_pair)
    copies, expected = captured.broadcast_copies(), captured.expected_copies()
    host = network_pair[1].host
    assert copies == expected, f"{host} received the broadcast {copies} times, not {expected}"


def _captured_pair(evidence: Evidence, pair: Pair) -> ContainerPair:
    _pair_answer(evidence, "ping", pair)
    source, target = (evidence.endpoints[container.name].address for container in pair)
    assert source is not None and target is not None
    captured = ContainerPair(evidence.inventory, pair, (source, target), evidence.captures)
    if reason := captured.skip_reason():
        pytest.skip(reason)
    return captured


def _pair_answer(evidence: Evidence, check: str, pair: Pair) -> str:
    source, target = pair
    _require_running(evidence, *pair)
    if check == "tcp":
        require_tools(evidence, target.host)
    return _answer(evidence, check, source.name, source.host, target.name)


def _require_running(evidence: Evidence, *containers: Container) -> None:
    for container in containers:
        require_reached(evidence, container.host)
        if container.name not in evidence.endpoints:
            name, host = container.name, container.host
            require_docker(evidence, host)
            pytest.fail(f"container {name} does not run on {host} with an address")
        require_tools(evidence, container.host)


def _answered(evidence: Evidence, check: str, source: Container, target: Container) -> Answer:
    require_reached(evidence, source.host)
    require_tools(evidence, source.host)
    answer = evidence.answers.get((check, source.name, target.name))
    if answer is None:
        pytest.fail(f"{source.host} gave no answer")
    return answer


def _answer(evidence: Evidence, check: str, source: str, host: str, target: str) -> str:
    require_reached(evidence, host)
    require_tools(evidence, host)
    answer = evidence.answers.get((check, source, target))
    if answer is None:
        pytest.fail(f"{host} gave no answer")
    if answer.status:
        text = answer.text or f"exit status {answer.status}"
        pytest.fail(text + firewall_cause(evidence, source, target))
    return answer.text
