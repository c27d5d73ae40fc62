"""Tables of pairs for a terminal of 80 columns: by container, else by host, else failures. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from provision.checks.gather import segment
from provision.checks.lan_probe import end_key
from provision.checks.run import Verification
from provision.checks.subjects import Check
from provision.model.grouping import grouped
from provision.model.text import count

COLUMNS = 80
LISTED = 20
"""Failing pairs that are listed of a network whose hosts do not fit into a table."""
OF_MODE = ("mode", "lo", "alone")
PairVerdicts = Mapping[tuple[str, str], str]
"""Verdicts by the keys of source and target."""
_SHORT = {"FAILED": "FAIL", "skipped": "skip"}
SELF = "·"


@dataclass(frozen=True, slots=True)
class MatrixEnd:
    """One end of pairs: a container, one of its interfaces (`web/eth1`), or a host."""

    name: str
    host: str
    address: str = ""
    is_host: bool = False

    @property
    def key(self) -> str:
        """The key among hosts and containers (`end_key`)."""
        return end_key(self.name, is_host=self.is_host)


def of_pair(check: Check) -> bool:
    """True for a check from one container or interface to another."""
    # A host that calls by `access` is no end of a table, but may have the name of one.
    pair_of_others = check.check in OF_MODE or check.check == "access"
    return not check.on_host and not pair_of_others and check.port is None


def verdict(checks: Sequence[Check]) -> str:
    """`ok`, or the names of failed or skipped checks; empty without any check."""
    failed = dict.fromkeys(c.check for c in checks if not c.ok and not c.skipped)
    if failed:
        return "FAILED " + " ".join(failed)
    passed = any(check.ok for check in checks)
    skipped = dict.fromkeys(c.check for c in checks if c.skipped)
    if skipped and not passed:
        return "skipped " + " ".join(skipped)
    return "ok" if checks else ""


def pair_verdicts(result: Verification) -> PairVerdicts:
    """The verdict of the checks from one end to another, by their keys."""
    pairs = grouped(filter(of_pair, result.checks), lambda check: check.end_keys)
    return {ends: verdict(checks) for ends, checks in pairs.items()}


def ends(result: Verification) -> dict[str, list[MatrixEnd]]:
    """The ends of each segment; one of which no pair was checked is left out.

    Containers come first, then interfaces and hosts of a LAN.
    """
    members: dict[str, dict[str, MatrixEnd]] = {}
    for container in result.containers:
        if name := segment(result.inventory, container):
            address = result.addresses.get(container.name, "")
            end = MatrixEnd(container.name, container.host, address)
            members.setdefault(name, {})[container.name] = end
    for network, of_lan in result.lans.items():
        for endpoint in of_lan:
            address = str(endpoint.address)
            end = MatrixEnd(endpoint.name, endpoint.host, address, is_host=not endpoint.pid)
            members.setdefault(network, {}).setdefault(end.key, end)
    checked = checks_of(result, members)
    return {name: list(group.values()) for name, group in members.items() if name in checked}


def checks_of(
    result: Verification, members: Mapping[str, Iterable[str]]
) -> dict[str, dict[str, None]]:
    """The names of the checks between the ends of each segment, in the order of the results.

    `members` has the keys of the ends.
    """
    segments: dict[str, set[str]] = {}
    for name, group in members.items():
        for end in group:
            segments.setdefault(end, set()).add(name)
    checked: dict[str, dict[str, None]] = {}
    for check in result.checks:
        source, target = check.end_keys
        if source != target and of_pair(check):
            both = segments.get(source, set()) & segments.get(target, set())
            for name in both:
                checked.setdefault(name, {})[check.check] = None
    return checked


def lines(result: Verification, name: str, members: list[MatrixEnd]) -> list[str]:
    """The largest table of one segment that fits into COLUMNS, else its failing pairs."""
    kinds = ", ".join(checks_of(result, {name: [end.key for end in members]})[name])
    by_key = {end.key: end for end in members}
    every = pair_verdicts(result).items()
    verdicts = {ends: word for ends, word in every if set(ends) <= by_key.keys()}
    failed = {ends: word for ends, word in verdicts.items() if word.startswith("FAILED")}
    title = f"network {name}: {kinds} from (row) to (column)"
    for table in (_by_container(verdicts, members), _by_host(result, verdicts, members)):
        if max(map(len, table)) <= COLUMNS:
            return [title, *table]
    return [f"network {name}: {kinds}", *_failures(by_key, len(verdicts), failed)]


def _by_container(verdicts: PairVerdicts, members: list[MatrixEnd]) -> list[str]:
    heads = [[end.name, end.host, end.address] for end in members]
    cells = [[_short(verdicts, source, target) for target in members] for source in members]
    return _table(heads, cells)


def _short(verdicts: PairVerdicts, source: MatrixEnd, target: MatrixEnd) -> str:
    if source == target:
        return SELF
    word = verdicts.get((source.key, target.key), "").partition(" ")[0]
    return _SHORT.get(word, word)


def _by_host(result: Verification, verdicts: PairVerdicts, members: list[MatrixEnd]) -> list[str]:
    """`ok`, or the pairs that fail of all, from the containers of one host to those of another."""
    by_host = grouped(members, lambda end: end.host)
    hosts = result.inventory.hosts
    heads = [
        [host, str(hosts[host].address), count(len(group), "end")]
        for host, group in by_host.items()
    ]
    cells = [
        [_share(verdicts, sources, targets) for targets in by_host.values()]
        for sources in by_host.values()
    ]
    return [*_table(heads, cells), "(failing pairs/all pairs, from host to host)"]


def _share(verdicts: PairVerdicts, sources: list[MatrixEnd], targets: list[MatrixEnd]) -> str:
    verdicts_of_pairs = [
        verdicts[source.key, target.key]
        for source in sources
        for target in targets
        if (source.key, target.key) in verdicts
    ]
    failed = sum(verdict.startswith("FAILED") for verdict in verdicts_of_pairs)
    if failed:
        return f"{failed}/{len(verdicts_of_pairs)}"
    if "ok" in verdicts_of_pairs:
        return "ok"
    return "skip" if verdicts_of_pairs else ""


def _table(heads: list[list[str]], cells: list[list[str]]) -> list[str]:
    """Rows with a number, their heads and their cells; the columns have the rows' numbers."""
    numbers = [str(number) for number in range(1, len(heads) + 1)]
    rows = [[number, *head] for number, head in zip(numbers, heads, strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    columns = zip(numbers, *cells, strict=True)
    cell_widths = [max(map(len, column)) for column in columns]
    left = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        for row in rows
    ]
    empty = " " * (sum(widths) + 2 * (len(widths) - 1))
    return [
        f"{head}  {_joined(row, cell_widths)}"
        for head, row in zip([empty, *left], [numbers, *cells], strict=True)
    ]


def _joined(cells: list[str], widths: list[int]) -> str:
    return " ".join(text.rjust(width) for text, width in zip(cells, widths, strict=True))


def _failures(by_key: Mapping[str, MatrixEnd], pairs: int, failed: PairVerdicts) -> Iterator[str]:
    """The first failing pairs of a network that has so many."""
    if not failed:
        yield f"  none of {count(pairs, 'pair')} fails"
        return
    yield f"  {len(failed):,} of {count(pairs, 'pair')} fail:"
    for (source, target), word in list(failed.items())[:LISTED]:
        ends = (by_key[source], by_key[target])
        names = " → ".join(f"{end.name} ({end.address or end.host})" for end in ends)
        yield f"  {names}: {word.removeprefix('FAILED ')}"
    if len(failed) > LISTED:
        yield f"  and {len(failed) - LISTED:,} more: --json and --html list all"
