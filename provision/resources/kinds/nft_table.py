"""Kind `nft_table`: a table of nftables of our own, where Docker makes its rules by nftables.

Such a Docker has no chain DOCKER-USER. It drops packets to its bridges in a base chain of its own,
and no `accept` of another table changes that. It lets packets with one firewall mark pass
(`bridge-accept-fwmark`), so the table sets that mark before Docker's chain sees the packet:
https://docs.docker.com/engine/network/firewall-nftables/
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.on_hosts import UNMARKED, Mark
from provision.resources.steps import Run, Steps, Unless, fails, sh

FAMILY = "inet"
PREFIX = "PROV-"
CHAIN = "forward"
HOOK = "type filter hook forward priority -1; policy accept;"
"""As `nft -y` prints it. Docker's base chain has priority 0 (`filter`), after this one."""

_IS_FOREIGN = """
rules=$(nft list table "$1" "$2" 2>/dev/null) || exit 1
! printf '%s\\n' "$rules" | grep -q -e "comment \\"provision:$3[\\"/]"
"""
# Sorted, because the kernel lists tables in the order of their creation, and a table that is
# replaced moves to the end. A kernel without nf_tables has no tables: /proc/kallsyms names the
# functions of the kernel and of its loaded modules, and nft has just asked for the module.
_LIST = rf"""
need nft
tables=$(nft list tables {FAMILY}) || {{
  grep -q ' nft_do_chain' /proc/kallsyms
  [ $? = 1 ] || exit 1
  exit 0
}}
printf '%s\n' "$tables" | sort | while read -r _ family table; do
  case $table in {PREFIX}*) nft -s -y list table "$family" "$table" || exit 1 ;; esac
done
"""


@dataclass(frozen=True, slots=True)
class OwnNftTable(Resource):
    """The table `table` of the family inet, with one base chain, which has `rules` in this order.

    `rules` are lines as `nft -s -y list table` prints them. `hook` is the line of the base chain.
    """

    kind: ClassVar[str] = "nft_table"
    volatile: ClassVar[bool] = True
    probe: ClassVar[str] = _LIST
    fingerprint: ClassVar[str] = _LIST

    table: str
    rules: tuple[str, ...]
    mark: Mark
    hook: str = HOOK
    listing: str = field(default="", compare=False, repr=False)
    """The whole table as nft prints it, if it was found on a host.

    A table that somebody has changed may have more than a chain with rules (sets, flags).
    """

    @property
    def name(self) -> str:
        return self.table

    def is_foreign(self) -> Run:
        return sh(_IS_FOREIGN, FAMILY, self.table, self.mark.inventory)

    def create(self) -> Steps:
        # One transaction of the kernel: no packet meets half of the rules. `add` makes `delete`
        # succeed where there is no table yet.
        lines = (
            f"add table {FAMILY} {self.table}",
            f"delete table {FAMILY} {self.table}",
            self.listing or self._wanted_listing,
            "",
        )
        return (Run(("nft", "-f", "-"), stdin="\n".join(lines)),)

    @property
    def _wanted_listing(self) -> str:
        lines = (
            f"table {FAMILY} {self.table} {{",
            f'comment "{self.mark.tag}"',
            f"chain {CHAIN} {{",
            *(self.hook, *self.rules, "}", "}"),
        )
        return "\n".join(lines)

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def restore(self) -> Steps:
        """Leave a table that is there, in which a person may have deleted a rule."""
        exists = Run(("nft", "list", "chain", FAMILY, self.table, CHAIN))
        return (Unless(exists, self.create()),)

    def delete(self) -> Steps:
        exists = Run(("nft", "list", "table", FAMILY, self.table))
        remove = Run(("nft", "delete", "table", FAMILY, self.table))
        return (Unless(fails(exists), (remove,)),)

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        for listing in re.split(rf"^(?=table {FAMILY} )", text, flags=re.MULTILINE)[1:]:
            first, *lines = (line.strip() for line in listing.splitlines())
            table = cls(origin.host, first.split()[2], *_content(lines), listing.strip())
            yield Found(table, ours=table.mark.inventory == origin.inventory)


def _content(lines: Iterable[str]) -> tuple[tuple[str, ...], Mark, str]:
    """The rules, the mark and the hook of a listed table."""
    rules: list[str] = []
    mark, hook = UNMARKED, ""
    for line in lines:
        # The comment of the table comes first; a chain may have one as well.
        if mark == UNMARKED and (match := re.fullmatch(r'comment "(.*)"', line)):
            mark = Mark.of_tag(match[1])
        elif line.startswith("type "):
            hook = line
        elif line not in ("", "}", f"chain {CHAIN} {{"):
            rules.append(line)
    return tuple(rules), mark, hook


def tables_to_follow(resource: Resource) -> frozenset[str]:
    """The line of `nft list tables` that the follower looks for."""
    if not isinstance(resource, OwnNftTable):
        return frozenset()
    return frozenset({f"table {FAMILY} {resource.table}"})
