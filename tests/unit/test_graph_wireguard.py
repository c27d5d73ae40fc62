"""`graph` draws WireGuard by the keys that `wg` prints, of the kernel's devices and wireguard-go's.

The hosts are the captures of `explain`, whose pings passed unless the capture says otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.facts.topology import WireguardPeer
from provision.facts.topology_probe import parse
from provision.inventory.load import load
from provision.show.graph.draw import drawing
from provision.show.graph.formats import FORMATS, text
from provision.show.graph.peers import Peers
from provision.show.view import View
from tests.graph_paths import path

FOLDER = Path(__file__).parent / "explain"
KEYS = {
    "h1": "C1yDU/fKavYUWbDUfFhnCz3EvHO0GdXZhokNceluwFk=",
    "h2": "hocI0zx8gAttYtGYzJm6YhUVz0UnXF891Fbbld+BSUs=",
    "h3": "gL/uF1qv/I2iHoL5nOx9RqESgpX/F4EEe2b/D6oILS4=",
}
NUMBERS = {"h1": "0", "h2": "1", "h3": "2"}


def outputs(capture: str) -> tuple[str, dict[str, str]]:
    """The inventory of a capture, and what the topology probe printed on h1 and h2."""
    data = json.loads((FOLDER / f"{capture}.json").read_text())
    runs = {host: str(data["runs"][host][0][1]) for host in ("h1", "h2")}
    return str(data["inventory"]), runs


def view_of(folder: Path, inventory: str, hosts: dict[str, str]) -> View:
    """The view of hosts that printed these texts."""
    (folder / "safe.yml").write_text(inventory)
    topologies = {host: parse(host, output) for host, output in hosts.items()}
    return View(load(folder / "safe.yml"), tuple(hosts), topologies, ())


def graph(view: View) -> dict[str, Any]:
    """The JSON of the graph."""
    decoded: dict[str, Any] = json.loads(FORMATS["json"](drawing(view)))
    return decoded


def by_kernel(output: str) -> str:
    """The same host with the kernel's WireGuard device in place of wireguard-go's."""
    changed = re.sub(
        r'"linkinfo":\{"info_kind":"tun","info_data":\{[^}]*\}\}',
        '"linkinfo":{"info_kind":"wireguard"}',
        output,
    )
    assert changed != output
    return changed


@pytest.mark.parametrize("kernels", [(), ("h1",), ("h1", "h2")], ids=["go", "both", "kernel"])
def test_peers_are_drawn_whatever_implements_wireguard(
    tmp_path: Path, kernels: tuple[str, ...]
) -> None:
    """Packets pass, so nothing is broken, and each device has its peers."""
    inventory, hosts = outputs("healthy-wireguard")
    hosts = {host: by_kernel(out) if host in kernels else out for host, out in hosts.items()}
    view = view_of(tmp_path, inventory, hosts)
    drawn = graph(view)
    for source, target in (("s1", "s2"), ("s2", "s1")):
        assert path(drawn, source, target), drawn
    assert "BROKEN" not in text(drawing(view))
    tunnels = [node for node in drawn["nodes"] if node["kind"] == "tunnel"]
    peers = [{peer["host"] for peer in node["peers"]} for node in tunnels]
    assert peers == [{"h2", "h3"}, {"h1", "h3"}]
    assert all(edge["up"] for edge in drawn["edges"])


@pytest.mark.parametrize("kernels", [(), ("h1", "h2")], ids=["go", "kernel"])
def test_a_peer_that_the_other_host_does_not_know_is_broken(
    tmp_path: Path, kernels: tuple[str, ...]
) -> None:
    """The host has forgotten the key of h1, so no packet passes."""
    inventory, hosts = outputs("wireguard-peer-missing-far")
    hosts = {host: by_kernel(out) if host in kernels else out for host, out in hosts.items()}
    view = view_of(tmp_path, inventory, hosts)
    assert not path(graph(view), "s1", "s2")
    assert "BROKEN" in text(drawing(view))


def relayed() -> tuple[str, dict[str, str]]:
    """Three hosts, of which h1 and h2 have only h3 as their peer: it passes on their packets."""
    inventory, hosts = outputs("healthy-wireguard")
    swapped = {
        KEYS["h2"]: KEYS["h3"],
        KEYS["h3"]: KEYS["h2"],
        "119.12": "119.13",
        ".26.1.": ".26.2.",
    }
    swapped |= {"s2": "s3", "119.13": "119.12", ".26.2.": ".26.1."}
    pattern = re.compile("|".join(map(re.escape, swapped)))
    hosts["h3"] = pattern.sub(lambda match: swapped[match[0]], hosts["h2"])
    for host, peer in (("h1", "h2"), ("h2", "h1")):
        lines = []
        for line in hosts[host].splitlines():
            if line.startswith("wg_peer") and KEYS[peer] in line:
                continue
            if line.startswith("wg_peer"):
                line = line.replace("172.26.2.0/24", f"172.26.2.0/24,172.26.{NUMBERS[peer]}.0/24")
            lines.append(line)
        hosts[host] = "\n".join(lines) + "\n"
    return inventory, hosts


def test_a_host_that_passes_packets_on_is_on_the_way(tmp_path: Path) -> None:
    """Routes lead to the far host; without its tunnel there, they are broken."""
    inventory, hosts = relayed()
    view = view_of(tmp_path, inventory, hosts)
    drawn = text(drawing(view))
    assert "BROKEN" not in drawn and drawn.count("→ h3") >= 2, drawn
    hosts["h3"] = hosts["h3"].replace(f"wg_peer wg-priva-vfdihm {KEYS['h2']}", "wg_gone")
    broken = text(drawing(view_of(tmp_path, inventory, hosts)))
    assert "h2 BROKEN" in broken and "h3 BROKEN" not in broken.split("h2 ")[0]


class CountedPeers(tuple[WireguardPeer, ...]):
    """The peers of a device, and how often all devices' were gone through."""

    times = 0

    def __iter__(self) -> Iterator[WireguardPeer]:
        """Go through them."""
        CountedPeers.times += 1
        return super().__iter__()


def test_the_peers_of_a_device_are_gone_through_once(tmp_path: Path) -> None:
    """Not for each pair of hosts: a fleet of 200 has 40,000 pairs, and as many peers."""
    inventory, hosts = outputs("healthy-wireguard")
    view = view_of(tmp_path, inventory, hosts)
    for name, topology in view.topologies.items():
        tunnels = tuple(
            replace(end, wireguard=replace(end.wireguard, peers=CountedPeers(end.wireguard.peers)))
            if end.wireguard
            else end
            for end in topology.tunnels
        )
        assert tunnels and isinstance(view.topologies, dict)
        view.topologies[name] = replace(topology, tunnels=tunnels)
    peers = Peers(view)
    (tunnel,) = (end for end in view.topologies["h1"].tunnels if end.wireguard)
    (route,) = (each for each in peers.routes("h1") if each.route.dev == tunnel.device)
    for _ in range(100):
        assert peers.delivers("h1", route, "h2") and peers.reaches("h1", tunnel, "h2")
    assert 0 < CountedPeers.times <= 2 * len(hosts)
