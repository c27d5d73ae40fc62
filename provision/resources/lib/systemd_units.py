"""The reading of what `systemctl show` printed of units. Pure."""

from __future__ import annotations


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
