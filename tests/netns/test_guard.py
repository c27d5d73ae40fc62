"""The guard's fingerprint before and after a change is the same, whatever the login is like."""

from __future__ import annotations

import pytest

from provision.engine import guard
from provision.engine.records import readable_records
from tests.netns.guarded import Guarded
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
