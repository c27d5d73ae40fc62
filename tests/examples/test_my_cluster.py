"""An example of users' own tests, which docs/pytest.md explains. The lab's tests run it.

pytest --provision-inventory inventories/routes.yml tests/examples
"""


def test_every_host_forwards(provision_host):
    """`provision_host` is a testinfra host over provision's own connection."""
    assert provision_host.sysctl("net.ipv4.ip_forward") == 1
    assert provision_host.service("docker").is_running


def test_the_container_has_an_address_in_its_hosts_subnet(provision_container, provision_networks):
    """The test runs for each container; the networks are by name."""
    network = provision_networks[provision_container.network]
    assert provision_container.address in network.subnets[provision_container.host]


def test_each_reaches_each(provision_pair):
    """The test runs for each ordered pair of containers, with the tools of their image."""
    source, target = provision_pair
    answer = source.run("ping -c 1 -w 5 %s", str(target.address))
    assert answer.succeeded, answer.stdout


def test_the_container_has_a_route_to_the_other(provision_pair, provision_inventory):
    """The host's tools run in the container's network namespace."""
    source, target = provision_pair
    route = source.run_by_host("ip route get %s", str(target.address)).stdout
    assert str(provision_inventory.networks[source.network].cidr).split(".")[0] in route


def test_the_network_has_a_subnet_for_each_host(provision_network, provision_inventory):
    """The test runs for each network."""
    assert set(provision_network.subnets) <= set(provision_inventory.hosts)
