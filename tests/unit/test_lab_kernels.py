"""Lab hosts with a kernel of their own: settings, user IDs, processes, refusals. No root needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.lab import base, limits, supervisor, uml, uml_kernel
from provision.lab.base import recipe
from provision.lab.kernels import MACHINES, machine_of
from provision.lab.layout import SUITES, Lab, host_names
from provision.lab.settings import LabSettings, UpOptions, merged, save, up_words
from provision.model.errors import LabError, UsageError


def test_a_lab_keeps_its_kernel() -> None:
    """Another kernel is refused with the command that would make such a lab."""
    current = merged(None, UpOptions(kernel="uml"))
    assert current.kernel == "uml" and merged(current, UpOptions(count=4)).kernel == "uml"
    assert up_words(current) == ("provision", "lab", "up", "3", "--kernel", "uml")
    with pytest.raises(LabError, match="has hosts with the kernel shared, not uml") as caught:
        merged(LabSettings(), UpOptions(kernel="uml"))
    assert caught.value.hint == "provision lab down, then provision lab up 3 --kernel uml"


def test_the_machine_follows_the_settings(tmp_path: Path) -> None:
    """A lab without settings, or with those of an earlier version, shares the kernel."""
    lab = Lab(tmp_path)
    assert machine_of(lab) is MACHINES["shared"]
    lab.state.mkdir(parents=True)
    (lab.state / "lab.json").write_text('{"count": 2}')
    assert machine_of(lab) is MACHINES["shared"]
    save(lab, LabSettings(kernel="uml"))
    assert machine_of(lab) is MACHINES["uml"]


def test_each_host_has_a_user_of_its_own() -> None:
    """The IDs are in the range that systemd's table of UIDs and GIDs leaves free."""
    lab = Lab(Path("/tmp/one"))
    users = {uml.user(lab.host(name)) for name in host_names(200)}
    assert len(users) == 200
    assert all(1_879_048_192 <= user <= 2_147_352_575 for user in users)


def test_the_processes_of_a_host_are_told_by_their_arguments() -> None:
    """The main process of User-Mode Linux has a parent with other arguments."""
    kernel = ["/reboot", "mem=512M", "umid=abcdef-h2", ""]
    machine = MACHINES["uml"]
    assert machine.host_name(kernel, "abcdef") == "h2" and not machine.host_name(kernel, "012345")
    assert machine.is_main(kernel, ["sh", "guest.sh", ""]) and not machine.is_main(kernel, kernel)
    # A person who looks for them is not one of them.
    assert not machine.host_name(["pgrep", "-f", "umid=abcdef-h2"], "abcdef")
    nspawn, shared = ["systemd-nspawn", "--machine=abcdef-h2"], MACHINES["shared"]
    assert shared.host_name(nspawn, "abcdef") == "h2" and shared.is_main(nspawn, [])
    assert not machine.host_name(nspawn, "abcdef") and not shared.host_name(kernel, "abcdef")


def test_a_process_that_ends_meanwhile_is_no_main_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parent cannot be read any more. A signal to it would miss the host."""
    lab = Lab(Path("/tmp/one"))
    kernel = ["/reboot", f"umid={lab.tag}-h2", ""]
    parents = {7: ["sh", "guest.sh", ""], 8: kernel, 9: []}
    monkeypatch.setattr(supervisor, "_processes", lambda: [(pid, kernel) for pid in parents])
    monkeypatch.setattr(supervisor, "_parent", parents.__getitem__)
    running = supervisor.running(lab)
    assert running.machines == {"h2": 7} and running.pids == [7, 8, 9]


@pytest.mark.parametrize(
    "variants", [{"iptables": "nf_tables"}, {"firewall": "firewalld"}, {"firewall": "nftables"}]
)
def test_variants_that_need_nf_tables_are_refused(variants: dict[str, str]) -> None:
    """Nothing is installed before."""
    (group, value) = next(iter(variants.items()))
    for settings in (LabSettings(variants=variants), LabSettings(host_variants={"h2": variants})):
        with pytest.raises(UsageError, match=f"cannot run {group} {value}, which needs nf_tables"):
            MACHINES["uml"].require(settings)


def test_hosts_have_the_kernel_of_their_suite(tmp_path: Path) -> None:
    """A disk of an earlier version has the kernel's version in its name."""
    disks = {suite: uml_kernel.folder(recipe(suite, bare=False)).name for suite in SUITES}
    assert len(set(disks.values())) == len(SUITES)
    host = Lab(tmp_path).host("h1")
    host.path.mkdir(parents=True)
    machine = MACHINES["uml"]
    assert machine.kernel(host) == ""
    host.base.symlink_to(tmp_path / "uml-6.1.176-trixie-6315e03fc145")
    assert machine.kernel(host) == "uml 6.1.176"
    new = tmp_path / disks["trixie"]
    new.mkdir()
    (new / "release").write_text("6.12.113")
    host.base.unlink()
    host.base.symlink_to(new)
    assert machine.kernel(host) == "uml 6.12.113"


def test_a_tree_that_a_kernel_runs_with_is_not_purged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its programs start the kernel of a host at each boot."""
    monkeypatch.setattr(base, "CACHE", tmp_path / "cache" / "lab")
    monkeypatch.setattr(limits, "labs", lambda: (str(tmp_path),))
    used, unused, disk = (base.CACHE / name for name in ("trixie-1", "trixie-2", "uml-trixie-1"))
    for folder in (used, unused, disk):
        folder.mkdir(parents=True)
    (disk / "tree").symlink_to(used / "tree")
    host = Lab(tmp_path).host("h1")
    host.path.mkdir(parents=True)
    host.base.symlink_to(disk)
    base.purge()
    assert (used.is_dir(), unused.is_dir(), disk.is_dir()) == (True, False, True)


def test_a_deleted_shared_disk_is_named(tmp_path: Path) -> None:
    """`lab down --purge` of another folder deletes it while this lab is off."""
    host = Lab(tmp_path).host("h1")
    host.path.mkdir(parents=True)
    host.base.symlink_to(tmp_path / "gone")
    with pytest.raises(LabError, match="the disk that h1 shares with other hosts was deleted"):
        MACHINES["uml"].prepare(host, recipe("trixie", bare=False), LabSettings())
