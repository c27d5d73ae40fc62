"""The guard's fingerprint before and after a change is the same, whatever the login is like."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from provision.engine import guard
from provision.engine.guard import TransactionStep
from provision.engine.records import readable_records
from tests.netns.guarded import CHANGE, TXN, UNDO, Guarded
from tests.netns.test_kinds import Namespace, namespace

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

NOISES = {
    "a warning of iptables-save": ("iptables-legacy -S >/dev/null", ""),
    "a broken config.json of Docker": ("echo garbage >/root/.docker/config.json", ""),
    "another daemon": ("", "export DOCKER_HOST=tcp://127.0.0.1:2375"),
    "another context": ("", "export DOCKER_CONTEXT=far"),
    "a configuration of Docker elsewhere": (
        "mkdir /run/far; echo garbage >/run/far/config.json",
        "export DOCKER_CONFIG=/run/far",
    ),
}
"""Shell text that is run on the host before the change, and variables of the login."""


@pytest.fixture
def guarded(namespace: Namespace) -> Guarded:
    return Guarded(namespace)


@pytest.mark.parametrize("noise", NOISES)
def test_a_change_is_made_and_rolled_back_in_spite_of_noise(guarded: Guarded, noise: str) -> None:
    """Neither a warning nor a variable of the login is a difference."""
    text, variables = NOISES[noise]
    guarded.namespace.sh(text)
    guarded.arm(variables)
    output = guarded.act(variables)
    assert output.status == 0, output
    assert guarded.namespace.sh("cat /run/changed") == "changed\n"
    record = guarded.revert(variables)
    assert (record.state, record.result) == ("reverted", "reverted"), record
    guarded.namespace.sh("test ! -e /run/changed")


def test_noise_that_begins_after_the_arming_is_a_remark(guarded: Guarded) -> None:
    """Nothing of the host's state has changed."""
    guarded.arm()
    guarded.namespace.sh("iptables-legacy -S >/dev/null")
    assert guarded.act().status == 0
    assert guarded.revert().result == "reverted"


def test_a_remark_of_the_fingerprint_is_kept(guarded: Guarded) -> None:
    """The record of the change has it in its log."""
    guarded.namespace.sh("iptables-legacy -S >/dev/null")
    guarded.arm()
    (record,) = readable_records(guarded.run(guard.status()).stdout)
    assert "iptables-legacy tables present" in record.log


def test_a_host_that_was_changed_after_the_arming_refuses(guarded: Guarded) -> None:
    """A warning beside it is reported with the difference, which names what changed."""
    guarded.arm()
    guarded.namespace.sh("iptables-legacy -S >/dev/null; iptables -N PROV-demo-blue-0")
    output = guarded.act()
    assert output.status == guard.REFUSED
    assert "PROV-demo-blue-0" in output.stdout
    guarded.namespace.sh("iptables -X PROV-demo-blue-0")
    assert guarded.revert().result == "reverted"


RULE = "-m comment --comment provision:demo/blue"
CHAIN = f"""
iptables -t nat -A PROV-demo-blue-0 -s 172.20.0.0/24 {RULE} -j ACCEPT
iptables -t nat -A POSTROUTING {RULE} -j PROV-demo-blue-0
"""
"""The rules of a chain, and the jump to it."""


@pytest.mark.parametrize("moment", ["before the change", "during the change"])
def test_what_the_follower_gives_back_after_a_flush_is_no_difference(
    guarded: Guarded, moment: str
) -> None:
    """A flush had emptied the chain before the change was armed."""
    guarded.namespace.sh("iptables -t nat -N PROV-demo-blue-0")
    guarded.arm()
    if moment == "before the change":
        guarded.namespace.sh(CHAIN)
    assert guarded.act().status == 0
    if moment == "during the change":
        guarded.namespace.sh(CHAIN)
    assert guarded.revert().result == "reverted"


FLUSHED = {
    "a chain": f"iptables -t nat -N PROV-demo-blue-0\n{CHAIN}",
    "a table": "nft add table inet PROV-demo-blue-0; "
    "nft add chain inet PROV-demo-blue-0 forward '{ type filter hook forward priority 0; }'; "
    "nft add rule inet PROV-demo-blue-0 forward ip saddr 172.20.0.0/24 accept",
    "ip_forward": "sysctl -q net.ipv4.ip_forward=1",
    "a route": "ip route add 172.20.2.0/24 via 10.9.9.2 proto 240",
    "a device": "ip link add vx-blue type vxlan id 7 dstport 4789; ip link set vx-blue alias ours; "
    "bridge fdb append 00:00:00:00:00:00 dev vx-blue dst 10.9.9.2",
}
"""Shell text that makes what a flush, or a person, had taken away."""
NIC = "ip link add nic0 type veth; ip link set nic0 up; ip address add 10.9.9.1/24 dev nic0\n"
GIVEN_BACK = """mkdir -p /etc/provision/demo/routes
echo 'PROV-demo-blue-0 net.ipv4.ip_forward vx-blue' >/etc/provision/demo/volatile.sh
echo '172.20.2.0/24 via 10.9.9.2 dev nic0' >/etc/provision/demo/routes/blue
sysctl -q net.ipv4.ip_forward=0
"""


