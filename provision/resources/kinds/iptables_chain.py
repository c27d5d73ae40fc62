"""Kind `iptables_chain`: an iptables chain and the rule that jumps to it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from provision.model.names import chain_name
from provision.resources.base import Found, Origin, Resource
from provision.resources.lib.hook_order import VERDICTS, rule_before
from provision.resources.on_hosts import UNMARKED, Mark
from provision.resources.steps import Run, Steps, Unless, fails, sh

PREFIX = "PROV-"
"""The name of every chain of provision begins so (`model.names.chain_name`)."""
ACCESS = "access"
SUFFIXES = ("etcd", "in", ACCESS)
"""Behind a network's name in the names of its further chains (method flannel, key `access`)."""
HOOKS = {"filter": "DOCKER-USER", "nat": "POSTROUTING", "raw": "PREROUTING"}
"""The chain that jumps to ours, by table.

Docker sends all forwarded packets through DOCKER-USER before its own rules:
https://docs.docker.com/engine/network/packet-filtering-firewalls/
"""

# The chain has no mark of its own, but each of its rules and each jump to it has one. An empty
# chain to which nothing jumps is what an interrupted run or `iptables -F` leaves of ours.
_IS_FOREIGN = r"""
rules=$(iptables -w 5 -t "$1" -S | grep -e "^-A $2 " -e " -[jg] $2\$") || exit
! printf '%s\n' "$rules" | grep -q -e "--comment \"\{0,1\}provision:$3[\"/ ]"
"""


# iptables-restore changes a table in one kernel transaction. At a rollback, the chain may have
# become shorter.
_MOVE = """
restore() { printf %s "$1" | iptables-restore -w 5 --noflush; }
if [ $# = 1 ]; then restore "$1"; else restore "$1" 2>/dev/null || restore "$2"; fi
"""
_NO_HOOK = 'echo "chain $1 is gone, the firewall was flushed: systemctl restart docker" >&2; exit 1'


