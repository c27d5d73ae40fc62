"""`up`: brings a lab up, or completes it. Each step makes only what is missing."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from provision.lab import (
    base,
    dhcp,
    examples,
    kernels,
    keys,
    limits,
    namespace,
    ready,
    settings,
    supervisor,
    variants,
)
from provision.lab.layout import Lab, addresses_of, suite_of
from provision.lab.lock import locked
from provision.lab.parallel import each
from provision.lab.settings import LabSettings, UpOptions
from provision.lab.tools import PACKAGES, require_programs, require_root
from provision.model.errors import LabError

_SPECIAL = re.compile(r"""[\s:,;"'`\\%$*?\[\](){}<>|&!#~]""")

Say = Callable[[str], None]


def up(lab: Lab, options: UpOptions, *, mirror: str | None = None, say: Say) -> dict[str, str]:
    """Bring the lab up; return the boot id of each host. Raises LabError, UsageError."""
    require_root("up")
    target = settings.merged(settings.load(lab), options)
    require_programs({**PACKAGES, **(dhcp.PACKAGES if target.leased else {})})
    refuse_special_characters(lab.folder)
    keys.refuse_foreign(lab)
    command = settings.up_words(target, mirror)
    namespace.refuse_used_ranges(lab, target.ranges, command)
    recipes, machine = _recipes(target), kernels.MACHINES[target.kernel]
    machine.require(target)
    # Before the lock: trees belong to the machine, not to this lab, and have locks of their own.
    trees = list(dict.fromkeys(recipes.values()))
    each(trees, lambda recipe: base.ensure(recipe, mirror, say))
    each(trees, lambda recipe: machine.ensure_base(recipe, mirror, say))
    with locked(lab):
        with limits.machine_lock():
            # Again, because another lab may have taken the range while the trees were built.
            namespace.refuse_used_ranges(lab, target.ranges, command)
            settings.save(lab, target)
            namespace.ensure(lab, target.ranges)
        limits.raise_for(lab, target.count, say)
        dhcp.ensure(lab, target)
        _prepare(lab, target, recipes)
        return _boot(lab, target, recipes, say)


def refuse_special_characters(folder: Path) -> None:
    """Raise LabError for a path with characters special to mount options, ssh_config or systemd.

    A colon, for example, separates the lower layers of an overlay.
    """
    if _SPECIAL.search(str(folder)):
        raise LabError(
            f"a lab cannot live in {str(folder)!r}: its path has spaces or special characters",
            "use a folder whose path has only letters, digits and / . _ - + @",
        )


def _recipes(target: LabSettings) -> dict[str, base.Recipe]:
    """The recipe of each host's base tree. Raises UsageError."""
    recipes = {}
    for host in target.hosts:
        suite, names = suite_of(host, target.suite), variants.names_of(target.choice(host))
        variants.refuse_unfit(names, host, suite, bare=target.bare)
        recipes[host] = base.recipe(suite, bare=target.bare, names=names)
    return recipes


def _prepare(lab: Lab, target: LabSettings, recipes: dict[str, base.Recipe]) -> None:
    keys.ensure(lab)
    machines = supervisor.running(lab).machines
    machine = kernels.MACHINES[target.kernel]

    def prepare(name: str) -> None:
        machine.prepare(lab.host(name), recipes[name], target)

    each([name for name in target.hosts if name not in machines], prepare)
    keys.write_config(lab, target.hosts, target.ranges)
    if not lab.image.exists():
        shutil.copyfile(next(iter(recipes.values())).image, lab.image)
    keys.hand_over(lab, examples.ensure(lab, target.ranges))


def _boot(
    lab: Lab, target: LabSettings, recipes: dict[str, base.Recipe], say: Say
) -> dict[str, str]:
    # One pass over /proc for all hosts, not one for each.
    watchers = supervisor.running(lab).watchers if not supervisor.by_systemd() else None
    machine = kernels.MACHINES[target.kernel]
    started: set[str] = set()
    up = itertools.count(1)

    def boot(name: str) -> str:
        host, suite = lab.host(name), suite_of(name, target.suite)
        if not (supervisor.watched(host) if watchers is None else name in watchers):
            memory = f", {machine.memory_mb} MB" if machine.memory_mb else ""
            say(f"{name}: starting ({suite}{memory})")
            started.add(name)
            supervisor.start(host, recipes[name].repository)
        tar = None if target.bare else recipes[name].image
        address, data = map(str, addresses_of(name, target.ranges))
        # All hosts boot at once and share the CPUs, so each needs longer the more they are.
        timeout_s = (90 + 3 * target.count) * machine.slowness
        boot_id = ready.wait(
            host,
            address,
            docker=not target.bare,
            image_tar=tar,
            lease=data if name in target.leased else "",
            timeout_s=timeout_s,
        )
        if name in started:
            say(f"{name}: up ({next(up)} of {len(started)})")
        return boot_id

    return dict(zip(target.hosts, each(target.hosts, boot), strict=True))
