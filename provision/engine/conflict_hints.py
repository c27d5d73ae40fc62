"""What to do about the conflicts of a plan, for its text and for the error of apply. Pure."""

from __future__ import annotations

from provision.engine.plan import Conflict


def hints(conflicts: tuple[Conflict, ...]) -> tuple[str, ...]:
    """The hints of conflicts, each once; one command stands for all that only say what is there."""
    texts = dict.fromkeys(conflict.hint for conflict in conflicts if conflict.hint)
    first = next((each for each in conflicts if each.command and not each.hint), None)
    if first is not None:
        command = f"look at it: ssh {first.ref.host} {first.command}"
        texts[f"{command}; then remove it, or choose another name or range"] = None
    return tuple(texts)
