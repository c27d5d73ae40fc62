"""A guest that the file moves to another host: which hosts have to learn of it together."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from provision.engine import desired
from provision.engine.joint_changes import conflicts
from provision.engine.plan import plan
from provision.inventory.load import load
from provision.model.inventory import Inventory
from provision.resources.base import Resource, State
from provision.resources.kinds.dns_records import DnsRecords
from provision.resources.kinds.guest import GuestConnection
from provision.resources.render import program_text
from provision.resources.steps import Run
from tests.cases.test_cases import facts

HOSTS = ("h1", "h2", "h3")
DOCKER = dict.fromkeys(HOSTS, "26.1.5")
FILE = """
name: demo
hosts: {{h1: {{address: 10.78.0.11}}, h2: {{address: 10.78.0.12}}, h3: {{address: 10.78.0.13}}}}
networks: {{blue: {{method: routes, cidr: 172.20.0.0/16, names: true}}}}
containers: {{web: {{host: h3, network: blue}}}}
guests: {{{guests}}}
"""


def with_guest(folder: Path, host: str) -> Inventory:
    """An inventory with the guest `shop` on a host; none if that is empty."""
    path = folder / f"demo{host}.yml"
    guest = f"shop: {{host: {host}, container: app, network: blue}}" if host else ""
    path.write_text(FILE.format(guests=guest))
    return load(path)


def records(inventory: Inventory) -> State:
    """The records of all hosts, without the server's own unit."""
    state = desired.wanted(inventory, facts(inventory, {"docker": DOCKER}))
    chosen: dict[object, Resource] = {
        ref: each for ref, each in state.items() if isinstance(each, DnsRecords)
    }
    return chosen  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("before", "after", "hosts", "missing"),
    [
        ("h1", "h2", ("h1",), {"h1"}),
        ("h1", "h2", ("h1", "h3"), {"h1", "h3"}),
        ("h1", "h2", ("h3",), {"h3"}),
        ("h1", "h2", ("h1", "h2"), set()),
        ("h1", "h2", ("h2",), set()),
        ("", "h2", ("h1",), set()),
        ("h1", "", ("h1",), set()),
    ],
)
def test_the_new_host_of_a_guest_learns_it_with_those_that_ask(
    tmp_path: Path, before: str, after: str, hosts: tuple[str, ...], missing: set[str]
) -> None:
    """Otherwise two servers could ask each other; the new host itself asks nobody."""
    inventory = with_guest(tmp_path, after)
    current, wanted = records(with_guest(tmp_path, before)), records(inventory)
    changes = plan(current, {**current, **{r: e for r, e in wanted.items() if r.host in hosts}})
    assert changes.changes
    refused = tuple(conflicts(inventory, changes.changes, [hosts]))
    assert {each.ref.host for each in refused} == missing
    for each in refused:
        assert each.message.startswith("h2 would not learn that it has shop.blue")
        assert "without --limit and --strategy" in each.hint


def test_a_guest_without_an_address_has_no_name(tmp_path: Path) -> None:
    """Docker 29 prints an empty address as `invalid IP`, which no hosts file may have."""
    program = program_text("host/guest_names.sh")
    file = tmp_path / "blue.live" / "shop"
    for address, exists in (("invalid IP", False), ("", False), ("172.20.0.9", True)):
        shell = (
            f"guest_find() {{ id=1; }}; docker() {{ echo '{address}'; }}\n"
            f"systemctl() {{ return 1; }}\n{program}"
        )
        arguments = ["blue", "container", "app", str(file), "dns", "# mark", "shop.blue"]
        subprocess.run(["sh", "-c", shell, "sh", *arguments], check=True)
        assert file.exists() == exists


def test_a_server_that_has_not_read_a_name_reads_it_with_the_next_run(tmp_path: Path) -> None:
    """A run may be cut off after it wrote the file, whose text is right from then on."""
    program = program_text("host/guest_names.sh")
    arguments = ["blue", "container", "app", str(tmp_path / "shop"), "dns", "# mark", "shop.blue"]
    reloads = []
    for status in (1, 0, 0):
        shell = (
            "guest_find() { id=1; }; docker() { echo 172.20.0.9; }\n"
            f'systemctl() {{ [ "$1" = -q ] || {{ echo reload; return {status}; }}; }}\n{program}'
        )
        command = ["sh", "-c", shell, "sh", *arguments]
        reloads.append(subprocess.run(command, check=False, stdout=subprocess.PIPE).stdout)
    assert reloads == [b"reload\n", b"reload\n", b""]
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_a_guest_that_leaves_takes_the_copy_of_a_run_that_was_cut_off(tmp_path: Path) -> None:
    """The copy stays if the host ends between writing and renaming it."""
    inventory = with_guest(tmp_path, "h1")
    wanted = desired.wanted(inventory, facts(inventory, {"docker": DOCKER}))
    guest = next(each for each in wanted.values() if isinstance(each, GuestConnection))
    live = guest._live
    file = tmp_path / live.lstrip("/")
    shell = (
        "guest_find() { id=1; }; docker() { echo 172.20.0.9; }; mv() { exit 9; }\n"
        f"{program_text('host/guest_names.sh')}"
    )
    arguments = ["blue", "container", "app", str(file), "dns", "# mark", "shop.blue"]
    subprocess.run(["sh", "-c", shell, "sh", *arguments], check=False)
    left = {f"/{path.relative_to(tmp_path)}" for path in file.parent.iterdir()}
    removed = {
        word for step in guest.delete() if isinstance(step, Run) and step.argv[0] == "rm"
        for word in step.argv
    }  # fmt: skip
    assert len(left) == 2 and left <= removed
