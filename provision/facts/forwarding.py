"""Settings of forwarding in files of sysctl, ufw and systemd-networkd. Pure.

Each has the path of its file, in the order of the folders, and its line, as look/firewall.sh prints
them.
"""

from __future__ import annotations

from collections.abc import Iterable

Setting = tuple[str, str]

_LAST_FILE = "/etc/sysctl.conf"
_UFW_FILE = "/etc/ufw/sysctl.conf"
_KEY = "net.ipv4.ip_forward"
_ON = ("yes", "true", "1", "on", "ipv4")


def stopping(settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
    """The settings that stop forwarding.

    The last file by its name counts for a setting of the kernel (sysctl.d(5)). A file of an earlier
    folder replaces one of the same name. The boot leaves out sysctl.conf, which `sysctl --system`
    reads last.
    """
    of_kernel = _of_kernel(settings)
    at_reload = [*of_kernel, *(each for each in settings if each[0].endswith(_LAST_FILE))]
    last = {*_by_key(of_kernel).values(), *_by_key(at_reload).values()}
    return tuple(
        each
        for each in settings
        if not _is_on(each) and (each in last or not _is_sysctl(each)) and not _is_of_ufw(each)
    )


def is_on_at_boot(settings: tuple[Setting, ...]) -> bool:
    """True if forwarding is on before Docker starts.

    A .network file of systemd-networkd switches it on for its links only, since version 256.
    """
    others = (each for each in settings if _is_of_ufw(each) or "/networkd.conf" in each[0])
    last = _by_key(_of_kernel(settings)).get(_KEY)
    return any(map(_is_on, others)) or (last is not None and _is_on(last))


def _of_kernel(settings: Iterable[Setting]) -> list[Setting]:
    """The settings of sysctl.d that the boot makes, in its order."""
    files = [s for s in settings if _is_sysctl(s) and not s[0].endswith((_LAST_FILE, _UFW_FILE))]
    folders: dict[str, str] = {}
    for path, _ in files:
        folders.setdefault(_name(path), path)
    found = [each for each in files if each[0] in folders.values()]
    return sorted(found, key=lambda each: _name(each[0]))


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _is_sysctl(setting: Setting) -> bool:
    return "/sysctl." in setting[0]


def _is_of_ufw(setting: Setting) -> bool:
    return setting[0].endswith(_UFW_FILE)


def _is_on(setting: Setting) -> bool:
    return setting[1].partition("=")[2].strip().lower() in _ON


def _by_key(settings: Iterable[Setting]) -> dict[str, Setting]:
    """The last setting of each key; `conf.all.forwarding` is another name of `ip_forward`."""
    keyed = ((each[1].partition("=")[0].strip().replace("/", "."), each) for each in settings)
    return {key.replace("conf.all.forwarding", "ip_forward"): each for key, each in keyed}
