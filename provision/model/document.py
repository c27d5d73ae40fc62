"""The base of the documents of an inventory file, for pydantic."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

# Pydantic adds a union's tag to the path of an error; no key of a file can hold a NUL.
TEXT, LIST, MAPPING = "\0text", "\0list", "\0mapping"


class Document(BaseModel):
    """A mapping of the file: unknown keys are refused, and values are not converted."""

    # defer_build: pydantic builds a validator when it is first used. Most files need few of them,
    # and building all of them takes as long as all imports.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


def union_tag(value: Any) -> str | None:
    """The tag of the member that a value of text or a mapping belongs to; None for others."""
    return TEXT if isinstance(value, str) else MAPPING if isinstance(value, dict) else None


def files_tag(value: Any) -> str | None:
    """The tag of the member that a text, a list or a mapping belongs to; None for others."""
    return LIST if isinstance(value, list) else union_tag(value)
