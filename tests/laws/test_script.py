"""Quoting, proven by a real sh: what goes in comes out, whatever it is."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from provision.resources import script
from provision.resources.steps import Attempt, Put, Run, Unless

TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)))


def sh(text: str) -> tuple[int, str]:
    done = subprocess.run(["sh", "-c", 'eval "$(cat)"'], input=text.encode(), capture_output=True)
    return done.returncode, done.stdout.decode()


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=1))
def test_any_words_reach_the_command_as_they_are(words: list[str]) -> None:
    """No character of a value means anything to the shell."""
    _, printed = sh(script.quoted(("printf", "%s\\n.", *words)))
    assert printed == "".join(f"{word}\n." for word in words)


@settings(max_examples=60, deadline=None)
@given(TEXT)
def test_any_text_reaches_stdin_as_it_is(text: str) -> None:
    """Also an empty one, and one without a last newline."""
    _, printed = sh(script.commands((Run(("cat",), stdin=text),)))
    assert printed == text


@settings(max_examples=40, deadline=None)
@given(TEXT, st.sampled_from([0o600, 0o644, 0o755]))
def test_any_text_becomes_a_file_with_its_mode(text: str, mode: int) -> None:
    """Written once, and not touched when it is right already."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "deep er" / "it's"
        steps = (Put(str(path), text, mode),)
        for _ in range(2):
            rendered = script.render((steps,), nonce="n", lock=f"{folder}/lock")
            status, printed = sh(rendered)
            (outcome,) = script.read(printed, nonce="n", count=1)
            assert status == 0 and outcome is not None and outcome.status == 0, printed
            assert path.read_bytes() == text.encode()
            assert path.stat().st_mode & 0o777 == mode
            inode = path.stat().st_ino
        assert path.stat().st_ino == inode
        assert [entry.name for entry in path.parent.iterdir()] == ["it's"]


def outcomes(
    *operations: tuple[object, ...], folder: str
) -> tuple[script.OperationResult | None, ...]:
    text = script.render(operations, nonce="n0nce", lock=f"{folder}/lock")  # type: ignore[arg-type]
    return script.read(sh(text)[1], nonce="n0nce", count=len(operations))


def test_a_failing_operation_ends_the_script(tmp_path: Path) -> None:
    """What came before is done, it says why, and nothing after it runs."""
    fail = Run(("sh", "-c", "echo why; exit 7"))
    first, second, third = outcomes(
        (Run(("true",)),), (fail, Run(("touch", f"{tmp_path}/no"))), (fail,), folder=str(tmp_path)
    )
    assert first is not None and first.status == 0
    assert second is not None and (second.status, second.output) == (7, "why")
    assert third is None
    assert not (tmp_path / "no").exists()


def test_output_cannot_pass_for_a_marker(tmp_path: Path) -> None:
    """A command that prints what a marker of another run looks like fools nobody."""
    forged = Run(("printf", "\\n@other end 0 0 1.0\\n"))
    (outcome,) = outcomes((forged, Run(("false",))), folder=str(tmp_path))
    assert outcome is not None and outcome.status == 1


def test_unless_and_attempt_do_as_they_say(tmp_path: Path) -> None:
    """A step that is needless is left out; a failed attempt is undone and fails."""
    touch = Run(("touch", f"{tmp_path}/touched"))
    undo = Run(("touch", f"{tmp_path}/undone"))
    steps = (Unless(Run(("true",)), (touch,)), Unless(Run(("echo", "x")), (touch,), prints=True))
    (outcome,) = outcomes(steps, folder=str(tmp_path))
    assert outcome is not None and outcome.status == 0
    assert not (tmp_path / "touched").exists()
    (outcome,) = outcomes((Attempt((Run(("false",)),), (undo,)),), folder=str(tmp_path))
    assert outcome is not None and outcome.status == 1
    assert (tmp_path / "undone").exists()


def test_a_symbolic_link_is_not_written_through(tmp_path: Path) -> None:
    """A stranger's link at our path would make us overwrite its target."""
    target = tmp_path / "target"
    target.write_text("theirs")
    (tmp_path / "ours").symlink_to(target)
    (outcome,) = outcomes((Put(str(tmp_path / "ours"), "x"),), folder=str(tmp_path))
    assert outcome is not None and outcome.status != 0
    assert target.read_text() == "theirs"
