"""Shell programs for interfaces of containers, run by this machine's sh with fake commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.resources.kinds.attachment import DETACH
from provision.resources.kinds.guest import GuestConnection
from provision.resources.steps import Run, Steps
from tests.unit.test_host_programs import sh

ADDRESS, GATEWAY = "172.21.1.10", "172.21.1.1"
GUEST = GuestConnection("h1", "web", "wide", "container web", None, None, "demo")

DOCKER = f"""#!/bin/sh
case $* in
ps*) echo '0b2 web' ;;
'network ls'*) echo '0c3 wide' ;;
*HostConfig.NetworkMode*) echo '7 wide' ;;
*State.Pid*) echo "${{PID:-7}}" ;;
*NetworkSettings*) echo 'wide {ADDRESS} {GATEWAY} - {{}}' ;;
esac
"""
# Keeps the rules in the file `rules`, and the default routes in `TABLE`; notes what is changed.
GUEST_IP = f"""#!/bin/sh
cd "$FOLDER" || exit
case $* in
*'rule show') cat rules ;;
*'rule add '*) shift 3; echo "rule add $*" >>changes; priority=${{*##*priority }}
  echo "${{priority%% *}}: ${{*%% priority*}}" >>rules ;;
*'rule delete '*) shift 3; echo "rule delete $*" >>changes
  grep -v "${{*%% priority*}}\\$" rules >left; mv left rules ;;
*'address show to {ADDRESS}/32') echo '9: eth1 inet {ADDRESS}/16' ;;
*'link show dev eth1') echo '9: eth1@if8: <UP>' ;;
*'route replace default via {GATEWAY} '*) table=${{*##*table }}; echo "$*" >"table.$table"
  echo "table $table" >>changes ;;
*'route show default via {GATEWAY} table '*) cat "table.${{*##* }}" 2>/dev/null ;;
esac
:
"""
NSENTER = """#!/bin/sh
shift 3
exec "$@"
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A folder with fake commands of a host with a container."""
    for name, text in (("docker", DOCKER), ("ip", GUEST_IP), ("nsenter", NSENTER)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def run(steps: Steps, folder: Path) -> None:
    """Run the programs of steps as a host does."""
    for step in steps:
        if isinstance(step, Run):
            process = sh(step.argv[2], folder, *step.argv[4:])
            assert (process.returncode, process.stderr) == (0, ""), process


def changes(folder: Path) -> list[str]:
    """What the fake `ip` was told to change since the last call."""
    file = folder / "changes"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


@pytest.mark.parametrize("steps", [GUEST.restore(), GUEST.create()[1:]])
def test_a_guest_whose_interface_has_another_number_gets_its_routes(
    host: Path, steps: Steps
) -> None:
    """The rule of the address still names the table of an interface that is gone."""
    old = f"32001: from {ADDRESS} lookup 240005"
    (host / "rules").write_text(f"32000: from all lookup 254 suppress_prefixlength 0\n{old}\n")
    run(steps, host)
    new = f"from {ADDRESS} lookup 240009"
    delete = f"rule delete from {ADDRESS} lookup 240005 priority 32001 protocol 240"
    add = f"rule add {new} priority 32001 protocol 240"
    assert changes(host) == ["table 240009", delete, add]
    run(steps, host)
    assert changes(host) == []


# `link show type vlan` prints the links of the file `vlans`.
VLAN_IP = """#!/bin/sh
case $* in
'-o -d link show type vlan') cat "$FOLDER/vlans" ;;
'link delete dev '* | 'link set dev '*) echo "$*" >>"$FOLDER/changes" ;;
esac
"""
VLAN_LINK = (
    r"12: {}@{}: <BROADCAST,UP,LOWER_UP> mtu 1500\    link/ether 02:00:00:00:00:01 promiscuity 0 "
    r"\    vlan protocol 802.1Q id {} <REORDER_HDR> addrgenmode eui64 \    alias {}"
)
OWN = VLAN_LINK.format("eth1.20", "eth1", 20, "provision:demo")
DELETED, RAISED = ["link delete dev eth1.20"], ["link set dev eth1.20 up"]


def detach(folder: Path, links: tuple[str, ...], claims: tuple[str, ...]) -> list[str]:
    """What the detachment of a's eth1 in VLAN 20 of eth1 changes, with claims `PATH CLAIM`."""
    (folder / "ip").write_text(VLAN_IP)
    (folder / "vlans").write_text("".join(f"{line}\n" for line in links))
    for claim in claims:
        path, _, text = claim.partition(" ")
        inventory, container, interface = path.split("/")
        file = folder / inventory / "attachments" / container / interface
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    mark, claims_folder = "provision:demo/a/eth1", f"{folder}/demo/attachments"
    identity = ("a", "eth1", mark, f"{folder}/hold", claims_folder)
    claim_a = A.split(" ")[1:]
    process = sh(DETACH, folder, *identity, *claim_a)
    assert (process.returncode, process.stderr) == (0, ""), process
    return changes(folder)


A = "demo/a/eth1 macvlan pw-a-1 eth1 02:00:00:00:00:01 - 20 -"
B = "demo/b/eth1 macvlan pw-b-1 eth1 02:00:00:00:00:02 - 20 -"


@pytest.mark.parametrize(
    ("links", "claims", "expected"),
    [
        ((OWN,), (A,), DELETED),
        ((OWN,), (A, B), RAISED),
        # Somebody has deleted the claim of a: that of b is not a's own.
        ((OWN,), (B,), RAISED),
        ((OWN,), (), DELETED),
        # Other VLANs, other NICs and other kinds.
        ((OWN,), (A, B.replace(" 20 ", " 21 ")), DELETED),
        ((OWN,), (A, B.replace(" eth1 ", " eth2 ")), DELETED),
        ((OWN,), (A, B.replace("macvlan", "bridge")), DELETED),
        # The containers of several inventories are on one link, whichever has made it.
        ((OWN,), (A, B.replace("demo/", "other/")), RAISED),
        ((OWN.replace("provision:demo", "provision:other"),), (A,), DELETED),
        # The links of others, of another VLAN and of another NIC.
        ((OWN.replace("provision:demo", "my provision:demo"),), (A,), []),
        ((OWN.partition(r"\    alias")[0],), (A,), []),
        ((VLAN_LINK.format("eth1.2", "eth1", 2, "provision:demo"),), (A,), []),
        ((VLAN_LINK.format("eth2.20", "eth2", 20, "provision:demo"),), (A,), []),
    ],
)
def test_a_vlan_goes_with_the_last_interface_on_it(
    host: Path, links: tuple[str, ...], claims: tuple[str, ...], expected: list[str]
) -> None:
    """The claims of others are counted, also where the own one is lost."""
    (host / "docker").write_text("#!/bin/sh\necho 'no such container' >&2; exit 1\n")
    assert detach(host, links, claims) == expected


def test_a_vlan_of_an_inventory_with_lost_claims_stays(host: Path) -> None:
    """Its containers may be on it: nothing but the link itself tells."""
    (host / "docker").write_text("#!/bin/sh\necho 'no such container' >&2; exit 1\n")
    origins = host / "demo/attachments/var/lib/provision/origins"
    origins.mkdir(parents=True)
    (origins / "other").write_text("")
    assert detach(host, (OWN.replace("provision:demo", "provision:other"),), (A,)) == []
    (host / "other").mkdir()
    assert detach(host, (OWN.replace("provision:demo", "provision:other"),), (A,)) == DELETED
