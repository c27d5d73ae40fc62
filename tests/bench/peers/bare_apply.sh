# The objects of a network of routes, made without a look at what is there.
#
# Needs number, size, data and image: this host's number, how many hosts there are, the first three
# parts of the addresses of their NICs, and the containers' image.
# shellcheck shell=sh disable=SC2154
set -eu
subnet=172.20.$number.0/24
sysctl -qw net.ipv4.ip_forward=1
docker network create --subnet "$subnet" --opt com.docker.network.bridge.name=br-bare \
    --opt com.docker.network.driver.mtu=1500 bare >/dev/null
iptables -N BARE
iptables -A BARE -s 172.20.0.0/16 -d 172.20.0.0/16 -j ACCEPT
iptables -I DOCKER-USER -j BARE
iptables -t nat -I POSTROUTING -s 172.20.0.0/16 -d 172.20.0.0/16 -j ACCEPT
peer=0
while [ "$peer" -lt "$size" ]; do
    peer=$((peer + 1))
    [ "$peer" -eq "$number" ] || echo "route replace 172.20.$peer.0/24 via $data.$((peer + 10))"
done >/etc/bare.routes
ip -batch /etc/bare.routes
cat >/etc/systemd/system/bare.service <<UNIT
[Unit]
After=docker.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c "iptables -N BARE; iptables -A BARE -s 172.20.0.0/16 -d 172.20.0.0/16 -j ACCEPT"
ExecStart=/bin/sh -c "iptables -C DOCKER-USER -j BARE || iptables -I DOCKER-USER -j BARE"
ExecStart=/sbin/ip -batch /etc/bare.routes
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl -q enable bare.service
docker run --detach --name bare --restart unless-stopped --network bare "$image" \
    /bin/busybox sleep 2147483647 >/dev/null
