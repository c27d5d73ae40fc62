"""The pytest plug-in for users' own tests: `pytest --provision-inventory FILE`.

Fixtures: `provision_hosts` (testinfra hosts over one SSH connection each), `provision_containers`
and `provision_networks` are mappings by name; `provision_host`, `provision_container`,
`provision_network` and `provision_pair` run a test once for each. pytest loads the plug-in in every
project on this machine: without the option it does nothing, and imports nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import testinfra.host

    from provision.checks.live import LiveContainer
    from provision.engine.fleet import Session
    from provision.model.inventory import Inventory, Network

# The inventory is read once, though pytest collects every test module.
_LOADED = pytest.StashKey["Inventory"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the plug-in."""
    group = parser.getgroup("provision", "hosts and containers of a provision inventory")
    group.addoption("--provision-inventory", metavar="FILE", help="inventory to test")
    group.addoption("--provision-ssh-config", metavar="FILE", help="configuration file of OpenSSH")
    group.addoption("--provision-limit", metavar="PATTERN", help="only these hosts: h1,edge:!h3")


def _inventory(config: pytest.Config) -> Inventory | None:
    if _LOADED in config.stash:
        return config.stash[_LOADED]
    path = config.getoption("--provision-inventory")
    if path is None:
        return None
    from provision.inventory.load import load
    from provision.model.errors import ProvisionError

    try:
        config.stash[_LOADED] = load(Path(path))
    except ProvisionError as error:
        raise pytest.UsageError(error.message) from error
    return config.stash[_LOADED]


def _hosts(config: pytest.Config, inventory: Inventory) -> tuple[str, ...]:
    from provision.inventory.limit import select
    from provision.model.errors import ProvisionError

    try:
        return select(inventory, config.getoption("--provision-limit"))
    except ProvisionError as error:
        raise pytest.UsageError(error.message) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each host, container, network or ordered pair of containers of a network."""
    fixtures = ("provision_host", "provision_container", "provision_network", "provision_pair")
    wanted = [name for name in fixtures if name in metafunc.fixturenames]
    if not wanted:
        return
    inventory = _inventory(metafunc.config)
    if inventory is None:
        for name in wanted:
            metafunc.parametrize(name, [], indirect=True)  # pytest skips the test
        return
    from provision.checks.gather import pairs

    hosts = _hosts(metafunc.config, inventory)
    containers = [c for c in inventory.members.values() if c.host in hosts]
    values: dict[str, list[Any]] = {
        "provision_host": list(hosts),
        "provision_container": [container.name for container in containers],
        "provision_network": list(inventory.networks),
        "provision_pair": [
            (source.name, target.name) for source, target in pairs(inventory, containers)
        ],
    }
    for name in wanted:
        ids = ["-".join(v) if isinstance(v, tuple) else v for v in values[name]]
        metafunc.parametrize(name, values[name], ids=ids, indirect=True)


@pytest.fixture(scope="session")
def provision_inventory(pytestconfig: pytest.Config) -> Inventory:
    """The inventory; a test that needs it is skipped without --provision-inventory."""
    inventory = _inventory(pytestconfig)
    if inventory is None:
        pytest.skip("--provision-inventory FILE is missing")
    return inventory


@pytest.fixture(scope="session")
def provision_session(
    pytestconfig: pytest.Config, provision_inventory: Inventory
) -> Iterator[Session]:
    """A session over SSH with one connection a host, closed at the end."""
    from provision.engine.fleet import Session
    from provision.transport.ssh.transport import SshTransport

    path = pytestconfig.getoption("--provision-ssh-config")
    transport = SshTransport.for_project(provision_inventory, Path(path) if path else None)
    yield Session(provision_inventory, transport)
    transport.close()


@pytest.fixture(scope="session")
def provision_hosts(
    pytestconfig: pytest.Config, provision_session: Session
) -> Mapping[str, testinfra.host.Host]:
    """testinfra hosts by name."""
    from provision.checks.backend import host

    inventory, transport = provision_session.inventory, provision_session.transport
    timeout_s = provision_session.timeout_s
    names = _hosts(pytestconfig, inventory)
    return {name: host(name, transport, timeout_s=timeout_s) for name in names}


@pytest.fixture(scope="session")
def provision_containers(
    pytestconfig: pytest.Config, provision_session: Session
) -> Mapping[str, LiveContainer]:
    """Containers as they run now, by name."""
    from provision.checks.live import live_containers

    hosts = _hosts(pytestconfig, provision_session.inventory)
    return live_containers(provision_session, hosts)


@pytest.fixture(scope="session")
def provision_networks(provision_session: Session) -> Mapping[str, Network]:
    """Networks of the inventory by name, with `cidr` and the `subnets` that the hosts have."""
    from provision.engine.fleet import survey

    session, _, _ = survey(provision_session, provision_session.inventory.hosts)
    return session.inventory.networks


@pytest.fixture
def provision_host(
    request: pytest.FixtureRequest, provision_hosts: Mapping[str, testinfra.host.Host]
) -> testinfra.host.Host:
    """Each host in turn."""
    return provision_hosts[request.param]


@pytest.fixture
def provision_container(
    request: pytest.FixtureRequest, provision_containers: Mapping[str, LiveContainer]
) -> LiveContainer:
    """Each container in turn."""
    return provision_containers[request.param]


@pytest.fixture
def provision_network(
    request: pytest.FixtureRequest, provision_networks: Mapping[str, Network]
) -> Network:
    """Each network in turn."""
    return provision_networks[request.param]


@pytest.fixture
def provision_pair(
    request: pytest.FixtureRequest, provision_containers: Mapping[str, LiveContainer]
) -> tuple[LiveContainer, LiveContainer]:
    """Each ordered pair of two containers of one network in turn."""
    source, target = request.param
    return provision_containers[source], provision_containers[target]
