"""Questions for names in DNS, from each container about the others of its network. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from provision import methods
from provision.checks.probe import Endpoint
from provision.facts.host import HostFacts
from provision.methods import NamedMember
from provision.model.inventory import Container, Inventory
from provision.resources.render import program_text
from provision.resources.script import quoted

QUESTION_S = 3
"""Seconds that one question may take; it is asked three times."""


def script(questions: Mapping[Endpoint, tuple[str, ...]]) -> str:
    """A script that asks in the namespace of each source, one process a source."""
    if not questions:
        return ""
    lines = [f"names={shlex.quote(program_text('checks/names.pl'))}"]
    for source, arguments in questions.items():
        enter = quoted(("nsenter", "-t", str(source.pid), "-n", "perl", "-e"))
        values = quoted((source.container, str(source.pid), str(QUESTION_S), *arguments))
        lines.append(f'{enter} "$names" {values} &')
    return "\n".join(lines) + "\n"


def questions(
    inventory: Inventory,
    facts: Mapping[str, HostFacts],
    endpoints: Mapping[str, Endpoint],
    chosen: Sequence[tuple[Container, Container]],
) -> dict[Endpoint, tuple[str, ...]]:
    """The arguments of `checks/names.pl` by source: four for each question.

    A target that does not run is asked for as well: its record does not depend on that.
    """
    members = {
        member.container: (network.name, member)
        for network in inventory.networks.values()
        for member in methods.members(inventory, network, facts)
    }
    known: dict[str, set[str]] = {}
    shared: dict[tuple[str, str], list[str]] = {}
    for network_name, member in members.values():
        known.setdefault(network_name, set()).update(member.names, member.shared)
        for name in member.shared:
            shared.setdefault((network_name, name), []).append(str(member.address))
    arguments: dict[Endpoint, list[str]] = {}
    for source, target in chosen:
        if source.name in endpoints:
            asked = arguments.setdefault(endpoints[source.name], [])
            network_name, member = members[target.name]
            network = methods.dns_network(inventory, source)
            plain = network is not None and network.name == network_name
            # The server of another network knows only the names with a dot that it has not itself.
            hidden = known.get(network.name, set()) if network and not plain else set()
            asked += _about(target, member, hidden, plain=plain)
            for name in member.shared:
                if plain or ("." in name and name not in hidden):
                    asked += (target.name, "A", name, ",".join(shared[network_name, name]))
    return {source: tuple(asked) for source, asked in arguments.items()}


def _about(
    target: Container, member: NamedMember, hidden: set[str], *, plain: bool
) -> Iterator[str]:
    for name in member.names:
        if plain or ("." in name and name not in hidden):
            yield from (target.name, "A", name, str(member.address))
    # Docker itself answers for the containers of its host: by another of these names, and for a
    # guest by the one that it has in Docker.
    if target.guest is None:
        reverse = member.address.reverse_pointer
        yield from (target.name, "PTR", reverse, ",".join(member.names))