@pytest.mark.parametrize("moment", ["before the change", "during the change"])
@pytest.mark.parametrize("flushed", FLUSHED)
def test_what_was_gone_before_the_change_may_be_given_back(
    guarded: Guarded, flushed: str, moment: str
) -> None:
    """The followers give back whole what their file has; a rule that was there is compared."""
    guarded.namespace.sh(NIC + GIVEN_BACK)
    guarded.arm()
    if moment == "before the change":
        guarded.namespace.sh(FLUSHED[flushed])
    assert guarded.act().status == 0
    if moment == "during the change":
        guarded.namespace.sh(FLUSHED[flushed])
    record = guarded.revert()
    assert record.result == "reverted", record.log
    guarded.arm()
    assert guarded.act().status == 0
    guarded.namespace.sh(f"{FLUSHED[flushed]}\niptables -N PROV-demo-red-0")
    record = guarded.revert()
    assert record.result == "incomplete"
    assert "PROV-demo-red-0" in record.log


@pytest.mark.parametrize("flushed", FLUSHED)
def test_what_no_follower_gives_back_is_a_difference(guarded: Guarded, flushed: str) -> None:
    """No file of this host has it: the change has left it, or a person made it."""
    guarded.namespace.sh(f"{NIC}sysctl -q net.ipv4.ip_forward=0")
    guarded.arm()
    assert guarded.act().status == 0
    guarded.namespace.sh(FLUSHED[flushed])
    assert guarded.revert().result == "incomplete"


def test_a_host_that_refused_is_as_before(guarded: Guarded) -> None:
    """The change had not begun there, so nothing of it is left, whatever else has changed."""
    guarded.arm()
    guarded.namespace.sh("iptables -N PROV-demo-blue-0")
    assert guarded.act().status == guard.REFUSED
    assert guarded.revert().result == "reverted"
    guarded.namespace.sh("iptables -n -L PROV-demo-blue-0")


def test_a_bridge_that_was_deleted_before_the_change_may_come_back(guarded: Guarded) -> None:
    """The rollback makes it from its record; another address is a difference."""
    folder = "/var/lib/provision/was/demo/uplink"
    guarded.namespace.sh(f"mkdir -p {folder}; echo {{}} >{folder}/bri0")
    guarded.arm()
    assert guarded.act().status == 0
    guarded.namespace.sh("ip link add bri0 type bridge; ip address add 10.9.0.1/24 dev bri0")
    assert guarded.revert().result == "reverted"
    guarded.arm()
    assert guarded.act().status == 0
    guarded.namespace.sh("ip address add 10.9.1.1/24 dev bri0")
    assert guarded.revert().result == "incomplete"


def test_an_address_of_a_bridge_of_open_vswitch_is_compared(guarded: Guarded) -> None:
    """The kernel has no folder `bridge` for it: only its address tells that it is there."""
    folder = "/var/lib/provision/was/demo/uplink"
    link = "ip link add ovsbr0 type veth; ip address add 10.9.0.1/24 dev ovsbr0"
    guarded.namespace.sh(f"mkdir -p {folder}; echo {{}} >{folder}/ovsbr0; {link}")
    guarded.namespace.sh("iptables -t nat -N PROV-demo-blue-0")
    guarded.arm()
    assert guarded.act().status == 0
    guarded.namespace.sh(CHAIN)
    assert guarded.revert().result == "reverted"
    guarded.arm()
    assert guarded.act().status == 0
    guarded.namespace.sh("ip address add 10.9.1.1/24 dev ovsbr0")
    assert guarded.revert().result == "incomplete"


def test_rules_of_another_chain_or_a_new_chain_are_a_difference(guarded: Guarded) -> None:
    """Only a chain that was there, empty and unused, may get its rules back."""
    guarded.namespace.sh(f"iptables -t nat -N PROV-demo-blue-0\n{CHAIN}")
    guarded.arm()
    assert guarded.act().status == 0
    guarded.namespace.sh(f"iptables -t nat -A PROV-demo-blue-0 {RULE} -j MASQUERADE")
    guarded.namespace.sh("iptables -t nat -N PROV-demo-red-0")
    record = guarded.revert()
    assert record.result == "incomplete"
    assert "MASQUERADE" in record.log and "PROV-demo-red-0" in record.log


