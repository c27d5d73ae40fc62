"""Images that hosts would pull in vain: their registries are asked before a change.

A pull that fails is noticed in the midst of a change, which is rolled back then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.engine.fleet import Session, each
from provision.engine.plan import Change
from provision.model.text import single_line
from provision.resources.kinds.image import DockerImage
from provision.resources.lib.docker_api import registry_program
from provision.resources.script import quoted

TIMEOUT_S = 40.0
"""The program itself gives up after 20 s."""
_LONGEST = 200
HINT = "check its name, log in to its registry as root on the host, or load it there"


def warnings(session: Session, changes: Iterable[Change]) -> Iterator[str]:
    """Yield a line for each image that hosts lack and cannot pull, with the reason."""
    wanted: dict[str, list[str]] = {}
    for change in changes:
        if isinstance(change.after, DockerImage) and change.before is None:
            wanted.setdefault(change.ref.host, []).append(change.after.reference)
    if not wanted:
        return

    def ask(host: str) -> str:
        script = quoted(("perl", "-e", registry_program(), "--", *wanted[host]))
        # A host without Docker, which apply installs, prints nothing.
        return session.transport.run(host, f"{script} 2>/dev/null", timeout_s=TIMEOUT_S).stdout

    answers, _ = each(session, wanted, ask, label="Asking registries for images")
    hosts_of: dict[tuple[str, str], list[str]] = {}
    for host in wanted:
        for reference, reason in missing(answers.get(host, "")):
            if reference in wanted[host]:
                hosts_of.setdefault((reference, reason), []).append(host)
    for (reference, reason), hosts in hosts_of.items():
        yield f"{', '.join(hosts)}: image {reference} cannot be pulled now: {reason}; {HINT}"


def missing(text: str) -> Iterator[tuple[str, str]]:
    """Yield reference and reason of the images in the output of `look/registry.pl`."""
    for line in text.splitlines():
        key, _, rest = line.partition(" ")
        reference, _, reason = rest.partition(" ")
        if key == "missing" and reason:
            yield reference, single_line(reason)[:_LONGEST].rstrip(" .")
