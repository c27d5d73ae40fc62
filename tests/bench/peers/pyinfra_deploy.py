"""The work of play.yml as users of pyinfra write it; after the play it changes nothing."""

import io

from pyinfra import host, inventory
from pyinfra.operations import files, iptables, systemd


def put(dest, text, mode="644"):
    return files.put(src=io.StringIO(text), dest=dest, mode=mode)


number = host.data.idx
peers = [peer for peer in inventory.get_group("lab") if peer.data.idx != number]
put("/etc/sysctl.d/90-bench.conf", "net.ipv4.ip_forward=1\n")
put("/etc/docker/daemon.json", f'{{"bip":"172.18.{number}.1/24","ip-masq":false}}')
lines = [f"ip route replace 172.18.{peer.data.idx}.0/24 via {peer.data.peer}\n" for peer in peers]
put("/etc/bench-routes.sh", "#!/bin/sh\n" + "".join(lines), "755")
iptables.rule(
    chain="DOCKER-USER",
    jump="ACCEPT",
    source="172.18.0.0/16",
    destination="172.18.0.0/16",
    append=False,
)
put(
    "/etc/systemd/system/bench-routes.service",
    "[Unit]\nAfter=network-online.target docker.service\n[Service]\nType=oneshot\n"
    "RemainAfterExit=yes\nExecStart=/etc/bench-routes.sh\n[Install]\nWantedBy=multi-user.target\n",
)
systemd.service("bench-routes", running=True, enabled=True, daemon_reload=True)
