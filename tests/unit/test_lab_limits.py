"""Kernel limits: first values are kept over crashes and over several labs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from provision.lab import limits
from provision.lab.layout import Lab

FIRST = dict.fromkeys(limits.needed(1), "100") | {
    "fs/inotify/max_user_instances": "128",
    "kernel/keys/maxkeys": "200",
    "kernel/keys/maxbytes": "20000",
    "net/ipv4/neigh/default/gc_thresh2": "512",
    "net/ipv4/neigh/default/gc_thresh3": "1024",
    "kernel/random/boot_id": "one",
}


class Machine:
    """A machine's limits, as files of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, []  # type: Path, list[str]
        for name, value in FIRST.items():
            self.path(name).parent.mkdir(parents=True, exist_ok=True)
            self.path(name).write_text(value)

    def path(self, name: str) -> Path:
        return self.folder / "sys" / name

    def values(self) -> dict[str, str]:
        return {name: self.path(name).read_text() for name in FIRST}

    def lab(self, name: str) -> Lab:
        place = Lab(self.folder / name)
        place.state.mkdir(parents=True)
        return place

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(limits, "RECORD", tmp_path / "run")
    monkeypatch.setattr(limits, "_SYS", tmp_path / "sys")
    monkeypatch.setattr(limits, "_BOOT_ID", tmp_path / "sys/kernel/random/boot_id")
    return Machine(tmp_path)


def test_raised_said_and_put_back(machine: Machine) -> None:
    lab = machine.lab("a")
    limits.raise_for(lab, 3, machine.say)
    assert machine.path("kernel/keys/maxkeys").read_text() == "20000"
    assert "Raising fs.inotify.max_user_instances from 128 to 8192" in machine.said[0]
    limits.restore(lab, machine.say)
    assert machine.values() == FIRST and not limits.RECORD.exists()


def test_high_enough_is_not_touched(machine: Machine) -> None:
    machine.path("kernel/keys/maxkeys").write_text("999999")
    limits.raise_for(machine.lab("a"), 3, machine.say)
    assert len(machine.said) == len(FIRST) - 2  # neither this one nor the boot id
    assert machine.path("kernel/keys/maxkeys").read_text() == "999999"


def test_the_last_of_two_labs_puts_back(machine: Machine) -> None:
    one, two = machine.lab("a"), machine.lab("b")
    limits.raise_for(one, 3, machine.say)
    limits.raise_for(two, 200, machine.say)
    limits.raise_for(one, 3, machine.say)
    assert machine.path("kernel/keys/maxkeys").read_text() == "40000"
    limits.restore(one, machine.say)
    assert machine.path("kernel/keys/maxkeys").read_text() == "40000"
    limits.restore(two, machine.say)
    assert machine.values() == FIRST


def test_a_crash_between_record_and_act_loses_nothing(machine: Machine) -> None:
    lab = machine.lab("a")

    def crash(_text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        limits.raise_for(lab, 3, crash)
    limits.raise_for(lab, 3, machine.say)
    limits.restore(lab, machine.say)
    assert machine.values() == FIRST


def test_a_lab_deleted_by_hand_does_not_hold_the_limits(machine: Machine) -> None:
    gone, here = machine.lab("a"), machine.lab("b")
    limits.raise_for(gone, 3, machine.say)
    limits.raise_for(here, 3, machine.say)
    shutil.rmtree(gone.folder)
    limits.restore(here, machine.say)
    assert machine.values() == FIRST


def test_what_others_changed_since_is_left_and_said(machine: Machine) -> None:
    lab = machine.lab("a")
    limits.raise_for(lab, 3, machine.say)
    machine.path("kernel/keys/maxkeys").write_text("77777")
    limits.restore(lab, machine.say)
    assert machine.path("kernel/keys/maxkeys").read_text() == "77777"
    assert machine.said[-1].startswith("Leaving kernel.keys.maxkeys at 77777: something else")


def test_a_record_of_an_earlier_boot_counts_no_more(machine: Machine) -> None:
    lab = machine.lab("a")
    limits.raise_for(lab, 3, machine.say)
    for name, value in (
        FIRST | {"kernel/random/boot_id": "two", "kernel/keys/maxkeys": "300"}
    ).items():
        machine.path(name).write_text(value)
    limits.restore(lab, machine.say)
    assert machine.path("kernel/keys/maxkeys").read_text() == "300"
