"""A Compose file over three booted hosts, and settings as three versions of Docker keep them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab.hosts import HOSTS, Hosts, assert_same

pytestmark = pytest.mark.lab

# The page of each service has its name, then the page of the next one, by its name. `wget -T` of
# busybox 1.35 crashes.
COMPOSE = """
x-service: &service
  image: busybox
  restart: unless-stopped
  command:
    - sh
    - -c
    - |
      mkdir /srv
      httpd -p ${PORT_OF_SHOP:-80} -h /srv
      while :; do
        { echo "$$NAME"; $$NEXT; } >/srv/new
        mv /srv/new /srv/chain; sleep 2
      done
services:
  web:
    <<: *service
    ports: ["8080:80"]
    depends_on: [sidecar]
    networks: [default, back]
    environment:
      NAME: web
      NEXT: timeout 5 wget -q -O- http://front/chain
  sidecar: {image: busybox, command: sleep infinity, labels: [com.example.role=side]}
  api:
    <<: *service
    deploy: {replicas: 2}
    env_file: api.env
    environment: {NAME: api, GUILD: 1187654321098765432, PROJECT: "${COMPOSE_PROJECT_NAME}"}
    volumes:
      - {type: tmpfs, target: /fixed, read_only: true, tmpfs: {mode: 01770, size: 64kb}}
  db:
    <<: *service
    volumes: ["data:/data"]
    networks: {default: {ipv4_address: 172.20.2.200}, back: {ipv4_address: 172.21.2.200}}
    environment:
      NAME: db
      NEXT: timeout 5 wget -q -O- http://cache/chain
    x-provision: {host: h3}
  cache:
    <<: *service
    environment: {NAME: cache, NEXT: "true"}
    tmpfs: [/scratch]
    ulimits: {nofile: 512}
    healthcheck: {test: "wget -q -O- http://localhost/chain", interval: 30s, timeout: 5s}
  front:
    <<: *service
    environment: {NAME: front, NEXT: "timeout 5 wget -q -O- http://db/chain"}
volumes: {data: }
networks: {back: {name: red, external: true}}
"""
PLACES = "hosts: {web: h1, sidecar: h1, api: [h1, h2, h3], cache: h2, front: h2}"
SETTINGS = """
    host: HOST
    network: blue
    entrypoint: [sleep]
    command: ["3600"]
    user: 1000
    working_dir: /tmp/
    hostname: inner
    env_file: [settings.env]
    env: {B: own}
    labels: {com.example.role: web, "a b": "c=d"}
    healthcheck: {test: [CMD, "true"], interval: 1m30s, timeout: 500ms, retries: 3}
    cap_add: [CAP_NET_ADMIN, sys_time]
    cap_drop: [mknod]
    devices: ["/dev/null:/dev/nothing:r"]
    sysctls: {net.core.somaxconn: 1024}
    ulimits: {core: 0, nproc: {soft: 100, hard: 200}}
    logging: {options: {max-size: 10m}}
    extra_hosts: {db: 10.0.0.5, six: "::1", gw: host-gateway}
    group_add: [20, "1"]
    security_opt: ["no-new-privileges:true"]
    tmpfs: {/run/x: "size=1m", /scratch: ""}
    shm_size: 64m
    restart: on-failure:3
    stop_grace_period: 1m
    stop_signal: SIGINT
    init: true
    read_only: true
    tty: true
    stdin_open: true
