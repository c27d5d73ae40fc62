"""The ways in which the hosts of a lab run, by the value of `lab up --kernel`."""

from __future__ import annotations

from collections.abc import Mapping

from provision.lab import settings
from provision.lab.layout import Lab
from provision.lab.machine import Machine
from provision.lab.nspawn import NspawnMachine
from provision.lab.uml import UmlMachine

MACHINES: Mapping[str, Machine] = {"shared": NspawnMachine(), "uml": UmlMachine()}


def machine_of(lab: Lab) -> Machine:
    """How the hosts of this lab run; without settings, as by default."""
    current = settings.load(lab) or settings.LabSettings()
    return MACHINES[current.kernel]
