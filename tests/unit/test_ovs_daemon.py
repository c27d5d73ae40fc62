"""The state of Open vSwitch's service before the first change, as its kind reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.resources.base import Origin
from provision.resources.kinds.file import File
from provision.resources.kinds.ovs_daemon import SERVICE, OvsDaemon
from tests.house.programs import resources

CASES = Path(__file__).parents[1] / "cases"
STOPPED = f"Id={SERVICE}\nMainPID=0\nActiveState=inactive\nUnitFileState=disabled\n\ndatabase"


@pytest.mark.parametrize(
    ("lines", "original"),
    [
        ("", "disabled inactive"),
        ("\napplied", "enabled active"),
        ("\napplied\nwas demo masked inactive new", "masked inactive new"),
        ("\napplied\nwas second masked inactive", "masked inactive"),
    ],
)
def test_a_service_that_a_person_stopped_is_no_first_state(lines: str, original: str) -> None:
    """An applied inventory without a record found it running; records count over that."""
    (found,) = OvsDaemon.parse(STOPPED + lines, Origin("h1", "demo"))
    assert isinstance(found.resource, OvsDaemon)
    assert (found.resource.active, found.resource.original) == (False, original)


@pytest.mark.parametrize(
    ("case", "applied"),
    [
        ("ovs-gre/first-apply", True),
        ("ovs-vxlan/first-apply", True),
        ("pipework/first-apply", False),
    ],
)
def test_the_script_of_an_applied_inventory_tells_that_it_needs_the_service(
    case: str, applied: bool
) -> None:
    """The probe searches volatile.sh for the path of Open vSwitch's process ids."""
    texts = [
        resource.text
        for resource in resources(CASES / case)
        if isinstance(resource, File) and resource.path.endswith("/volatile.sh")
    ]
    assert texts and all(("/run/openvswitch/" in text) is applied for text in texts)
    assert "grep -qs -F /run/openvswitch/" in OvsDaemon.probe
