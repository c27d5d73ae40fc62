"""Programs that ask Docker's API over its Unix socket, and Docker's own words. Pure.

The heads of the programs list the answers.
"""

from __future__ import annotations

from provision.resources.base import Ref
from provision.resources.render import program_text
from provision.resources.steps import Refuse, Run

_FOREIGN = program_text("look/docker_api.pl", "host/docker_foreign.pl")
_OF_DOCKER = ("", "bridge", "host", "none")

RUNNING = ("running", "paused", "restarting")
"""States of a container in which its processes live, as `docker ps` without --all shows them."""


def docker_name(ref: Ref) -> str:
    """Docker's name of the network that a resource provides."""
    return "bridge" if ref.kind == "docker0" else ref.name


def refuse_foreign_networks(inventory: str, *networks: str) -> tuple[Refuse, ...]:
    """Fail if one of these networks is there without the label of the inventory.

    For steps that name a network which others may have made since the snapshot. Docker's own ones,
    and the namespaces of other containers, have no label.
    """
    named = [name for name in networks if name not in _OF_DOCKER and ":" not in name]
    message = f"Docker's network {' or '.join(named)} is not of this inventory"
    return (_refuse(inventory, "networks", named, message),) if named else ()


def refuse_foreign_container(inventory: str, container: str) -> Refuse:
    """Fail if Docker finds a container by this name that is not of the inventory."""
    message = f"container {container} is not of this inventory"
    return _refuse(inventory, "containers", [container], message)


def _refuse(inventory: str, kind: str, names: list[str], message: str) -> Refuse:
    things = (f"{kind}/{name}" for name in names)
    return Refuse(Run(("perl", "-e", _FOREIGN, inventory, *things)), message)


def snapshot_program() -> str:
    """Perl that prints Docker's state for the kinds."""
    return program_text("look/docker_api.pl", "look/docker_snapshot.pl")


def registry_program() -> str:
    """Perl that asks registries for images."""
    return program_text("look/docker_api.pl", "look/registry.pl")


def namespaces_program() -> str:
    """Perl that prints the namespaces in which all containers live."""
    return program_text("look/docker_api.pl", "look/docker_namespaces.pl")