def test_a_folder_that_is_locked_refuses_a_change_and_names_the_holder(guarded: Guarded) -> None:
    """Only root can open it; a rollback that hangs may hold it."""
    hold = (
        "mkdir -p -m 700 /var/lib/provision; flock -o /var/lib/provision sleep 60 >/dev/null 2>&1"
    )
    pid = guarded.namespace.sh(f"{hold} & echo $!").strip()
    guarded.namespace.sh(f"until [ /proc/{pid}/fd/3 -ef /var/lib/provision ]; do sleep 0.05; done")
    script = guard.arm(TXN, TransactionStep(UNDO, ":\n"), seconds=60, nonce="n")
    path, text = guard.program()
    assert "flock -w 20 8" in text
    guarded.namespace.sh(f"cat >{path} <<'@'\n{text.replace('-w 20 8', '-w 1 8')}@\n")
    output = guarded.run(script)
    guarded.namespace.sh(f"kill {pid}; :")
    assert output.status == guard.REFUSED
    holder = f"/var/lib/provision is locked; it is held by process {pid} (flock) of root"
    assert holder in output.stderr, output
    assert not readable_records(guarded.run(guard.status()).stdout)


def test_half_a_script_is_not_run(guarded: Guarded) -> None:
    """The connection was lost while the script of the change arrived."""
    guarded.arm()
    text = guard.act(TXN, 1, CHANGE + "echo more\n", nonce="n")
    output = guarded.run(text.replace("echo more\n\n# end n\n", "echo mo\n"))
    assert output.status == guard.REFUSED
    assert "the script of the change did not arrive whole" in output.stdout
    assert guarded.namespace.sh("ls /run/changed 2>/dev/null; :") == ""
    assert guarded.revert().result == "reverted"


def reboot(guarded: Guarded) -> None:
    """What a reboot before the confirmation leaves when sshd answers: Docker is not up yet."""
    guarded.arm()
    assert guarded.act().status == 0
    guarded.namespace.sh("rm /run/changed; touch /run/docker-down; echo Job=7 >/run/job")
    assert guarded.boot("early").status == 0


def test_a_boot_removes_what_was_being_armed(guarded: Guarded) -> None:
    """Power that was lost before the change was armed leaves no file of the guard."""
    guarded.arm()
    units = "/etc/systemd/system/provision-boot-*.service"
    assert guarded.run(f"cd /var/lib/provision && mv txn new.0a && ls {units}").status == 0
    assert guarded.boot("early").status == guarded.boot("late").status == 0
    output = guarded.run(f"ls -d /var/lib/provision {units} 2>/dev/null")
    assert output.stdout == "" and output.status != 0


def test_a_rollback_that_is_asked_for_during_a_boot_is_left_to_the_boot(guarded: Guarded) -> None:
    """Before Docker is up it could only fail; the boot unit does it, and its word counts."""
    reboot(guarded)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(guarded.revert)
        time.sleep(10)  # longer than the pauses between the tries of a rollback
        (record,) = readable_records(guarded.run(guard.status()).stdout)
        assert record.state == "reverting" and not asked.done()
        guarded.namespace.sh("rm /run/docker-down; echo ActiveState=activating >/run/job")
        assert guarded.boot("late").status == 0
        guarded.namespace.sh("rm /run/job")
        record = asked.result(timeout=60)
    assert (record.state, record.result, record.reason) == ("reverted", "reverted", "boot")


def test_without_a_boot_unit_that_is_due_the_rollback_is_not_left_to_it(guarded: Guarded) -> None:
    """Such as in the rescue target; Docker runs there because an administrator has started it."""
    reboot(guarded)
    guarded.namespace.sh("rm /run/docker-down; echo ActiveState=inactive >/run/job")
    record = guarded.revert()
    assert (record.state, record.result, record.reason) == ("reverted", "reverted", "boot")


def test_the_follower_gets_its_lock_while_a_boot_is_undone(guarded: Guarded) -> None:
    """It brings back what the kernel has forgotten and the change has not touched."""
    claim = "mkdir -p /etc/provision/demo; echo here >/etc/provision/demo/volatile.sh"
    guarded.namespace.sh(f"{claim}; iptables -N PROV-demo-blue-0")
    reboot(guarded)
    guarded.namespace.sh("rm /run/docker-down /run/job; iptables -X PROV-demo-blue-0")
    follower = (
        "until [ -e /run/provision-demo.lock ]; do sleep 0.05; done; sleep 0.5; "
        "flock /run/provision-demo.lock iptables -N PROV-demo-blue-0"
    )
    with ThreadPoolExecutor() as pool:
        late = pool.submit(guarded.boot, "late")
        guarded.run(follower)
        assert late.result(timeout=90).status == 0
    (record,) = readable_records(guarded.run(guard.status()).stdout)
    assert (record.state, record.result, record.reason) == ("reverted", "reverted", "boot")
