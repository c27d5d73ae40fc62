"""Archives of `docker save`: which image is in one, and its layers, without unpacking it."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any, BinaryIO

from provision.model.fields.files import open_regular, resolve
from provision.model.fields.images import reference
from provision.model.findings import BadValueError
from provision.model.inventory import Image
from provision.model.text import count, quoted

_MOST_MEMBERS = 20_000
_LARGEST_JSON = 4 << 20
_SAVE = "make it anew: docker save -o FILE NAME:TAG"
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


def saved_image(text: str, folder: Path) -> Image:
    """The image in an archive, named relative to `folder`; or `BadValueError`."""
    try:
        path = resolve(text, folder)
        with open_regular(path) as opened:
            return _image(opened, path)
    except BadValueError as error:
        raise BadValueError(f"archive {quoted(text)}: {error.message}", error.hint) from error
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, MemoryError) as error:
        raise BadValueError(
            f"archive {quoted(text)}: cannot be read as a tar file", _SAVE
        ) from error


def _image(opened: BinaryIO, path: Path) -> Image:
    if opened.read(6).startswith(_COMPRESSED):
        raise BadValueError("is compressed", "unpack it first, for example: gunzip FILE")
    opened.seek(0)
    with tarfile.open(fileobj=opened, mode="r:") as tar:
        members = _members(tar)
        manifest = _json(tar, members, "manifest.json")
        if not (isinstance(manifest, list) and all(isinstance(m, dict) for m in manifest)):
            raise BadValueError("its manifest.json lists no images", _SAVE)
        if len(manifest) != 1:
            raise BadValueError(f"holds {count(len(manifest), 'image')}, not 1", _SAVE)
        config = _json(tar, members, str(manifest[0].get("Config")))
    return Image(_tag(manifest[0]), path, _layers(config))


def _members(tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    members = {}
    for number, member in enumerate(tar):
        if number >= _MOST_MEMBERS:
            raise BadValueError(f"holds more than {_MOST_MEMBERS} files", "is this the right file?")
        members[member.name] = member
    return members


def _json(tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], name: str) -> Any:
    member = members.get(name)
    if member is None or not member.isreg():
        raise BadValueError(f"is no archive of `docker save`: {quoted(name)} is not in it", _SAVE)
    if member.size > _LARGEST_JSON:
        raise BadValueError(f"its {quoted(name)} is too large", _SAVE)
    source = tar.extractfile(member)
    assert source is not None  # a regular member has content
    try:
        return json.loads(source.read(_LARGEST_JSON))
    except (ValueError, RecursionError):
        raise BadValueError(f"its {quoted(name)} is no JSON", _SAVE) from None


def _tag(manifest: dict[str, Any]) -> str:
    tags = manifest.get("RepoTags")
    if not (isinstance(tags, list) and tags and isinstance(tags[0], str)):
        raise BadValueError("names no image", "save it by NAME:TAG, not by its id")
    return reference(tags[0])


def _layers(config: Any) -> tuple[str, ...]:
    rootfs = config.get("rootfs") if isinstance(config, dict) else None
    layers = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    good = isinstance(layers, list) and all(isinstance(layer, str) for layer in layers)
    if not good or not layers:
        raise BadValueError("its configuration lists no layers", _SAVE)
    return tuple(layers)