"""


def write(hosts: Hosts) -> str:
    """Write the Compose file and its inventory into the lab's folder; the inventory's name."""
    folder = hosts.lab.folder / "shop"
    folder.mkdir(exist_ok=True)
    (folder / "compose.yaml").write_text(COMPOSE)
    (folder / "api.env").write_text("NEXT=true\nGREETING='a b'\n")
    (hosts.lab.folder / "settings.env").write_text('A=1\nB=file\nC="x\\ny"\n')
    addresses = "\n".join(
        f"  {name}: {{address: {hosts.networks[1]}.1{k}}}" for k, name in enumerate(HOSTS, 1)
    )
    settings = "".join(f"  full-{host}:{SETTINGS.replace('HOST', host)}" for host in HOSTS)
    # Docker shows no entrypoint in place of the one that takes away that of the image.
    reset = 'network: blue, entrypoint: [""], command: [sleep, "9999"]'
    settings += "".join(f"  reset-{host}: {{host: {host}, {reset}}}\n" for host in HOSTS)
    (hosts.lab.folder / "compose.yml").write_text(
        f"name: demo\nhosts:\n{addresses}\n"
        "networks:\n  blue: {method: routes, cidr: 172.20.0.0/16, names: true}\n"
        "  red: {method: vxlan, cidr: 172.21.0.0/16}\n"
        f"compose:\n  - {{file: shop/compose.yaml, project: shop, network: blue, {PLACES}}}\n"
        f"containers:\n  plain: {{host: h1, network: blue}}\n{settings}"
    )
    return "compose.yml"


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text of a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def ids(hosts: Hosts) -> dict[str, str]:
    """The id of each container by its name."""
    output = hosts.everywhere("docker ps --all --no-trunc --format '{{.Names}} {{.ID}}'")
    return dict(line.split() for text in output.values() for line in text.splitlines())


def inspected(hosts: Hosts, host: str, container: str) -> Any:
    """What Docker says about a container."""
    return json.loads(hosts.ssh(host, f"docker inspect {container}"))[0]


def test_a_compose_file_over_three_hosts(mixed: Hosts) -> None:
    """Apply, an empty second plan, requests through all hosts, scale, a changed key, destroy."""
    before = mixed.capture()
    path = write(mixed)
    mixed.provision("apply", path)
    assert mixed.json("plan", path)["changes"] == []
    checks = mixed.verified(path, skips=("wire", "broadcast"))["checks"]
    assert ("shop-web-1.red", "shop-db-1.red") in {(each["from"], each["to"]) for each in checks}
    requests_go_through_all_hosts(mixed)
    assert variables_of_the_api(mixed) == "a b,api,1187654321098765432,shop\n"
    for host, container in {"h1": "shop-api-1", "h2": "shop-api-2"}.items():
        memory_is_that_of_the_file(mixed, host, container)
    settings_are_those_of_the_file(mixed)
    mixed.ssh("h3", "docker exec shop-db-1 sh -c 'echo kept >/data/file'")
    only_what_differs_is_touched(mixed, path)
    mixed.provision("destroy", path, "--yes")
    assert_same(before, mixed.capture())
    kept = mixed.ssh("h3", "cat $(docker volume inspect -f '{{.Mountpoint}}' shop_data)/file")
    assert kept == "kept\n"
    mixed.ssh("h3", "docker volume rm shop_data")


def variables_of_the_api(hosts: Hosts) -> str:
    """A variable of its env_file, and those of its environment."""
    names = "$GREETING,$NAME,$GUILD,$PROJECT"
    return hosts.ssh("h1", f"docker exec shop-api-1 sh -c 'echo \"{names}\"'")


def memory_is_that_of_the_file(hosts: Hosts, host: str, container: str) -> None:
    """The mode, the size and the option `ro` of a file system in memory."""
    command = "stat -c %a /fixed; grep ' /fixed ' /proc/mounts"
    mode, mount = hosts.ssh(host, f'docker exec {container} sh -c "{command}"').splitlines()
    options = mount.split()[3].split(",")
    assert (mode, mount.split()[2], options[0]) == ("1770", "tmpfs", "ro")
    assert "size=64k" in options


def requests_go_through_all_hosts(hosts: Hosts) -> None:
    """The page of web has those of the three services behind it, on two other hosts."""
    deadline, names = time.monotonic() + 60, list[str]()
    while names != ["web", "front", "db", "cache"]:
        assert time.monotonic() < deadline, names
        page = "docker exec shop-web-1 wget -q -O- http://localhost/chain"
        names = hosts.ssh("h1", page, check=False).split()


def settings_are_those_of_the_file(hosts: Hosts) -> None:
    """Each Docker has the settings under the names that its documentation gives them."""
    for host in HOSTS:
        container = inspected(hosts, host, f"full-{host}")
        config, host_config = container["Config"], container["HostConfig"]
        assert (config["User"], config["WorkingDir"]) == ("1000", "/tmp")
        assert {"A=1", "B=own", "C=x\ny"} <= set(config["Env"])
        assert config["Healthcheck"]["Interval"] == 90 * 10**9
        assert host_config["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
        assert host_config["Tmpfs"] == {"/run/x": "size=1m", "/scratch": ""}
        assert hosts.ssh(host, f"docker exec full-{host} hostname") == "inner\n"
        assert "10.0.0.5\tdb" in hosts.ssh(host, f"docker exec full-{host} cat /etc/hosts")
    labels = inspected(hosts, "h1", "plain")["Config"]["Labels"]
    assert labels == {"provision": "demo/blue", "provision.command": "own"}


def only_what_differs_is_touched(hosts: Hosts, path: str) -> None:
    """From two copies to three, and one key of another service, which the plan names."""
    before = ids(hosts)
    compose = hosts.lab.folder / "shop/compose.yaml"
    edit(compose, "replicas: 2", "replicas: 3")
    edit(compose, "nofile: 512", "nofile: 600")
    plan = hosts.provision("plan", path)
    assert "      settings: ~ ulimits.nofile 512:512 → 600:600\n" in plan
    changes = hosts.json("apply", path)["changes"]
    assert {(change["host"], change["verb"], change["name"]) for change in changes} == {
        ("h3", "create", "shop-api-3"),
        ("h2", "replace", "shop-cache-1"),
        # The records of names, with the third copy.
        *((host, "update", "blue") for host in HOSTS),
    }
    assert hosts.json("plan", path)["changes"] == []
    after = ids(hosts)
    assert after.keys() - before.keys() == {"shop-api-3"}
    assert {name for name in before if after[name] != before[name]} == {"shop-cache-1"}


@pytest.mark.full
def test_a_limit_that_docker_drops_is_refused(mixed: Hosts) -> None:
    """Docker only warns where the kernel has no cgroup of memory, as here."""
    write(mixed)
    text = (mixed.lab.folder / "compose.yml").read_text().partition("compose:")[0]
    container = "containers: {small: {host: h1, network: bridge, mem_limit: 64m}}\n"
    (mixed.lab.folder / "limit.yml").write_text(f"{text}{container}")
    is_known = mixed.ssh("h1", "docker info --format '{{.MemoryLimit}}'").strip() == "true"
    mixed.provision("apply", "limit.yml", status=0 if is_known else 5)
    if is_known:
        assert inspected(mixed, "h1", "small")["HostConfig"]["Memory"] == 64 << 20
        mixed.provision("destroy", "limit.yml", "--yes")
    assert "small" not in ids(mixed)
