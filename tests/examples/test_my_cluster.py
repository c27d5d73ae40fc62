"""An example of a user's own tests, as docs/pytest.md explains them; the lab's tests run it.

pytest --provision-inventory inventories/routes.yml tests/examples
"""


def test_every_host_forwards(provision_host):
    """A testinfra host, over the connection that provision uses."""
    assert provision_host.sysctl("net.ipv4.ip_forward") == 1
    assert provision_host.service("docker").is_running


def test_the_container_has_an_address_of_its_hosts_part(provision_container, provision_networks):
    """Each container in turn, beside all networks by name."""
    network = provision_networks[provision_container.network]
    assert provision_container.address in network.subnets[provision_container.host]


def test_each_reaches_each(provision_pair):
    """Each ordered pair, by the tools in the image."""
    source, target = provision_pair
    answer = source.run("ping -c 1 -w 5 %s", str(target.address))
    assert answer.succeeded, answer.stdout


def test_the_route_leads_to_the_host_of_the_other(provision_pair, provision_inventory):
    """By the host's own tools in the container's network."""
    source, target = provision_pair
    way = source.run_by_host("ip route get %s", str(target.address)).stdout
    assert str(provision_inventory.networks[source.network].cidr).split(".")[0] in way


def test_the_network_has_a_part_for_each_host(provision_network, provision_inventory):
    """Each network in turn."""
    assert set(provision_network.subnets) <= set(provision_inventory.hosts)
