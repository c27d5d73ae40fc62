"""The same work as pyinfra's users write it; on what the play has made it changes nothing."""

import io

from pyinfra import host, inventory
from pyinfra.operations import files, iptables, systemd


def put(dest, text, mode="644"):
    return files.put(src=io.StringIO(text), dest=dest, mode=mode)


number = host.data.idx
peers = [one for one in inventory.get_group("lab") if one.data.idx != number]
put("/etc/sysctl.d/90-bench.conf", "net.ipv4.ip_forward=1\n")
put("/etc/docker/daemon.json", f'{{"bip":"172.18.{number}.1/24","ip-masq":false}}')
lines = [f"ip route replace 172.18.{one.data.idx}.0/24 via {one.data.peer}\n" for one in peers]
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
