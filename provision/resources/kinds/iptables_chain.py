"""Kind `chain`: an iptables chain of our own and the one rule that leads into it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.on_hosts import UNMARKED, Mark
from provision.resources.steps import Run, Steps, Unless, sh

PREFIX = "PROV-"
"""Every chain of ours is called so (`address.chain_name`)."""


@dataclass(frozen=True, slots=True)
class IptablesChain(Resource):
    """`rules` as `iptables-save` prints them, without `-A <chain>`; `hook` is the chain above.

    `hooked` is False when the rule that leads into it is missing; `mark` is `inventory/network`.
    """

    kind: ClassVar[str] = "iptables_chain"
    volatile: ClassVar[bool] = True
    probe: ClassVar[str] = r"""
need iptables
iptables-save
"""
    fingerprint: ClassVar[str] = rf"""
need iptables
for table in filter nat; do
  iptables-save -t $table | sed -n "/{PREFIX}/s/^/$table /p" | sed 's/ \[[0-9:]*\]$//'
done
"""

    table: str
    chain: str
    hook: str
    rules: tuple[tuple[str, ...], ...]
    mark: Mark
    hooked: bool = True

    @property
    def name(self) -> str:
        return f"{self.table}/{self.chain}"

    def create(self) -> Steps:
        exists = Run(self._iptables("-n", "-L", self.chain))
        rules = tuple(self._present("-A", self.chain, rule) for rule in self.rules)
        return (Unless(exists, (Run(self._iptables("-N", self.chain)),)), *rules, self._hooked)

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return (self._refilled, self._hooked)

    def delete(self) -> Steps:
        hook = Run(self._iptables("-D", self.hook, *self._leads_here))
        unhooked = Run(self._iptables("-C", self.hook, *self._leads_here))
        # The rule may be gone; only then is failing to delete it no failure.
        gone = Unless(sh('! "$@" 2>/dev/null', *unhooked.argv), (hook,))
        flush, drop = self._iptables("-F", self.chain), self._iptables("-X", self.chain)
        exists = self._iptables("-n", "-L", self.chain)
        missing = sh('! "$@" >/dev/null 2>&1', *exists)
        return (gone, Unless(missing, (Run(flush), Run(drop))))

    @property
    def _leads_here(self) -> tuple[str, ...]:
        return (*comment(self.mark), "-j", self.chain)

    @property
    def _hooked(self) -> Unless:
        # First, before Docker's own RETURN and before any masquerade of others.
        return self._present("-I", self.hook, self._leads_here)

    def _present(self, verb: str, chain: str, rule: tuple[str, ...]) -> Unless:
        place = ("1",) if verb == "-I" else ()
        test = Run(self._iptables("-C", chain, *rule))
        return Unless(test, (Run(self._iptables(verb, chain, *place, *rule)),))

    @property
    def _refilled(self) -> Run:
        # One transaction per table: never a moment with half of the rules.
        lines = [" ".join(map(_saved, ("-A", self.chain, *rule))) for rule in self.rules]
        text = "\n".join([f"*{self.table}", f":{self.chain} - [0:0]", *lines, "COMMIT", ""])
        return Run(("iptables-restore", "-w", "5", "--noflush"), stdin=text)

    def _iptables(self, *words: str) -> tuple[str, ...]:
        return ("iptables", "-w", "5", "-t", self.table, *words)

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        tables = _tables(text)
        for table in HOOKS:
            yield from _chains(table, tables.get(table, ()), scope)


def _saved(word: str) -> str:
    """A word of a rule for iptables-restore, which knows no quotes but these."""
    if word and not any(char.isspace() or char in "\"'\\" for char in word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _tables(saved: str) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for line in saved.splitlines():
        if line.startswith("*"):
            lines = tables.setdefault(line[1:], [])
        elif line[:1] in (":", "-"):
            lines.append(line)
    return tables


def _chains(table: str, lines: Iterable[str], scope: Origin) -> Iterable[Found]:
    # `:NAME - [0:0]` is a chain that somebody made; those of the kernel have a policy.
    made = [line[1:].split()[0] for line in lines if line[0] == ":" and line.split()[1] == "-"]
    rules = [shlex.split(line) for line in lines if line[0] == "-"]
    for chain in made:
        own = tuple(tuple(rule[2:]) for rule in rules if rule[:2] == ["-A", chain])
        hooks = [rule for rule in rules if rule[0] == "-A" and rule[-2:] == ["-j", chain]]
        # DOCKER-USER holds a rule with our mark too, and is not ours: the name must be as well.
        marks = {mark for rule in (*own, *hooks) if (mark := mark_of(rule)) != UNMARKED}
        mark = min(marks, default=UNMARKED) if chain.startswith(PREFIX) else UNMARKED
        hook = next((rule[1] for rule in hooks if mark_of(rule) != UNMARKED), HOOKS[table])
        ours = mark.inventory == scope.inventory
        yield Found(IptablesChain(scope.host, table, chain, hook, own, mark, bool(hooks)), ours)


HOOKS = {"filter": "DOCKER-USER", "nat": "POSTROUTING"}
"""Where our chains hang: Docker sends all forwarded traffic through DOCKER-USER first."""


def comment(mark: Mark) -> tuple[str, ...]:
    """The match by which a rule carries a mark."""
    return ("-m", "comment", "--comment", mark.tag)


def mark_of(rule: Sequence[str]) -> Mark:
    """The mark in the comment of a rule, split into its arguments."""
    option = "--comment"
    return Mark.of_tag(rule[rule.index(option) + 1]) if option in rule else UNMARKED