@dataclass(frozen=True, slots=True)
class IptablesChain(Resource):
    """The chain `chain` in `table`, to which the chain `hook` jumps.

    `rules` are argument vectors in the order of `iptables-save`, without `-A <chain>`. `hooked` is
    False if the rule that jumps to the chain is missing. `behind` is a rule of others that stands
    before this jump and takes packets of the chain; `position` is the number of the jump.
    """

    kind: ClassVar[str] = "iptables_chain"
    volatile: ClassVar[bool] = True
    # One iptables-save for all tables: a call for each chain would take a process and the lock.
    probe: ClassVar[str] = r"""
need_rules
printf '%s\n' "$iptables_rules"
"""
    fingerprint: ClassVar[str] = rf"""
need iptables
for table in filter nat raw; do
  # iptables-legacy would load the module of a table that nobody has used yet.
  [ $table != raw ] || iptables-save | grep -q '^[*]raw' || continue
  iptables-save -t $table | sed -n "/{PREFIX}/s/^/$table /p" | sed 's/ \[[0-9:]*\]$//'
done
"""

    table: str
    chain: str
    hook: str
    rules: tuple[tuple[str, ...], ...]
    mark: Mark
    hooked: bool = True
    behind: str = ""
    position: int = field(default=0, compare=False, repr=False)

    @property
    def name(self) -> str:
        return f"{self.table}/{self.chain}"

    def is_foreign(self) -> Run:
        return sh(_IS_FOREIGN, self.table, self.chain, self.mark.inventory)

    def create(self) -> Steps:
        exists = Run(self._iptables("-n", "-L", self.chain))
        rules = tuple(self._present("-A", self.chain, rule) for rule in self.rules)
        added = Unless(exists, (Run(self._iptables("-N", self.chain)),))
        return (*self._hook_exists, added, *rules, self._hook_rule)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, IptablesChain)
        ahead = (self._move(1),) if current.behind and not self.behind else ()
        return (*self._hook_exists, self._refill, self._hook_rule, *ahead)

    @property
    def _hook_exists(self) -> Steps:
        """Fail without DOCKER-USER: a chain to which nothing jumps would look like protection."""
        if not in_docker_user(self):
            return ()  # the kernel's own chain
        exists = Run(self._iptables("-n", "-L", self.hook))
        return (Unless(exists, (sh(_NO_HOOK, self.hook),)),)

    def delete(self) -> Steps:
        exists = Run(self._iptables("-n", "-L", self.chain))
        remove = (Run(self._iptables("-F", self.chain)), Run(self._iptables("-X", self.chain)))
        return (self._unhook, Unless(fails(exists), remove))

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        if isinstance(before, IptablesChain) and not before.hooked:
            return (before._refill, self._unhook)
        if isinstance(before, IptablesChain) and before.behind:
            return (before._refill, before._hook_rule, before._move(before.position))
        return Resource.undo(self, before, ours=ours)

    @property
    def _unhook(self) -> Unless:
        unhook = Run(self._iptables("-D", self.hook, *self._jump))
        has_hook = Run(self._iptables("-C", self.hook, *self._jump))
        # -D of a missing rule fails like any other -D: only the test can tell them apart.
        return Unless(fails(has_hook), (unhook,))

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        before = current if isinstance(current, IptablesChain) else self
        flushed = not before.rules and not before.hooked
        return f"chain {self.chain} is ours, damaged: it is empty and unused" if flushed else None

    @property
    def _jump(self) -> tuple[str, ...]:
        return (*comment(self.mark), "-j", self.chain)

    @property
    def _hook_rule(self) -> Unless:
        # At the top: before Docker's RETURN in DOCKER-USER, and before any MASQUERADE of others.
        return self._present("-I", self.hook, self._jump)

    def _move(self, position: int) -> Run:
        """Move the jump within its chain; to the end if that has become too short."""
        jump = " ".join(map(_quoted, self._jump))
        verbs = (f"-I {self.hook} {position}", f"-A {self.hook}")[: 1 if position == 1 else 2]
        lines = (f"-D {self.hook} {jump}\n{verb} {jump}" for verb in verbs)
        return sh(_MOVE, *(f"*{self.table}\n{line}\nCOMMIT\n" for line in lines))

    def _present(self, verb: str, chain: str, rule: tuple[str, ...]) -> Unless:
        number = ("1",) if verb == "-I" else ()
        test = Run(self._iptables("-C", chain, *rule))
        return Unless(test, (Run(self._iptables(verb, chain, *number, *rule)),))

    @property
    def _refill(self) -> Run:
        # iptables-restore replaces the chain in one kernel transaction: no packet meets half of
        # the rules. The line `:CHAIN - [0:0]` flushes the chain; --noflush keeps all others.
        lines = [" ".join(map(_quoted, ("-A", self.chain, *rule))) for rule in self.rules]
        text = "\n".join([f"*{self.table}", f":{self.chain} - [0:0]", *lines, "COMMIT", ""])
        return Run(("iptables-restore", "-w", "5", "--noflush"), stdin=text)

    def _iptables(self, *arguments: str) -> tuple[str, ...]:
        # -w 5: wait up to 5 s for the lock that Docker may hold.
        return ("iptables", "-w", "5", "-t", self.table, *arguments)

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        tables = {table: _Table.parse(lines) for table, lines in _tables(text).items()}
        for table in HOOKS:
            for name in tables[table].chains if table in tables else ():
                chain = _chain(table, name, tables, origin)
                yield Found(chain, ours=chain.mark.inventory == origin.inventory)


def in_docker_user(chain: IptablesChain) -> bool:
    """True if Docker must have made the chain that jumps to this one."""
    return chain.hook == HOOKS["filter"]


def is_protection(resource: Resource) -> bool:
    """True if the resource keeps others from daemons of the host."""
    return isinstance(resource, IptablesChain) and resource.hook == "INPUT"


def rules_to_follow(resource: Resource) -> frozenset[str]:
    """What the follower looks for of a chain, as follow.sh writes it.

    The chain in its table; the jump of INPUT or PREROUTING to it; and the jump of FORWARD to
    DOCKER-USER.
    """
    if not isinstance(resource, IptablesChain):
        return frozenset()
    rules = {f"{resource.chain} {resource.table}"}
    if is_protection(resource) or resource.hook == HOOKS["raw"]:
        rules.add(f"{resource.chain} {resource.hook}")
    return frozenset(rules | ({"DOCKER-USER FORWARD"} if in_docker_user(resource) else set()))


