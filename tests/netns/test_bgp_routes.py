"""Routes that FRR leaves in the kernel: which of them a start, an end and a removal delete."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.engine.desired import wanted
from provision.resources.base import Ref
from provision.resources.kinds.file import File
from provision.resources.kinds.service import Service
from tests.cases.test_cases import facts
from tests.netns.test_kinds import Namespace, namespace
from tests.unit.test_bgp import CASE, UNIT, example

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

ROUTERS = (
    "# asn: 64512",
    "routers: [{address: 10.78.0.1, asn: 64600, accept: [10.200.0.0/16]}, "
    "{address: 10.78.0.2, asn: 64601, accept: [10.200.0.0/16, 10.204.0.0/16]}] #",
)
TABLE = """
ip address add 10.78.0.11/24 dev up0
bgp="proto 186 metric 20"
ip route add 172.27.1.0/24 via 10.78.0.12 dev up0 $bgp
ip route add 10.200.1.0/24 via 10.78.0.2 dev up0 $bgp
ip route add 10.200.2.0/24 $bgp nexthop via 10.78.0.1 dev up0 nexthop via 10.78.0.2 dev up0
ip route add 10.200.3.0/24 $bgp nexthop via 10.78.0.1 dev up0 nexthop via 10.78.0.3 dev up0
ip route add 10.200.4.0/24 via 10.78.0.3 dev up0 $bgp
ip route add 10.204.1.0/24 via 10.78.0.1 dev up0 $bgp
ip route add 10.205.1.9 via 10.78.0.2 dev up0 $bgp
ip route add 10.200.5.0/24 via 10.78.0.2 dev up0 proto 241 metric 4261412864
ip route add 10.205.2.0/24 via 10.78.0.2 dev up0 proto 241 metric 4261412864
ip route add 10.205.1.9 via 10.78.0.3 dev up0 proto 4 metric 7
"""
"""10.78.0.3 is a router that has left, and 10.205.0.0/16 a range that has."""
KEPT = {"172.27.1.0/24", "10.200.1.0/24", "10.200.2.0/24"}
STAND_IN = r"""
printf '#!/bin/sh\ncase $* in *is-enabled*|*is-active*) exit 3 ;; esac\n' >/run/systemctl
chmod 755 /run/systemctl && mount --bind /run/systemctl "$(command -v systemctl)"
"""


def destinations(namespace: Namespace, protocol: int) -> set[str]:
    """The destinations of the routes with one of the kernel's protocol numbers."""
    lines = namespace.sh(f"ip -4 -o route show proto {protocol}").splitlines()
    return {line.split()[0] for line in lines}


def planned(folder: Path) -> tuple[Service, File]:
    """The service of h1 and its program."""
    inventory = example(folder, ROUTERS)
    resources = wanted(inventory, facts(inventory, CASE))
    service = resources[Ref("h1", "service", UNIT)]
    program = resources[Ref("h1", "file", "/etc/provision/mesh/core.bgp.sh")]
    assert isinstance(service, Service) and isinstance(program, File)
    return service, program


def test_a_start_deletes_routes_of_routers_and_ranges_that_have_left(
    namespace: Namespace, tmp_path: Path
) -> None:
    """zebra of FRR 10 would keep them for ever. All others get a copy, also with several hops."""
    before_zebra, found, _ = planned(tmp_path)[1].text.partition("{ sleep 60")
    assert found
    namespace.sh(TABLE + before_zebra)
    assert destinations(namespace, 186) == KEPT
    assert destinations(namespace, 241) == {*KEPT, "10.200.5.0/24"}
    assert destinations(namespace, 4) == {"10.205.1.9"}
    copy = namespace.sh("ip -4 -o route show 10.200.2.0/24 proto 241")
    assert "via 10.78.0.1 dev up0" in copy and "via 10.78.0.2 dev up0" in copy
    assert "metric 4261412864" in copy
    namespace.sh(before_zebra)
    assert destinations(namespace, 186) == KEPT


def test_the_removal_of_a_stopped_service_takes_away_its_routes(
    namespace: Namespace, tmp_path: Path
) -> None:
    """Those of every range; a route of a range that the service never had stays."""
    service, _ = planned(tmp_path)
    path = f"/etc/systemd/system/{UNIT}"
    namespace.sh(f"mkdir -p /etc/systemd/system; cat >{path} <<'@'\n{service.text}\n@\n")
    namespace.sh(TABLE + STAND_IN)
    namespace.do(service.delete())
    assert destinations(namespace, 186) == {"10.205.1.9"}
    assert destinations(namespace, 241) == {"10.205.2.0/24"}
    assert destinations(namespace, 4) == {"10.205.1.9"}
    assert namespace.sh(f"[ -e {path} ] || echo gone") == "gone\n"


def test_a_service_that_ends_for_good_takes_away_its_routes(
    namespace: Namespace, tmp_path: Path
) -> None:
    """And all copies, also those of ranges that have left within the 60 s that they stand."""
    service, _ = planned(tmp_path)
    lines = [line for line in service.text.splitlines() if line.startswith("ExecStopPost=")]
    commands = [line.removeprefix("ExecStopPost=").replace("%n", UNIT) for line in lines]
    namespace.sh("\n".join([TABLE, STAND_IN, *commands]))
    assert destinations(namespace, 186) == {"10.205.1.9"}
    assert not destinations(namespace, 241)
    assert destinations(namespace, 4) == {"10.205.1.9"}
