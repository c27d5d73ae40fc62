"""Programs that ask Docker's API over its Unix socket. Pure text; their heads list the answers."""

from __future__ import annotations

from provision.resources.render import program_text

RUNNING = ("running", "paused", "restarting")
"""States of a container in which its processes live, as `docker ps` without --all shows them."""


def snapshot_program() -> str:
    """Perl that prints Docker's state for the kinds."""
    return program_text("look/docker_api.pl", "look/docker_snapshot.pl")


def namespaces_program() -> str:
    """Perl that prints the namespaces in which all containers live."""
    return program_text("look/docker_api.pl", "look/docker_namespaces.pl")
