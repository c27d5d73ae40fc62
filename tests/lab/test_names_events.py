"""Names on booted hosts through events: each container asks for all others, by `getent hosts`.

The programs of the C library of each suite ask, on hosts whose own resolver is a file with a
server, and on hosts with systemd-resolved. The range of the network does not end at a byte.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from provision.lab import power
from tests.lab.conftest import Boot
from tests.lab.hosts import HOSTS, Hosts, assert_same

pytestmark = [pytest.mark.lab, pytest.mark.full]

FILE = "events.yml"
IMAGE = "getent:latest"
INVENTORY = """
name: events
hosts:
  h1: {{address: {data}.11}}
  h2: {{address: {data}.12}}
  h3: {{address: {data}.13}}
networks:
  blue: {{method: routes, cidr: 172.20.48.0/23, subnet_size: 25, names: lab.internal}}
containers:
  c1: {{host: h1, network: blue, image: "getent:latest", command: [sleep, "99999"]}}
  c2: {{host: h2, network: blue, image: "getent:latest", command: [sleep, "99999"]}}
  c3: {{host: h3, network: blue, image: "getent:latest", command: [sleep, "99999"]}}
  mover: {{host: h1, network: blue, image: "getent:latest", command: [sleep, "99999"]}}
guests:
  g1: {{host: h1, container: app1, network: blue}}
  g2: {{host: h2, label: role=app, network: blue}}
  g3: {{host: h3, container: app3, network: blue, absent: wait}}
"""
ASKERS = {"c1": "h1", "c2": "h2", "c3": "h3"}
HOMES = {**ASKERS, "mover": "h1"}
GUESTS = {"g1": "h1", "g2": "h2", "g3": "h3"}
SLEEP = "--restart unless-stopped getent sleep 99999"
MAKE = {
    "h1": f"docker run -d --name app1 {SLEEP}",
    "h2": f"docker run -d --name app2 --label role=app {SLEEP}",
}
JOIN = f"docker run -d --name app3 --network blue {SLEEP}"
# An image of the host's own getent and C library, which asks as the programs of Debian do.
IMPORT = """
set -e
folder=$(mktemp -d)
mkdir -p "$folder/bin"
getent=$(command -v getent)
for file in $getent $(ldd "$getent" | grep -o '/[^ ]*'); do
  mkdir -p "$folder${file%/*}"; cp -L "$file" "$folder$file"
done
cp -L "$(command -v busybox)" "$folder/bin/busybox"
for name in sh sleep; do ln -s busybox "$folder/bin/$name"; done
tar -C "$folder" -c . | docker import - getent:latest
rm -r "$folder"
"""
# The server of the host itself, which notes each question. Its names are for the hosts' domain.
OWN_DNS = """
cat >/etc/systemd/system/hosts-dns.service <<'END'
[Service]
ExecStart=/usr/sbin/dnsmasq -k --conf-file=/dev/null --pid-file= --listen-address=127.0.0.2 \
  --bind-interfaces --no-resolv --log-queries --log-facility=- \
  --host-record=mail.corp.example,192.0.2.77 --local=/corp.example/
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload; systemctl -q enable --now hosts-dns
"""
RESOLVERS = {
    "file": r"printf 'nameserver 127.0.0.2\nsearch corp.example\n' >/etc/resolv.conf",
    "resolved": r"""
mkdir -p /etc/systemd/resolved.conf.d
printf '[Resolve]\nDNS=127.0.0.2\nDomains=corp.example\n' >/etc/systemd/resolved.conf.d/hosts.conf
systemctl restart systemd-resolved
""",
}
CLEAN = """
docker rm -f $(docker ps -aq); docker image rm -f getent
systemctl disable --now hosts-dns; rm -f /etc/systemd/system/hosts-dns.service
systemctl daemon-reload; rm -rf /etc/systemd/resolved.conf.d
if [ -h /etc/resolv.conf ]; then systemctl restart systemd-resolved; else : >/etc/resolv.conf; fi
"""
NAMED_S = 30
"""The time after which a name that moved must be right."""


@pytest.fixture(params=RESOLVERS)
def hosts(request: pytest.FixtureRequest, booted: Boot) -> Iterator[Hosts]:
    """Three hosts of three suites with a resolver of their own, the image, and guests."""
    choice = {"resolver": "resolved"}
    is_file = request.param == "file"
    hosts = booted("mixed", None if is_file else dict.fromkeys(HOSTS, choice))
    hosts.everywhere(IMPORT)
    hosts.everywhere(OWN_DNS + RESOLVERS[request.param])
    for host, command in MAKE.items():
        hosts.ssh(host, command)
    (hosts.lab.folder / FILE).write_text(INVENTORY.format(data=hosts.networks[1]))
    yield hosts
    power.start(hosts.lab, say=print)
    hosts.everywhere("docker rm -f app3", check=False)
    hosts.provision("destroy", FILE, "--yes", status=None)
    hosts.everywhere(CLEAN, check=False)


def places(hosts: Hosts) -> dict[str, tuple[str, str]]:
    """Host and address of each container and guest, as Docker has them."""
    form = "{{.Name}} {{.NetworkSettings.Networks.blue.IPAddress}}"
    output = hosts.everywhere(f"docker inspect --format '{form}' $(docker ps -q)")
    found: dict[str, tuple[str, str]] = {}
    for host, text in output.items():
        for line in text.splitlines():
            name, *address = line.removeprefix("/").replace("app", "g").split()
            found[name] = (host, " ".join(address))
    return found


def asked(hosts: Hosts, container: str, words: tuple[str, ...], on: str) -> list[list[str]]:
    """The words of what `getent hosts` prints in a container for each of some names."""
    script = 'for word; do /usr/bin/getent hosts "$word" || echo; done'
    command = f"docker exec {container} sh -c '{script}' - {' '.join(words)}"
    return [line.split() for line in hosts.ssh(on, command, check=False).splitlines()]


def assert_all_are_named(hosts: Hosts, event: str, *, within_s: float = NAMED_S) -> None:
    """Each asker finds all others by each form of their names, and by their addresses."""
    begin, looks = time.monotonic(), 1
    while wrong := sorted(_wrong(hosts)):
        assert time.monotonic() - begin < within_s, (event, wrong[:5])
        looks += 1
    seconds = time.monotonic() - begin
    print(f"{event}: names are right at look {looks}, which ended after {seconds:.1f} s")


def _wrong(hosts: Hosts) -> Iterator[str]:
    known = places(hosts)
    if missing := {*HOMES, *GUESTS} - known.keys():
        yield f"not running: {missing}"
        return
    for asker, host in ASKERS.items():
        others = [name for name in known if name != asker]
        forms = [f"{name}{end}" for name in others for end in ("", ".blue", ".blue.lab.internal")]
        answers = asked(hosts, asker, tuple(forms), host)
        for form, answer in zip(forms, answers, strict=False):
            if answer[:1] != [known[form.partition(".")[0]][1]]:
                yield f"{asker}: {form}: {answer}"
        # Docker answers for addresses of its own host, by its own name of the container.
        remote = [name for name in others if known[name][0] != host]
        answers = asked(hosts, asker, tuple(known[name][1] for name in remote), host)
        for name, answer in zip(remote, answers, strict=False):
            if answer[1:2] != [f"{name}.blue.lab.internal"]:
                yield f"{asker}: PTR of {name}: {answer}"


def assert_verified(hosts: Hosts, inventory: str = FILE, *, within_s: float = 60) -> None:
    """The check `name` is green for each container and each other member of the network."""
    # A guest asks its own servers, so it has no check of its own.
    checks = hosts.verified(inventory, within_s=within_s, skips=["wire"])["checks"]
    pairs = {(check["from"], check["to"]) for check in checks if check["check"] == "name"}
    assert pairs == {(a, b) for a in HOMES for b in (*HOMES, *GUESTS) if a != b}, pairs


def test_each_name_is_right_after_each_event(hosts: Hosts) -> None:
    """Restarts, a reboot, guests made anew, a move to another host, and a file that is deleted."""
    before = hosts.capture()
    hosts.provision("apply", FILE)
    hosts.ssh("h3", JOIN)
    assert_all_are_named(hosts, "apply")
    assert_verified(hosts)
    assert_the_rest_is_asked_as_the_host_does(hosts)

    hosts.everywhere("docker restart -t 0 $(docker ps -q)")
    assert_all_are_named(hosts, "restart of the containers")
    hosts.everywhere("systemctl restart docker")
    assert_all_are_named(hosts, "restart of dockerd")
    assert_verified(hosts)
    power.reboot(hosts.lab, HOSTS, say=print)
    assert_all_are_named(hosts, "reboot", within_s=120)
    assert_verified(hosts, within_s=120)
    assert hosts.json("plan", FILE)["changes"] == []
    assert_the_rest_is_asked_as_the_host_does(hosts)

    earlier = places(hosts)
    hosts.ssh("h1", f"docker rm -f app1; {MAKE['h1']}")
    hosts.ssh("h2", f"docker rm -f app2; {MAKE['h2']}")
    first = f"docker rm -f app3; docker run -d --name first --network blue {SLEEP}"
    hosts.ssh("h3", f"{first}; {JOIN}; docker rm -f first")
    assert_all_are_named(hosts, "guests made anew")
    assert places(hosts)["g3"] != earlier["g3"]
    assert_verified(hosts)

    text = (hosts.lab.folder / FILE).read_text()
    (hosts.lab.folder / "moved.yml").write_text(
        text.replace("mover: {host: h1", "mover: {host: h3")
    )
    hosts.provision("apply", "moved.yml")
    assert_all_are_named(hosts, "a container moved")
    assert places(hosts)["mover"][0] == "h3"
    assert_verified(hosts, "moved.yml")
    assert_a_deleted_file_is_drift(hosts, "moved.yml")
    assert_nothing_of_ours_was_asked_elsewhere(hosts)
    hosts.ssh("h3", "docker rm -f app3")
    hosts.provision("destroy", "moved.yml", "--yes")
    assert_same(before, hosts.capture())


def assert_the_rest_is_asked_as_the_host_does(hosts: Hosts) -> None:
    """A name of the host's own domain, also without it, and one that nobody has."""
    for container, host in ASKERS.items():
        names = ("mail.corp.example", "mail", "missing", "missing.blue.lab.internal")
        deadline = time.monotonic() + 30
        expected = ["192.0.2.77", "192.0.2.77", "", ""]
        while (
            found := [line[0] if line else "" for line in asked(hosts, container, names, host)]
        ) != expected:
            assert time.monotonic() < deadline, (container, found)
            time.sleep(0.5)


def assert_a_deleted_file_is_drift(hosts: Hosts, inventory: str) -> None:
    """A file of a guest's name that somebody deletes or edits: verify names it, apply heals it."""
    live = "/etc/provision/events/names/blue.live"
    for damage in (f"rm -r {live}", f"sed -i s/172.20.48/172.20.99/ {live}/g2"):
        hosts.damage("h2", damage)
        plan = hosts.json("plan", inventory, status=None)["changes"]
        assert [(each["host"], each["kind"], each["name"]) for each in plan] == [
            ("h2", "guest", "g2")
        ], plan
        drift = hosts.json("verify", inventory, "--no-explain", status=7)["checks"]
        assert [c["detail"] for c in drift if c["check"] == "drift" and not c["ok"]], drift
        hosts.provision("apply", inventory)
        assert_all_are_named(hosts, damage)
        assert_verified(hosts, inventory)


def assert_nothing_of_ours_was_asked_elsewhere(hosts: Hosts) -> None:
    """The hosts' own servers had no question about names and addresses of the network."""
    ours = ("lab.internal", ".blue", "48.20.172.in-addr.arpa", "49.20.172.in-addr.arpa")
    log = hosts.everywhere("journalctl -u hosts-dns --no-pager | grep -o 'query.*'")
    for host, text in log.items():
        names = {line.split()[1] for line in text.splitlines()}
        assert "mail.corp.example" in names, host
        # Below the search domain the C library asks for what does not exist.
        assert not [name for name in names if name.endswith(ours) or "." not in name], host
