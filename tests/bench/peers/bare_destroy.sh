# Removes what bare_apply.sh has made. Needs number and size, as that does.
# shellcheck shell=sh disable=SC2154
set -eu
docker rm --force bare >/dev/null
systemctl -q disable bare.service
rm /etc/systemd/system/bare.service
systemctl daemon-reload
sed 's/replace/del/' /etc/bare.routes | ip -batch -
rm /etc/bare.routes
iptables -t nat -D POSTROUTING -s 172.20.0.0/16 -d 172.20.0.0/16 -j ACCEPT
iptables -D DOCKER-USER -j BARE
iptables -F BARE
iptables -X BARE
docker network rm bare >/dev/null
