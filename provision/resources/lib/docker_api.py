"""Programs that ask Docker's API over its Unix socket, and Docker's own words. Pure.

The heads of the programs list the answers.
"""

from __future__ import annotations

from provision.resources.base import Ref
from provision.resources.render import program_text

RUNNING = ("running", "paused", "restarting")
"""States of a container in which its processes live, as `docker ps` without --all shows them."""


def docker_name(ref: Ref) -> str:
    """Docker's name of the network that a resource provides."""
    return "bridge" if ref.kind == "docker0" else ref.name


def snapshot_program() -> str:
    """Perl that prints Docker's state for the kinds."""
    return program_text("look/docker_api.pl", "look/docker_snapshot.pl")


def registry_program() -> str:
    """Perl that asks registries for images."""
    return program_text("look/docker_api.pl", "look/registry.pl")


def namespaces_program() -> str:
    """Perl that prints the namespaces in which all containers live."""
    return program_text("look/docker_api.pl", "look/docker_namespaces.pl")
