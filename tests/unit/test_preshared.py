"""Preshared keys of pairs of hosts: the same on both, and all from one secret of the controller."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.engine import preshared
from provision.model.errors import SupplyError
from provision.resources import script
from provision.resources.base import Origin
from provision.resources.kinds.wireguard_psk import WireguardPsk
from provision.resources.steps import Preshare


def step(folder: Path, host: str, *peers: str, known: str = "", label: str = "n/a") -> Preshare:
    """The step that makes a host's file of keys."""
    return Preshare(folder / "pki" / "a.psk", label, host, peers, known, f"/etc/{host}.psk")


def keys(text: str) -> dict[str, str]:
    """The keys in a host's file, by peer."""
    return dict(line.split(" ") for line in text.splitlines() if not line.startswith("#"))


def test_both_hosts_of_a_pair_get_the_same_key(tmp_path: Path) -> None:
    """Every other pair, and every other network, has another one."""
    h1, h2 = (
        preshared.made(step(tmp_path, *hosts)) for hosts in (("h1", "h2", "h3"), ("h2", "h1"))
    )
    other = preshared.made(step(tmp_path, "h1", "h2", label="n/b"))
    assert keys(h1.text)["h2"] == keys(h2.text)["h1"] != keys(h1.text)["h3"]
    assert keys(other.text)["h2"] != keys(h1.text)["h2"]
    assert all(len(key) == 44 for key in keys(h1.text).values())
    assert h1.mode == 0o600 and h1.text.splitlines()[0] == h2.text.splitlines()[0]
    secret = tmp_path / "pki" / "a.psk"
    assert (secret.stat().st_mode & 0o777, len(secret.read_bytes())) == (0o600, 32)
    assert (secret.parent.stat().st_mode & 0o777) == 0o700


def test_a_controller_without_the_hosts_secret_changes_nothing(tmp_path: Path) -> None:
    """Another secret, none, or a damaged one is an error before a host is changed."""
    text = preshared.made(step(tmp_path, "h1", "h2")).text
    known = text.splitlines()[0].removeprefix("# ")
    preshared.check([step(tmp_path, "h1", "h2", known=known)])
    for damage, message in (
        (lambda path: path.write_bytes(b"x" * 32), "is not the secret of the hosts"),
        (lambda path: path.write_bytes(b"x"), "is damaged"),
        (lambda path: path.unlink(), "is missing"),
    ):
        damage(tmp_path / "pki" / "a.psk")
        with pytest.raises(SupplyError, match=message):
            preshared.check([step(tmp_path, "h1", "h2", known=known)])


def test_no_key_is_in_a_plan_or_in_the_argument_of_a_step(tmp_path: Path) -> None:
    """The steps have no key before the controller makes the file, and none in an argument after."""
    source = tmp_path / "pki" / "a.psk"
    resource = WireguardPsk("h1", "a", "n", "", ("h2",), source=source)
    made = preshared.made(next(s for s in resource.create() if isinstance(s, Preshare)))
    (key,) = keys(made.text).values()
    assert key not in repr(resource.create())
    assert key not in repr(resource.unstash("0a")) and key not in repr(resource.delete())
    assert script.commands((made,)).startswith("put /etc/provision/n/wireguard/a.psk 600 '# ")


@pytest.mark.parametrize(
    ("lines", "intact", "protected"),
    [
        ("file root 600 a\nhead ab\nhead cd\npeer h2\nsum cd", True, True),
        ("file root 640 a\nhead ab\nhead cd\npeer h2\nsum ef", False, False),
    ],
)
def test_a_damaged_file_differs(lines: str, intact: bool, protected: bool) -> None:
    """The second line has the digest of the keys, so that the look need not tell them."""
    (entry,) = WireguardPsk.parse(lines, Origin("h1", "n"))
    expected = WireguardPsk("h1", "a", "n", "ab", ("h2",), intact, protected)
    assert entry.ours and entry.resource == expected
