"""Kernel limits: the lab restores the original values after crashes, and with several labs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from provision.lab import limits
from provision.lab.layout import Lab

ORIGINAL = dict.fromkeys(limits.needed(1), "100") | {
    "fs/inotify/max_user_instances": "128",
    "kernel/keys/maxkeys": "200",
    "kernel/keys/maxbytes": "20000",
    "net/ipv4/neigh/default/gc_thresh2": "512",
    "net/ipv4/neigh/default/gc_thresh3": "1024",
    "kernel/random/boot_id": "first",
}


class Machine:
    """The kernel limits of a machine, as files in the test's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.messages: list[str] = []
        for name, value in ORIGINAL.items():
            self.path(name).parent.mkdir(parents=True, exist_ok=True)
            self.path(name).write_text(value)

    def path(self, name: str) -> Path:
        return self.folder / "sys" / name

    def values(self) -> dict[str, str]:
        return {name: self.path(name).read_text() for name in ORIGINAL}

    def lab(self, name: str) -> Lab:
        lab = Lab(self.folder / name)
        lab.state.mkdir(parents=True)
        return lab

    def say(self, text: str) -> None:
        self.messages.append(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with the kernel's default limits."""
    monkeypatch.setattr(limits, "RECORD", tmp_path / "run")
    monkeypatch.setattr(limits, "_SYS", tmp_path / "sys")
    monkeypatch.setattr(limits, "_BOOT_ID", tmp_path / "sys/kernel/random/boot_id")
    return Machine(tmp_path)


def test_limits_are_raised_and_restored(machine: Machine) -> None:
    """A message names each limit with both values."""
    lab = machine.lab("a")
    limits.raise_for(lab, 3, machine.say)
    assert machine.path("kernel/keys/maxkeys").read_text() == "20000"
    assert "Raising fs.inotify.max_user_instances from 128 to 8192" in machine.messages[0]
    limits.restore(lab, machine.say)
    assert machine.values() == ORIGINAL and not limits.RECORD.exists()


def test_a_limit_that_is_high_enough_is_not_changed(machine: Machine) -> None:
    """There is no message about it either."""
    machine.path("kernel/keys/maxkeys").write_text("999999")
    limits.raise_for(machine.lab("a"), 3, machine.say)
    assert len(machine.messages) == len(ORIGINAL) - 2  # without this limit and the boot id
    assert machine.path("kernel/keys/maxkeys").read_text() == "999999"


def test_the_last_of_two_labs_restores_the_limits(machine: Machine) -> None:
    """Until then, the limits stay high enough for the larger lab."""
    small, large = machine.lab("a"), machine.lab("b")
    limits.raise_for(small, 3, machine.say)
    limits.raise_for(large, 200, machine.say)
    limits.raise_for(small, 3, machine.say)
    assert machine.path("kernel/keys/maxkeys").read_text() == "40000"
    limits.restore(small, machine.say)
    assert machine.path("kernel/keys/maxkeys").read_text() == "40000"
    limits.restore(large, machine.say)
    assert machine.values() == ORIGINAL


def test_a_crash_after_the_record_loses_no_original_value(machine: Machine) -> None:
    """The record is written before the limits change."""
    lab = machine.lab("a")

    def crash(_text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        limits.raise_for(lab, 3, crash)
    limits.raise_for(lab, 3, machine.say)
    limits.restore(lab, machine.say)
    assert machine.values() == ORIGINAL


def test_a_lab_that_was_deleted_by_hand_does_not_count(machine: Machine) -> None:
    """The other lab then restores the limits."""
    deleted, running = machine.lab("a"), machine.lab("b")
    limits.raise_for(deleted, 3, machine.say)
    limits.raise_for(running, 3, machine.say)
    shutil.rmtree(deleted.folder)
    limits.restore(running, machine.say)
    assert machine.values() == ORIGINAL


def test_a_limit_that_others_changed_is_not_restored(machine: Machine) -> None:
    """A message says so."""
    lab = machine.lab("a")
    limits.raise_for(lab, 3, machine.say)
    machine.path("kernel/keys/maxkeys").write_text("77777")
    limits.restore(lab, machine.say)
    assert machine.path("kernel/keys/maxkeys").read_text() == "77777"
    assert machine.messages[-1].startswith("Leaving kernel.keys.maxkeys at 77777: something else")


def test_a_record_of_an_earlier_boot_is_ignored(machine: Machine) -> None:
    """A boot resets the limits, so a later value is not the lab's."""
    lab = machine.lab("a")
    limits.raise_for(lab, 3, machine.say)
    for name, value in (
        ORIGINAL | {"kernel/random/boot_id": "second", "kernel/keys/maxkeys": "300"}
    ).items():
        machine.path(name).write_text(value)
    limits.restore(lab, machine.say)
    assert machine.path("kernel/keys/maxkeys").read_text() == "300"