def _quoted(argument: str) -> str:
    """An argument of a rule for iptables-restore, which knows double quotes and backslashes."""
    if argument and not any(char.isspace() or char in "\"'\\" for char in argument):
        return argument
    return '"' + argument.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _tables(saved: str) -> dict[str, list[str]]:
    """The lines of chains and rules in the output of iptables-save, by table."""
    tables: dict[str, list[str]] = {}
    for line in saved.splitlines():
        if line.startswith("*"):
            lines = tables.setdefault(line[1:], [])
        elif line[:1] in (":", "-"):
            lines.append(line)
    return tables


@dataclass(frozen=True, slots=True)
class _Table:
    """The chains of a table without those of the kernel, and the rules of all."""

    chains: list[str]
    rules: list[list[str]]

    @classmethod
    def parse(cls, lines: list[str]) -> _Table:
        # The kernel's own chains have a policy instead of `-`: `:INPUT ACCEPT [0:0]`.
        chains = (line[1:].split() for line in lines if line[0] == ":")
        rules = (arguments(line) for line in lines if line[0] == "-")
        names = [name for name, policy, *_ in chains if policy == "-"]
        return cls(names, [rule for rule in rules if rule])

    def of(self, chain: str) -> list[list[str]]:
        """The rules of a chain, without its name."""
        return [rule[2:] for rule in self.rules if rule[:2] == ["-A", chain]]


def _chain(table: str, name: str, tables: dict[str, _Table], origin: Origin) -> IptablesChain:
    rules = tables[table].rules
    own_rules = tuple(map(tuple, tables[table].of(name)))
    jumps = [rule for rule in rules if rule[0] == "-A" and rule[-2:] == ["-j", name]]
    marks = {mark for rule in (*own_rules, *jumps) if (mark := mark_of(rule)) != UNMARKED}
    # DOCKER-USER contains a rule with a mark, but belongs to Docker: the name decides as well.
    mark = min(marks, default=UNMARKED) if name.startswith(PREFIX) else UNMARKED
    if not own_rules and not jumps:
        mark = _lost_mark(name, origin)
    hook = next((rule[1] for rule in jumps if mark_of(rule) != UNMARKED), HOOKS[table])
    chain = IptablesChain(origin.host, table, name, hook, own_rules, mark, hooked=bool(jumps))
    if not jumps or mark.inventory != origin.inventory or hook != HOOKS[table]:
        return chain
    before = tables[table].of(hook)
    position = next((k for k, rule in enumerate(before) if rule[-2:] == ["-j", name]), None)
    if position is None:  # somebody else's chain jumps to it
        return replace(chain, hooked=False)
    foreign = [rule for rule in before[:position] if mark_of(rule) == UNMARKED]
    passing = tables["filter"].of(name) if "filter" in tables else ()
    # In a chain of the kernel itself, RETURN applies its policy.
    verdicts = VERDICTS if table == "filter" else {**VERDICTS, "RETURN": VERDICTS["ACCEPT"]}
    behind = rule_before(foreign, own_rules, passing, verdicts)
    return replace(chain, behind=behind, position=position + 1)


def _lost_mark(name: str, origin: Origin) -> Mark:
    """The mark of an empty chain: its name has a hash that only this inventory's networks give.

    `iptables -F` empties the chain, and deletes the jump to it from Docker's chain.
    """
    for network, _ in origin.networks:
        names = (network, *(f"{network}.{suffix}" for suffix in SUFFIXES))
        if name in (chain_name(origin.inventory, each) for each in names):
            return Mark(origin.inventory, network)
    return UNMARKED


# Docker's own rules, which are most of the lines. The reading of quotes costs much more.
_UNQUOTED = re.compile(r"[\w ./:!,+*@%=\[\]-]*", re.ASCII)


def arguments(line: str) -> list[str]:
    """The arguments of a rule as iptables prints it; none of a line that has no end.

    A comment of others may hold a newline, which iptables-save prints as it is.
    """
    if _UNQUOTED.fullmatch(line):
        return line.split()
    try:
        return shlex.split(line)
    except ValueError:
        return []


def comment(mark: Mark) -> tuple[str, ...]:
    """The match of a rule that carries a mark, in the order of iptables-save."""
    return ("-m", "comment", "--comment", mark.tag)


def mark_of(rule: Sequence[str]) -> Mark:
    """The mark in the comment of a rule, split into its arguments."""
    option = "--comment"
    return Mark.of_tag(rule[rule.index(option) + 1]) if option in rule else UNMARKED
