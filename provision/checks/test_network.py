"""The checks themselves; pytest runs them once for each host, container, port or ordered pair."""

from __future__ import annotations

import pytest

from provision.checks import modes, ports
from provision.checks.gather import Evidence
from provision.checks.ports import Publication
from provision.checks.wire import ContainerPair
from provision.methods.flannel import leases as overlay
from provision.model.inventory import Container, Network, Port


def test_drift(seen: Evidence, on: str) -> None:
    """The host is as the inventory says."""
    _reached(seen, on)
    drift = seen.drift[on]
    taken = {conflict.ref for conflict in drift.conflicts}
    differs = [conflict.message for conflict in drift.conflicts]
    differs += [f"{c.verb} {c.ref.kind} {c.ref.name}" for c in drift.changes if c.ref not in taken]
    assert not differs, "differs: " + "; ".join(differs)


def test_etcd(seen: Evidence, overlaid: tuple[str, Network]) -> None:
    """Every member of the network's etcd answers this host and is healthy."""
    host, network = overlaid
    _asked(seen, host)
    wrong = overlay.unhealthy(seen.inventory, network, seen.maps[host].get(network.name))
    assert not wrong, wrong


def test_leases(seen: Evidence, overlaid: tuple[str, Network]) -> None:
    """etcd's map of subnet to host, as this host gets it, is the inventory's."""
    host, network = overlaid
    _asked(seen, host)
    found = seen.maps[host].get(network.name)
    assert found and not found.trouble, "etcd gives no answer"
    wrong = overlay.misplaced(seen.inventory, network, found)
    assert not wrong, wrong


def test_mode(seen: Evidence, container: Container) -> None:
    """Its namespace, its links, its addresses and its routes are what its network means."""
    _asked(seen, container.host)
    wrong = modes.wrong(seen.inventory, container, seen.before[container.host])
    assert not wrong, "; ".join(wrong)


def test_lo(seen: Evidence, sharer: Container) -> None:
    """Both containers of one namespace talk by TCP over lo."""
    assert sharer.namespace_owner is not None
    _running(seen, sharer, seen.inventory.containers[sharer.namespace_owner])
    assert _answer(seen, "lo", sharer.name, sharer.host, sharer.namespace_owner) == "same 127.0.0.1"


def test_alone(seen: Evidence, loner: Container) -> None:
    """A container without a network reaches no host."""
    _running(seen, loner)
    for host in seen.inventory.hosts:
        _asked(seen, loner.host)
        answer = seen.answers.get(("alone", loner.name, host))
        assert answer is not None, f"{loner.host} gave no answer"
        assert "unreachable" in answer.text, f"reaching {host}: {answer.text}"


def test_dnat(seen: Evidence, published: tuple[Container, Port]) -> None:
    """Docker's rule for the port is there, leads to the container, and counts what is sent."""
    container, port = published
    _asked(seen, container.host)
    before = modes.translation(container, port, seen.before[container.host])
    assert before is not None, (
        f"no DNAT rule leads {port} to {container.name} (docker restart {container.name} makes it)"
    )
    after = modes.translation(container, port, seen.after[container.host])
    assert after is not None, f"the DNAT rule of {port} went away meanwhile"
    if port.ip is not None and port.ip.is_loopback:
        return  # Docker's proxy serves the host itself there, past the rule
    assert after.packets > before.packets, f"the DNAT rule of {port} counted no packet"


def test_port(seen: Evidence, publication: Publication) -> None:
    """A published port leads to the container, from afar as from within."""
    target = publication.target
    callers = [seen.inventory.containers[publication.caller]] if publication.caller else []
    _running(seen, *callers, target)
    said = _answer(seen, publication.label, publication.source, publication.by, target.name)
    port = ports.inner(publication.port)
    if port in seen.listeners[target.name].held:
        within = _answer(seen, f"inside={port}", target.name, target.host, target.name)
        assert said == within, f"it answers {said!r} from afar, {within!r} from within"
    else:
        assert said.startswith("same "), said


def test_ping(seen: Evidence, pair: tuple[Container, Container]) -> None:
    """Every packet to the container's own address is answered."""
    _between(seen, "ping", pair)


def test_source(seen: Evidence, pair: tuple[Container, Container]) -> None:
    """The far side sees the container's own address: nothing on the way translates it."""
    answer = _between(seen, "tcp", pair)
    own = str(seen.endpoints[pair[0].name].address)
    assert answer == f"same {own}", f"{pair[1].name} saw {answer.removeprefix('same ')}, not {own}"


def test_mtu(seen: Evidence, pair: tuple[Container, Container]) -> None:
    """A packet of exactly the network's MTU passes without being split; none is larger."""
    _between(seen, "mtu", pair)
    source = pair[0]
    if source.network in seen.inventory.networks and source.host in seen.before:
        wrong = modes.oversized(seen.endpoints[source.name], seen.before[source.host])
        assert not wrong, wrong


def test_tcp(seen: Evidence, pair: tuple[Container, Container]) -> None:
    """What is sent comes back unchanged."""
    assert _between(seen, "tcp", pair).startswith("same ")


def test_udp(seen: Evidence, pair: tuple[Container, Container]) -> None:
    """A datagram that fills the MTU arrives, with its checksum right."""
    _between(seen, "udp", pair)


def test_wire(seen: Evidence, joined: tuple[Container, Container]) -> None:
    """Between hosts, traffic is wrapped as the method declares, or not at all."""
    wrong = _way(seen, joined).wrong()
    assert not wrong, wrong


def test_broadcast(seen: Evidence, joined: tuple[Container, Container]) -> None:
    """It is seen once on each host of one layer 2, and nowhere else: nothing loops or leaks."""
    way = _way(seen, joined)
    copies, expected = way.copies(), way.expected_copies()
    assert copies == expected, f"{joined[1].host} saw it {copies} times, not {expected}"


def _way(seen: Evidence, pair: tuple[Container, Container]) -> ContainerPair:
    _between(seen, "ping", pair)
    source, target = (seen.endpoints[container.name].address for container in pair)
    assert source is not None and target is not None
    way = ContainerPair(seen.inventory, pair, (source, target), seen.wires)
    if reason := way.unwatched():
        pytest.skip(reason)
    return way


def _between(seen: Evidence, check: str, pair: tuple[Container, Container]) -> str:
    source, target = pair
    _running(seen, *pair)
    if check == "tcp":
        _equipped(seen, target.host)
    return _answer(seen, check, source.name, source.host, target.name)


def _running(seen: Evidence, *containers: Container) -> None:
    for container in containers:
        _reached(seen, container.host)
        if container.name not in seen.endpoints:
            pytest.fail(
                f"container {container.name} does not run on {container.host} with an address"
            )
        _equipped(seen, container.host)


def _asked(seen: Evidence, host: str) -> None:
    _reached(seen, host)
    _equipped(seen, host)
    if host not in seen.after:
        pytest.fail(f"{host} gave no answer")


def _reached(seen: Evidence, host: str) -> None:
    if host in seen.errors:
        pytest.fail(str(seen.errors[host]))


def _equipped(seen: Evidence, host: str) -> None:
    if host in seen.absent:
        pytest.skip(f"{host} lacks {', '.join(seen.absent[host])}")


def _answer(seen: Evidence, check: str, source: str, host: str, target: str) -> str:
    _reached(seen, host)
    _equipped(seen, host)
    answer = seen.answers.get((check, source, target))
    if answer is None:
        pytest.fail(f"{host} gave no answer")
    if answer.status:
        pytest.fail(answer.text or f"exit status {answer.status}")
    return answer.text
