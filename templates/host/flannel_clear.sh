# Removes the device, routes, iptables chain and folder that flanneld leaves on a host.
# Arguments: flanneld's service, its device (empty: none), the network's range, `yes` if flanneld
# masquerades, its folder below /var/lib.
# flanneld sets no protocol on its routes, so they have the kernel's default, `boot`; the route of
# Docker's bridge in the same range has `kernel` and stays.

service=$1 device=$2 range=$3 masquerade=$4 state=$5
systemctl stop "$service" 2>/dev/null
if [ -n "$device" ] && [ -e "/sys/class/net/$device" ]; then ip link del dev "$device" || exit; fi
# The routes of a device go with it. What is left through a gateway are the routes by the NIC that
# flanneld makes with DirectRouting.
if [ -z "$device" ]; then ip -4 route flush root "$range" proto boot || exit
else
  ip -4 route show root "$range" proto boot | grep ' via ' | while read -r route; do
    # shellcheck disable=SC2086 # words for `ip`
    ip -4 route del $route || exit
  done || exit
fi
# Other flannels of the host use a chain of the same name.
if [ "$masquerade" = yes ] &&
  iptables -w 5 -t nat -S FLANNEL-POSTRTG 2>/dev/null | grep -qF -e " $range "; then
  iptables -w 5 -t nat -S POSTROUTING | grep -e '-j FLANNEL-POSTRTG' | sed 's/^-A/-D/' |
    while read -r rule; do eval "iptables -w 5 -t nat $rule" || exit; done
  iptables -w 5 -t nat -F FLANNEL-POSTRTG && iptables -w 5 -t nat -X FLANNEL-POSTRTG || exit
fi
[ ! -d "/var/lib/$state" ] || { rm -rf -- "/var/lib/$state" &&
  (cd /var/lib && rmdir -p --ignore-fail-on-non-empty -- "${state%/*}"); }
