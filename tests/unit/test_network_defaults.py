"""Settings of dockerd that change its networks: `default-network-opts` and `icc`."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from provision.checks.gather import pairs
from provision.engine import desired, preflight
from provision.facts import network_defaults
from provision.facts.lines import KeyedLines
from provision.inventory.load import load
from provision.model.inventory import Inventory
from provision.resources.base import Origin, Ref
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.lib.network_options import (
    GATEWAY_MODE,
    ICC,
    INHIBIT,
    MACVLAN_MODE,
    TRUSTED,
)
from provision.resources.render import program_text
from tests.cases import test_cases

ROOT = Path(__file__).parents[2]
DOCKER = {"docker": {"h1": "28.5.2", "h2": "26.1.5", "h3": "26.1.5"}}
INVENTORY = load(ROOT / "inventories/routes.yml")
ISOLATED = {"bridge": {ICC: "false"}}


def inventory(folder: Path, networks: str, containers: str) -> Inventory:
    """Three hosts with these networks and containers."""
    hosts = ", ".join(f"h{n}: {{address: 10.78.0.1{n}}}" for n in (1, 2, 3))
    text = f"name: demo\nhosts: {{{hosts}}}\nnetworks: {{{networks}}}\ncontainers: {{{containers}}}"
    (folder / "i.yml").write_text(text)
    return load(folder / "i.yml")


def made(defaults: dict[str, dict[str, str]], host: str = "h2") -> DockerNetwork:
    """The network of a host that has such defaults."""
    facts = test_cases.facts(INVENTORY, DOCKER)
    facts[host] = replace(facts[host], network_defaults=defaults)
    network = desired.wanted(INVENTORY, facts)[Ref(host, "docker_network", "blue")]
    assert isinstance(network, DockerNetwork)
    return network


def found(network: DockerNetwork, options: dict[str, str]) -> DockerNetwork:
    """The network as Docker lists it, with such options."""
    pool = {"Subnet": str(network.subnet), "Gateway": str(network.gateway)}
    entry = {
        "Name": network.network, "Driver": network.driver or "bridge", "IPAM": {"Config": [pool]},
        "Options": options, "Labels": {"provision": str(network.mark)},
    }  # fmt: skip
    text = f"networks {json.dumps([entry])}\ncontainers []\n"
    (each,) = DockerNetwork.parse(text, Origin(network.host, "demo"))
    assert isinstance(each.resource, DockerNetwork) and each.ours
    return each.resource


@pytest.mark.parametrize(
    ("defaults", "usual"),
    [
        ({}, ()),
        ({"bridge": {"com.docker.network.driver.mtu": "1400"}}, ()),
        ({"bridge": {ICC: "true"}, "macvlan": {MACVLAN_MODE: "private"}}, ()),
        (ISOLATED, ((ICC, "true"),)),
        ({"bridge": {ICC: "0"}}, ((ICC, "true"),)),
        ({"bridge": {GATEWAY_MODE: "routed"}}, ((GATEWAY_MODE, "nat"),)),
        ({"bridge": {INHIBIT: "true", TRUSTED: "eth9"}}, ((INHIBIT, "false"), (TRUSTED, ""))),
    ],
)
def test_a_default_that_breaks_a_network_is_overridden(
    defaults: dict[str, dict[str, str]], usual: tuple[tuple[str, str], ...]
) -> None:
    """By Docker's own value, and only then; the network made so is the one that is wanted."""
    network = made(defaults)
    assert network.usual == usual and network == made({})
    (step,) = network.create()
    given = [text for text in step.argv if text.startswith("com.docker.")]  # type: ignore[union-attr]
    assert given == ["=".join(pair) for pair in (*network.options, *usual)]
    again = found(network, {**dict(network.options), **dict(usual)})
    assert again == network and again.usual == usual


def test_an_option_of_the_method_needs_no_other() -> None:
    """Docker 28.2 and newer are told the interfaces."""
    assert not made({"bridge": {TRUSTED: "eth9"}}, "h1").usual


@pytest.mark.parametrize("key", [ICC, INHIBIT, GATEWAY_MODE])
def test_a_network_that_has_the_default_differs(key: str) -> None:
    """So it is made anew; the way back makes it as it was."""
    network, value = made({}), {ICC: "false", INHIBIT: "true", GATEWAY_MODE: "routed"}[key]
    before = found(network, {**dict(network.options), key: value})
    assert before != network and network.update(before) is None
    (step,) = before.unstash("t")
    assert f"{key}={value}" in step.argv  # type: ignore[union-attr]


FILE = """{
  "icc": false, "http-proxy": "http://user:secret@proxy",
  "default-network-opts" : {"bridge": {"com.docker.network.bridge.enable_icc": "false"},
    "macvlan": {"macvlan_mode": "private"}},
  "log-opts": {"max-size": "9m"}
}
"""


