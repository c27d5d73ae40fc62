"""Images that hosts would pull in vain: their registries are asked before a change.

A pull that fails is noticed in the midst of a change, which is rolled back then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.engine.fleet import Session, each
from provision.engine.plan import Change
from provision.model.text import listed, single_line
from provision.resources.kinds.image import DockerImage
from provision.resources.lib.docker_api import registry_program
from provision.resources.script import quoted

TIMEOUT_S = 40.0
"""The program itself gives up after 20 s."""
_LONGEST = 200
HINT = "check its name, log in to its registry as root on the host, or load it there"


def warnings(session: Session, changes: Iterable[Change]) -> Iterator[str]:
    """Yield a line for each image that hosts lack and cannot pull, with the reason.

    One host asks for each image: registries count questions as pulls, and limit these.
    """
    lacking: dict[str, list[str]] = {}
    for change in changes:
        if isinstance(change.after, DockerImage) and change.before is None:
            lacking.setdefault(change.after.reference, []).append(change.ref.host)
    if not lacking:
        return
    questions: dict[str, list[str]] = {}
    for reference, (first, *_) in lacking.items():
        questions.setdefault(first, []).append(reference)

    def ask(host: str) -> str:
        script = quoted(("perl", "-e", registry_program(), "--", *questions[host]))
        # A host without Docker, which apply installs, prints nothing.
        return session.transport.run(host, f"{script} 2>/dev/null", timeout_s=TIMEOUT_S).stdout

    answers, _ = each(session, questions, ask, label="Asking registries for images")
    for host, references in questions.items():
        for reference, reason in missing(answers.get(host, "")):
            if reference in references:
                hosts = lacking[reference]
                asker = f" (asked by {host})" if len(hosts) > 1 else ""
                subject = f"{listed(tuple(hosts))}: image {reference} cannot be pulled now"
                yield f"{subject}: {reason}{asker}; {HINT}"


def missing(text: str) -> Iterator[tuple[str, str]]:
    """Yield reference and reason of the images in the output of `look/registry.pl`."""
    for line in text.splitlines():
        key, _, rest = line.partition(" ")
        reference, _, reason = rest.partition(" ")
        if key == "missing" and reason:
            yield reference, single_line(reason)[:_LONGEST].rstrip(" .")
