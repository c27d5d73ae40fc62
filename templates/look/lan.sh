# What a bridge on the hosts' LAN needs to know of a host: VLAN filtering, name servers, addresses
# in use.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: name arp_program arp_checks
# $arp_program is checks/lan.pl, empty where no address is probed by ARP; $arp_checks are its checks,
# `own ADDRESS` or `router ADDRESS`.

for bridge in /sys/class/net/*/bridge; do
  [ ! -d "$bridge" ] || [ -e "$bridge/vlan_filtering" ] || echo "unfiltered $bridge"
done
while read -r key rest; do
  case $key in nameserver | search | domain | options) echo "dns $key $rest" ;; esac
done </etc/resolv.conf 2>/dev/null
# Only before this inventory's first apply, while the NIC itself still has the addresses.
[ -z "$arp_program" ] || [ -n "$(ls /var/lib/provision/was/"$name"/uplink 2>/dev/null)" ] || {
  address=${arp_checks#* }
  nic=$(ip -o route get "${address%% *}" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p')
  for word in $arp_checks; do
    set -- "$@" "$word"
    case $word in *.*) set -- "$@" "$word" ;; esac # an address is also the name of its target
  done
  [ -z "$nic" ] || perl -e "$arp_program" "$name" "$nic" 1500 "$@"
}
:
