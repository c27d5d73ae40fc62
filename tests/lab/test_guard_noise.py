"""Hosts that warn, whose logins are strange, or that reboot in the middle: the words are true."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from provision.lab import power
from provision.model.errors import ExitStatus
from tests.lab.faults import Faults, injecting
from tests.lab.hosts import HOSTS, Hosts

pytestmark = pytest.mark.lab

NOISES = {
    "h1": ("iptables-legacy -S >/dev/null", ":"),
    "h2": (
        "mkdir -p /root/.docker; echo garbage >/root/.docker/config.json",
        "rm -r /root/.docker",
    ),
    "h3": (
        "cp /etc/environment /run/environment 2>/dev/null; "
        "echo DOCKER_HOST=tcp://127.0.0.1:2375 >>/etc/environment",
        "rm /etc/environment; cp /run/environment /etc/environment 2>/dev/null; :",
    ),
}
"""By host: shell text that makes noise, and shell text that ends it."""
_SET_SHELL = "cp /etc/passwd /run/passwd; sed -i '/^root:/s|:[^:]*$|:{}|' /etc/passwd"
_RESET_SHELL = "cp /run/passwd /etc/passwd"
SHELLS = {
    "nologin": (_SET_SHELL.format("/usr/sbin/nologin"), _RESET_SHELL),
    "exit in .bashrc": (
        f"{_SET_SHELL.format('/bin/bash')}; cp -a /root/.bashrc /run/bashrc 2>/dev/null; "
        "echo 'exit 0' >/root/.bashrc",
        f"{_RESET_SHELL}; rm /root/.bashrc; cp -a /run/bashrc /root/.bashrc 2>/dev/null; :",
    ),
}
"""Shell text after which a login of root runs no command, and shell text that heals it."""
LOCK = "/run/provision-demo.lock"
_USER = "setpriv --reuid=65534 --regid=65534 --clear-groups"
_OLD_LOCK = f": >{LOCK}; chmod 644 {LOCK}; ({_USER} flock {LOCK} sleep 300 >/dev/null 2>&1 &)"
_ROUTE_RETURNS = (
    'for k in $(seq 100); do [ -z "$(ip route show proto 240)" ] || { echo back; break; }; '
    "sleep 0.2; done"
)
_LINK = f"echo kept >/run/other; chmod 640 /run/other; ln -sf /run/other {LOCK}"
REBOOTED = ("h2", "h3")


@pytest.fixture
def noisy(mixed: Hosts) -> Iterator[Faults]:
    """Faults for changes of routes.yml; the noise ends before the hosts are compared."""
    with injecting(mixed) as faults:
        yield faults


def test_noise_of_a_host_is_not_a_change(noisy: Faults, inventory: str) -> None:
    """Apply, a change of the inventory, and destroy, with a warning or a variable on each host."""
    try:
        for host, (begin, _) in NOISES.items():
            noisy.inside(host, begin)
        noisy.hosts.provision("apply", inventory)
        assert noisy.hosts.json("plan", inventory)["changes"] == []
        noisy.hosts.provision("destroy", inventory, "--yes", "--manual")
        noisy.hosts.provision("recover", inventory)
        assert set(noisy.states(inventory).values()) == {"reverted (operator)"}
        noisy.hosts.provision("destroy", inventory, "--yes")
    finally:
        for host, (_, end) in NOISES.items():
            noisy.inside(host, end)
    noisy.assert_nothing_left()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_host_whose_login_runs_nothing_is_unknown(
    noisy: Faults, inventory: str, shell: str
) -> None:
    """It holds a pending change; another connection finds it again."""
    begin, end = SHELLS[shell]
    noisy.hosts.provision("apply", inventory, "--manual", "--confirm-window", "600")
    try:
        noisy.inside("h2", begin)
        status = noisy.hosts.json("status", inventory, status=6)
        assert status["hosts"]["h2"] == "unknown (no valid answer)", status
        assert [error["host"] for error in status["errors"]] == ["h2"]
        assert status["hosts"]["h1"].startswith("pending")
        noisy.hosts.provision("confirm", inventory, status=4)
    finally:
        noisy.inside("h2", end)
    noisy.hosts.provision("recover", inventory)
    noisy.assert_restored()


def test_a_host_without_sudo_is_unknown(noisy: Faults) -> None:
    """And one where sudo refuses the user."""
    other = noisy.hosts.inventory(
        "routes.yml", ("name: demo", "name: demo\nssh: {user: op, sudo: true}"), to="sudo.yml"
    )
    for host in HOSTS:
        noisy.inside(host, "useradd -m -s /bin/sh op; cp -r /root/.ssh /home/op/")
        noisy.inside(host, "chown -R op /home/op/.ssh")
        noisy.inside(host, "echo 'op ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/op")
    sudo = noisy.inside("h3", "command -v sudo").strip()
    try:
        noisy.inside("h2", "rm /etc/sudoers.d/op")
        noisy.inside("h3", f"mv {sudo} {sudo}.gone")
        status = noisy.hosts.json("status", other, status=6)
        states = status["hosts"]
        assert states["h1"] == "unchanged" or states["h1"].startswith("reverted"), status
        assert states["h2"] == states["h3"] == "unknown (no valid answer)", status
    finally:
        noisy.inside("h3", f"mv {sudo}.gone {sudo}")
        for host in HOSTS:
            noisy.inside(host, "rm -f /etc/sudoers.d/op; userdel -rf op")
    noisy.assert_nothing_left()


def test_a_user_holds_no_lock_of_a_host(noisy: Faults, inventory: str) -> None:
    """Neither the one that an older version left readable for all; and no link is followed."""
    noisy.inside("h1", _OLD_LOCK)
    noisy.inside("h2", _LINK)
    assert noisy.inside("h1", f"flock -n {LOCK} true || echo held") == "held\n"
    try:
        noisy.hosts.provision("apply", inventory)
        for host in HOSTS:
            assert (
                noisy.inside(host, f"stat -c '%a %U %F' {LOCK}") == "600 root regular empty file\n"
            )
            denied = noisy.inside(host, f"{_USER} flock -n {LOCK} true 2>&1")
            assert "Permission denied" in denied
            events = noisy.inside(host, "stat -c '%a %F' /run/provision-demo/events")
            assert events == "600 fifo\n"
            # The follower gets the lock, too.
            noisy.inside(
                host, f"ip route flush proto 240; docker restart -t 0 {host.replace('h', 'c')}"
            )
            assert noisy.inside(host, _ROUTE_RETURNS) == "back\n"
        assert noisy.inside("h2", "cat /run/other; stat -c %a /run/other") == "kept\n640\n"
        noisy.hosts.provision("destroy", inventory, "--yes")
    finally:
        noisy.inside("h1", "pkill -u 65534 -x sleep; :")
        noisy.inside("h2", "rm -f /run/other")
    noisy.assert_restored()


@pytest.mark.full
def test_hosts_that_reboot_in_the_middle_of_the_act_end_as_reverted(
    noisy: Faults, inventory: str
) -> None:
    """The controller asks for the rollback while they boot; both tell the same, and it is true."""
    noisy.hosts.provision("apply", inventory)
    applied = noisy.hosts.capture()
    changed = noisy.hosts.inventory("routes.yml", ("172.20.", "172.28."), to="changed.yml")
    for host in REBOOTED:
        noisy.at_step(host, 6, "sleep 600")
    run = noisy.start("apply", changed, "--json")
    deadline = time.monotonic() + 120
    while not all(noisy.inside(host, "ls /run/fault/done") for host in REBOOTED):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.5)
    # Before the boot: dockerd finds iptables once, when it starts. With the wrapper's path it could
    # delete no rule later (`fork/exec /usr/local/sbin/iptables: no such file or directory`).
    noisy.heal()
    for host in REBOOTED:
        power.cut_power(noisy.hosts.lab, host)
    power.start(noisy.hosts.lab, say=print)
    output = run.communicate(timeout=300)[0]
    states = noisy.states(inventory)
    assert states == {"h1": "reverted (failed)"} | dict.fromkeys(REBOOTED, "reverted (boot)"), (
        output
    )
    assert run.returncode == ExitStatus.REVERTED, output
    Faults(noisy.hosts, applied).assert_restored()
    noisy.hosts.provision("destroy", inventory, "--yes")
    noisy.assert_restored()
