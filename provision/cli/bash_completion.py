"""Completion in bash, whose words end at `:` and `=` (COMP_WORDBREAKS), unlike those of programs.

click is given bash's words. That loses the option and the beginning of a value: for
`--limit h1:e` and `--limit=h`, click would complete an argument `e` or `h`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    split_arg_string,
)

COMPLETE = "_PROVISION_COMPLETE"
"""The variable by which a shell's script asks for completions."""
_LINE, _TYPED = "PROVISION_COMP_LINE", "PROVISION_COMP_WORD"
_OF_CLICK = 'COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD'
_OURS = f'{_LINE}="${{COMP_LINE:0:COMP_POINT}}" {_TYPED}="$2"'
_MARK = "x"


class BashByLine(BashComplete):
    """click's completion in bash, by the command line up to the cursor."""

    # With another script of a later click, bash's words would stay what they are.
    source_template = BashComplete.source_template.replace(_OF_CLICK, f"{_OURS} {_OF_CLICK}")

    def get_completion_args(self) -> tuple[list[str], str]:
        """The arguments before the cursor, and the one that ends at it."""
        if _LINE not in os.environ:
            return super().get_completion_args()  # a script that was saved earlier
        _, *arguments, incomplete = _split(os.environ[_LINE])
        return arguments, incomplete

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """The completions of the part of the argument that bash replaces."""
        items = super().get_completions(args, incomplete)
        if _LINE not in os.environ:
            return items
        argument = OpenArgument(incomplete, os.environ.get(_TYPED, ""))
        for item in items:
            if item.type == "plain":
                item.value = argument.replacement(str(item.value))
        return items


@dataclass(frozen=True, slots=True)
class OpenArgument:
    """The argument that ends at the cursor; `typed` is the end of it that bash replaces."""

    text: str
    typed: str

    def replacement(self, completion: str) -> str:
        """What bash has to put in the place of `typed`, so that the argument is completed."""
        option, equals, _ = self.text.partition("=")
        is_value = equals and option.startswith("-") and not completion.startswith(option)
        whole = f"{option}={completion}" if is_value else completion
        for typed in (self.typed, _split(self.typed)[-1]):
            kept = self.text.removesuffix(typed)
            if self.text.endswith(typed) and whole.startswith(kept):
                return whole.removeprefix(kept)
        return completion


def _split(line: str) -> list[str]:
    """The words of a command line; the last one ends with the line, and may be empty."""
    # The mark tells an open word, as after an open quote, from one that a space has ended.
    *complete, last = split_arg_string(line + _MARK)
    return [*complete, last.removesuffix(_MARK)]


def register() -> None:
    """Let click use this completion for bash."""
    add_completion_class(BashByLine)
