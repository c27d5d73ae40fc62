"""`up`: every step looks first and makes what is missing, so that it can be repeated."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from provision.lab import base, keys, limits, machine, namespace, ready, settings, supervisor
from provision.lab.lock import locked
from provision.lab.parallel import each
from provision.lab.place import SUITES, Place, addresses_of, suite_of
from provision.lab.settings import Settings, Wish
from provision.lab.tools import require_programs, require_root
from provision.model.errors import LabError

_ODD = re.compile(r"""[\s:,;"'`\\%$*?\[\](){}<>|&!#~]""")

Say = Callable[[str], None]


def up(place: Place, wish: Wish, *, mirror: str | None = None, say: Say) -> dict[str, str]:
    """Bring the lab up; the boot id of each host. Raises LabError, UsageError."""
    require_root("up")
    require_programs()
    refuse_odd(place.folder)
    keys.refuse_foreign(place)
    found = settings.load(place)
    aim = settings.merged(found, wish)
    namespace.refuse_taken_ranges(place, aim.ranges)
    recipes = _recipes(aim)
    each(list(recipes.values()), lambda recipe: base.ensure(recipe, mirror, say))
    with locked(place):
        settings.save(place, aim)
        limits.raise_for(place, aim.count, say)
        namespace.ensure(place, aim.ranges)
        _prepare(place, aim, recipes)
        return _boot(place, aim, recipes, say)


def refuse_odd(folder: Path) -> None:
    """Such characters mean something to mount, ssh or systemd."""
    if _ODD.search(str(folder)):
        raise LabError(
            f"a lab cannot live in {str(folder)!r}: spaces and signs in its path",
            "run it in a folder whose path has letters, digits and / . _ - only",
        )


def _recipes(aim: Settings) -> dict[str, base.Recipe]:
    wanted = {suite_of(host, aim.suite) for host in aim.hosts}
    return {suite: base.recipe(suite, bare=aim.bare) for suite in SUITES if suite in wanted}


def _prepare(place: Place, aim: Settings, recipes: dict[str, base.Recipe]) -> None:
    keys.ensure(place)
    alive = supervisor.running(place).machines
    new = [host for host in aim.hosts if host not in alive]
    each(
        new,
        lambda host: machine.prepare(
            place.seat(host), recipes[suite_of(host, aim.suite)], aim.ranges
        ),
    )
    keys.write_config(place, aim.hosts, aim.ranges)
    if not place.image.exists():
        shutil.copyfile(next(iter(recipes.values())).image, place.image)
    keys.hand_over(place)


def _boot(place: Place, aim: Settings, recipes: dict[str, base.Recipe], say: Say) -> dict[str, str]:
    alive = supervisor.running(place).watchers if not supervisor.by_systemd() else None

    def boot(host: str) -> str:
        seat, recipe = place.seat(host), recipes[suite_of(host, aim.suite)]
        if not (supervisor.watched(seat) if alive is None else host in alive):
            say(f"{host}: starting ({suite_of(host, aim.suite)})")
            supervisor.start(seat, recipe.repository)
        tar = None if aim.bare else recipe.image
        address = str(addresses_of(host, aim.ranges)[0])
        patience_s = 90 + 3 * aim.count
        return ready.wait(seat, address, docker=not aim.bare, image_tar=tar, timeout_s=patience_s)

    return dict(zip(aim.hosts, each(aim.hosts, boot), strict=True))