def read(folder: Path, file: str | None, flags: str = "") -> dict[str, dict[str, str]]:
    """The defaults that the part of look/firewall.sh reads from such a file and arguments."""
    path = folder / "daemon.json"
    if file is not None:
        path.write_text(file)
    text = program_text("look/firewall.sh")
    helper = re.search(r"^daemon_json\(\).*$", text, re.M)
    part = re.search(r"^# The rest of the file.*?^esac$", text, re.M | re.S)
    if part is None:  # comments are left out
        part = re.search(r"^! daemon_json default-network-opts.*?^esac$", text, re.M | re.S)
    assert helper and part
    script = f"file={path}\nflags='{flags}'\n{helper[0]}\n{part[0]}\n"
    output = subprocess.run(("sh", "-c", script), capture_output=True, text=True, check=True)
    assert "secret" not in output.stdout
    return network_defaults.parse(KeyedLines(output.stdout))


def test_the_defaults_are_read_from_file_and_arguments(tmp_path: Path) -> None:
    """Nothing else of the file leaves the host."""
    both = {"bridge": {ICC: "false"}, "macvlan": {"macvlan_mode": "private"}}
    assert read(tmp_path, None) == {}
    assert read(tmp_path, FILE) == read(tmp_path, FILE.replace("\n", "")) == both
    assert read(tmp_path, '{"default-network-opts": {}}') == {}
    assert read(tmp_path, '{"default-network-opts": {"bridge": }}') == {}
    flag = f"--default-network-opt=bridge={ICC}=false"
    assert read(tmp_path, "{}", f"dockerd {flag} -H fd://") == ISOLATED
    assert read(tmp_path, "{}", f"dockerd {flag.replace('=', ' ', 1)}") == ISOLATED


def test_docker0_that_isolates_is_refused_where_two_containers_meet(tmp_path: Path) -> None:
    """By the setting's name; one container on a host that routes does not meet the rule."""
    networks = "red: {method: routes, cidr: 172.20.0.0/16, bridge: docker0}"
    several = inventory(
        tmp_path, networks, "aa: {host: h1, network: red}, bb: {host: h1, network: red}, "
        "cc: {host: h2, network: red}",
    )  # fmt: skip
    facts = test_cases.facts(several, DOCKER)
    assert not preflight.problems(several, facts)
    facts = {host: replace(each, docker0_isolates=True) for host, each in facts.items()}
    (problem,) = preflight.problems(several, facts)
    assert problem.host == "h1" and '"icc": false' in problem.message
    assert "/etc/docker/daemon.json" in problem.hint
    single = inventory(
        tmp_path, networks.replace("routes", "vxlan"), "aa: {host: h1, network: red}, "
        "cc: {host: h2, network: red}",
    )  # fmt: skip
    assert [problem.host for problem in preflight.problems(single, facts)] == ["h1", "h2"]
    # A network of its own has its own setting.
    assert not preflight.problems(INVENTORY, facts)


def test_containers_that_docker0_isolates_are_no_pairs(tmp_path: Path) -> None:
    """The other pairs stay."""
    containers = (
        "aa: {host: h1, network: bridge}, bb: {host: h1, network: bridge}, "
        "cc: {host: h2, network: bridge}, dd: {host: h2, network: bridge}"
    )
    several = inventory(tmp_path, "", containers)
    facts = test_cases.facts(several, DOCKER)
    members = several.members.values()
    assert len(pairs(several, members, facts=facts)) == 4
    facts["h1"] = replace(facts["h1"], docker0_isolates=True)
    chosen = pairs(several, members, facts=facts)
    assert [(one.name, other.name) for one, other in chosen] == [("cc", "dd"), ("dd", "cc")]


def test_an_address_for_all_published_ports_is_named(tmp_path: Path) -> None:
    """Other hosts do not reach a port of 127.0.0.1, unless the port has an address of its own."""
    several = inventory(
        tmp_path, "red: {method: routes, cidr: 172.20.0.0/16}",
        'aa: {host: h1, network: red, ports: ["8080:80"]}, '
        'bb: {host: h1, network: red, ports: ["10.78.0.11:8081:80"]}',
    )  # fmt: skip
    facts = test_cases.facts(several, DOCKER)
    assert not [*preflight.warnings(several, facts)]
    defaults = {"bridge": {"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"}}
    facts["h1"] = replace(facts["h1"], network_defaults=defaults)
    (warning,) = preflight.warnings(several, facts)
    assert warning.host == "h1" and "at 127.0.0.1 alone" in warning.message
    assert warning.message.endswith("those of aa")
