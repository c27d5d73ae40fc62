"""Settings of a container in Docker's API: how a container is created and inspected with them.

Inspection mixes the settings of the inventory with those of the image and of dockerd. A label
tells which are the inventory's. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from provision.model.fields.container_settings import capability
from provision.model.fields.quantities import duration, duration_text
from provision.model.inventory import ContainerSetting

SETTINGS_LABEL = "provision.settings"
"""The keys of the inventory's settings as JSON."""


@dataclass(frozen=True, slots=True)
class _Form:
    """The form of a value in the API: `encode` makes it from text, `decode` the reverse."""

    encode: Callable[[str], Any]
    decode: Callable[[Any], str]


def _json_list(value: Any) -> str:
    return json.dumps(list(value or ()))


def _capabilities(value: Any) -> str:
    return json.dumps(sorted(map(capability, value or ())))


def _devices(text: str) -> list[dict[str, str]]:
    keys = ("PathOnHost", "PathInContainer", "CgroupPermissions")
    return [dict(zip(keys, device.split(":"), strict=True)) for device in json.loads(text)]


def _device_texts(value: Any) -> str:
    keys = ("PathOnHost", "PathInContainer", "CgroupPermissions")
    return json.dumps([":".join(device[key] for key in keys) for device in value or ()])


_TEXT = _Form(str, str)
_LIST = _Form(json.loads, _json_list)
_NUMBER = _Form(int, str)
_FLAG = _Form(lambda text: text == "true", lambda value: "true" if value else "false")
_DURATION = _Form(duration, lambda value: duration_text(int(value or 0)))
_CPUS = _Form(lambda text: round(float(text) * 10**9), lambda value: f"{int(value) / 10**9:g}")
# The API may keep CAP_ or leave it out, in the order of the request.
_CAPABILITIES = _Form(json.loads, _capabilities)
_DEVICES = _Form(_devices, _device_texts)

_PLACES: dict[str, tuple[str, str, _Form]] = {
    "entrypoint": ("Config", "Entrypoint", _LIST),
    "user": ("Config", "User", _TEXT),
    "working_dir": ("Config", "WorkingDir", _TEXT),
    "hostname": ("Config", "Hostname", _TEXT),
    "stop_signal": ("Config", "StopSignal", _TEXT),
    "stop_grace_period": (
        "Config",
        "StopTimeout",
        _Form(lambda text: duration(text) // 10**9, lambda value: f"{value}s"),
    ),
    "tty": ("Config", "Tty", _FLAG),
    "stdin_open": ("Config", "OpenStdin", _FLAG),
    "cap_add": ("HostConfig", "CapAdd", _CAPABILITIES),
    "cap_drop": ("HostConfig", "CapDrop", _CAPABILITIES),
    "devices": ("HostConfig", "Devices", _DEVICES),
    "group_add": ("HostConfig", "GroupAdd", _LIST),
    "security_opt": ("HostConfig", "SecurityOpt", _LIST),
    "privileged": ("HostConfig", "Privileged", _FLAG),
    "read_only": ("HostConfig", "ReadonlyRootfs", _FLAG),
    "init": ("HostConfig", "Init", _FLAG),
    "shm_size": ("HostConfig", "ShmSize", _NUMBER),
    "mem_limit": ("HostConfig", "Memory", _NUMBER),
    "cpus": ("HostConfig", "NanoCpus", _CPUS),
}
"""The part of the API, its key and form, of each setting that is a value."""
_HEALTH: dict[str, tuple[str, _Form]] = {
    "test": ("Test", _LIST),
    "interval": ("Interval", _DURATION),
    "timeout": ("Timeout", _DURATION),
    "start_period": ("StartPeriod", _DURATION),
    "start_interval": ("StartInterval", _DURATION),
    "retries": ("Retries", _NUMBER),
}
_MAPPINGS = {
    "labels": ("Config", "Labels"),
    "sysctls": ("HostConfig", "Sysctls"),
    "tmpfs": ("HostConfig", "Tmpfs"),
}
"""The part of the API, and its key, of each setting that is a mapping of texts."""


def apply(settings: Iterable[ContainerSetting], body: dict[str, Any]) -> None:
    """Add settings to the body of a request; its top level is what inspection calls Config."""
    for setting in settings:
        group, _, name = setting.key.partition(".")
        if group in _PLACES:
            section, key, form = _PLACES[group]
            _section(body, section)[key] = form.encode(setting.value)
        elif group in _MAPPINGS:
            section, key = _MAPPINGS[group]
            _section(body, section).setdefault(key, {})[name] = setting.value
        elif group == "healthcheck":
            key, form = _HEALTH[name]
            body.setdefault("Healthcheck", {})[key] = form.encode(setting.value)
        else:
            _apply_listed(group, name, setting.value, body["HostConfig"])


def _section(body: dict[str, Any], name: str) -> Any:
    return body if name == "Config" else body[name]


def _apply_listed(group: str, name: str, value: str, host: dict[str, Any]) -> None:
    """Add a setting that the API has in a list of entries."""
    if group == "logging":
        log = host.setdefault("LogConfig", {"Type": "", "Config": {}})
        if name == "driver":
            log["Type"] = value
        else:
            log["Config"][name.removeprefix("options.")] = value
    elif group == "extra_hosts":
        host.setdefault("ExtraHosts", []).append(f"{name}:{value}")
    else:
        soft, hard = map(int, value.split(":"))
        host.setdefault("Ulimits", []).append({"Name": name, "Soft": soft, "Hard": hard})


def read(entry: dict[str, Any]) -> tuple[ContainerSetting, ...]:
    """The inventory's settings of an inspected container, sorted."""
    keys = json.loads((entry["Config"]["Labels"] or {}).get(SETTINGS_LABEL, "[]"))
    return tuple(sorted(_values(keys, entry), key=lambda setting: setting.key))


def _values(keys: Iterable[str], entry: dict[str, Any]) -> Iterator[ContainerSetting]:
    """Yield the settings that inspection shows; one that is absent differs from the wanted."""
    for key in keys:
        value = _value(key, entry)
        if value is not None:
            yield ContainerSetting(key, value)


def _value(setting: str, entry: dict[str, Any]) -> str | None:
    group, _, name = setting.partition(".")
    if group in _PLACES:
        section, key, form = _PLACES[group]
        value = entry[section].get(key)
        if group == "entrypoint" and value is None:
            return json.dumps([""])  # takes away that of the image; Docker then shows none
        return None if value is None else form.decode(value)
    if group in _MAPPINGS:
        section, key = _MAPPINGS[group]
        text = (entry[section].get(key) or {}).get(name)
        return None if text is None else str(text)
    if group == "healthcheck":
        key, form = _HEALTH[name]
        return form.decode((entry["Config"].get("Healthcheck") or {}).get(key, 0))
    return _listed(group, name, entry["HostConfig"])


def _listed(group: str, name: str, host: dict[str, Any]) -> str | None:
    """The value of a setting that the API has in a list of entries."""
    if group == "logging":
        log = host.get("LogConfig") or {}
        options = log.get("Config") or {}
        value = log.get("Type") if name == "driver" else options.get(name.removeprefix("options."))
        return None if value is None else str(value)
    if group == "extra_hosts":
        pairs = (text.partition(":") for text in host.get("ExtraHosts") or ())
        return next((address for host_name, _, address in pairs if host_name == name), None)
    limits = (limit for limit in host.get("Ulimits") or () if limit["Name"] == name)
    return next((f"{limit['Soft']}:{limit['Hard']}" for limit in limits), None)
