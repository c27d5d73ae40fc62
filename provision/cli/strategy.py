"""The options of commands that change hosts: in which order, and what a failure means."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

import click

from provision.cli.options import TAKE_OVER, Command, decorated
from provision.model.errors import UsageError

if TYPE_CHECKING:
    from provision.engine.options import ApplyOptions

_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--strategy",
        metavar="STRATEGY",
        default="all-or-none",
        show_default=True,
        help="If a host fails: all-or-none rolls back every host, per-host only that host."
        " canary=HOST is all-or-none, and changes HOST first and alone. rolling=N or rolling=N% is"
        " per-host, and changes N hosts at a time.",
    ),
    click.option(
        "--max-failures",
        metavar="N|N%",
        help="With rolling: go on while at most N hosts have failed or are unreachable."
        "  [default: 0]",
    ),
    click.option(
        "--confirm-window",
        "window",
        type=click.IntRange(15, 3600),
        default=90,
        show_default=True,
        metavar="SECONDS",
        help="Time after which a host rolls the change back by itself, unless a new SSH connection"
        " confirms it.",
    ),
    click.option(
        "--manual", is_flag=True, help="Leave it to `provision confirm` to confirm the change."
    ),
    TAKE_OVER,
)


class StrategyOptions:
    """The options of a command that changes hosts, such as --strategy and --manual.

    Raises UsageError for a strategy that does not exist, and for options that exclude each other.
    """

    def __init__(
        self, *, strategy: str, window: int, manual: bool, take_over: bool, max_failures: str | None
    ) -> None:
        self.name, sign, self.argument = strategy.partition("=")
        plain = self.name in ("all-or-none", "per-host") and not sign
        if not plain and not (self.name in ("canary", "rolling") and self.argument):
            raise UsageError(
                f"--strategy {strategy}: no such strategy",
                "use all-or-none, canary=HOST, per-host or rolling=N",
            )
        self.window, self.manual, self.take_over = window, manual, take_over
        self.restart_docker = False
        rolling = self.name == "rolling"
        if max_failures is not None and not rolling:
            raise UsageError(
                "--max-failures counts only with --strategy rolling=N",
                "add that strategy, or leave --max-failures out",
            )
        if rolling and manual:
            raise UsageError(
                "--manual cannot be used with --strategy rolling: the next hosts wait for the"
                " confirmation of those before them",
                "leave one of the two out",
            )
        # Here and not in `apply_options`, so that a mistake is found before hosts are contacted.
        self.group = _share(f"--strategy {strategy}", self.argument, 1) if rolling else None
        self.failures = _share(f"--max-failures {max_failures}", max_failures or "0", 0)

    def apply_options(self, hosts: tuple[str, ...], *, destroy: bool = False) -> ApplyOptions:
        """The same options for the engine. Raises UsageError when the canary is not in `hosts`."""
        from provision.engine.options import ApplyOptions

        canary = self.argument if self.name == "canary" else None
        if canary and canary not in hosts:
            raise UsageError(
                f"--strategy canary={canary}: {canary} is not one of the hosts",
                f"use one of {', '.join(hosts)}",
            )
        return ApplyOptions(
            destroy=destroy,
            all_or_none=self.name not in ("per-host", "rolling"),
            canary=canary,
            group_size=max(1, self.group(len(hosts))) if self.group else None,
            max_failures=self.failures(len(hosts)),
            window_s=self.window,
            manual=self.manual,
            take_over=self.take_over,
            restart_docker=self.restart_docker,
        )


def _share(option: str, text: str, least: int) -> Callable[[int], int]:
    """The function from a number of hosts to the number that `N` or `N%` means, rounded down."""
    match = re.fullmatch(r"([0-9]{1,6})(%?)", text)
    if not match or int(match[1]) < least or (match[2] and int(match[1]) > 100):
        raise UsageError(
            f"{option}: {text!r} is not a number of hosts",
            f"write a number from {least}, or a percentage from {least}% to 100%",
        )
    number = int(match[1])
    if match[2]:
        return lambda hosts: hosts * number // 100
    return lambda _hosts: number


def strategy_options(command: Command) -> Command:
    """Add the options of a command that changes hosts, passed as `strategy: StrategyOptions`."""

    names = ("strategy", "window", "manual", "take_over", "max_failures")

    def wrapper(*args: Any, **arguments: Any) -> int:
        options = StrategyOptions(**{name: arguments.pop(name) for name in names})
        return command(*args, strategy=options, **arguments)

    # click takes the name and the help of a command from the function that it decorates.
    return decorated(update_wrapper(wrapper, command), _OPTIONS)
