"""Unit files of systemd: their mark, and what `systemctl show` printed of units. Pure."""

from __future__ import annotations

from provision.resources.on_hosts import MARK, UNIT_FOLDER
from provision.resources.steps import Run, sh

STOPPED = "sed '/ active$/!s/[^ ]*$/inactive/'"
"""A filter of a fingerprint for lines that end with what `systemctl is-active` printed.

A service that has failed, or waits for its next start, is one that does not run: a rollback cannot
make it fail again, and stops it.
"""

# An empty file, or a link such as that of `systemctl mask`, is our unit, damaged.
_IS_FOREIGN = f"""
[ -s "$1" ] && [ ! -h "$1" ] || exit 1
IFS= read -r line <"$1"
case $line in "# {MARK}$2" | "# {MARK}$2/"*) exit 1 ;; esac
"""


def is_foreign(service: str, inventory: str) -> Run:
    """Succeed if a unit file of this name does not begin with the inventory's mark."""
    return sh(_IS_FOREIGN, f"{UNIT_FOLDER}/{service}", inventory)


def unit_properties(text: str) -> dict[str, dict[str, str]]:
    """Properties of each unit by its Id; lines of other programs in the text are left out.

    systemd prints one property a line and an empty line between two units.
    """
    units: dict[str, dict[str, str]] = {}
    properties: dict[str, str] = {}
    for line in text.splitlines():
        key, sign, value = line.partition("=")
        if not line:
            properties = {}
        elif sign and " " not in key:
            properties[key] = value
            if "Id" in properties:
                units[properties["Id"]] = properties
    return units
