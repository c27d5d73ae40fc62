# The host's NICs: managers, files, leases, and whatever forbids to bridge them.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: name arp_program arp_checks
# $arp_program is checks/lan.pl, empty where no address is probed by ARP; $arp_checks are its
# checks, `own ADDRESS` or `router ADDRESS`. The managers' own state files say which links they own:
# /run/systemd/netif of networkd, /run/NetworkManager/devices, /run/network/ifstate of ifupdown.
# Asking the managers by `networkctl` or `nmcli` would start a process for each link, also on hosts
# that bridge no NIC.

for link in /sys/class/net/*; do
  nic=${link##*/}
  [ ! -d "$link/phy80211" ] && [ ! -d "$link/wireless" ] || echo "wireless $nic"
  [ ! -d "$link/bridge" ] || echo "bridge $nic"
  [ ! -d "$link/bridge" ] || [ -e "$link/bridge/vlan_filtering" ] || echo "unfiltered $nic"
  read -r index 2>/dev/null <"$link/ifindex" || continue
  if [ -f "/run/systemd/netif/links/$index" ]; then
    while read -r line; do
      case $line in NETWORK_FILE=?*)
        path=${line#*=}
        echo "networkd $nic $path"
        for part in "$path" /etc/systemd/network/"${path##*/}".d/*.conf; do
          [ ! -f "$part" ] || echo "network_file $nic $(base64 -w0 <"$part")"
        done
      esac
    done <"/run/systemd/netif/links/$index"
    [ ! -s "/run/systemd/netif/leases/$index" ] || echo "lease $nic"
  fi
  if [ -f "/run/NetworkManager/devices/$index" ]; then
    while read -r line; do
      case $line in managed=true | managed=1) echo "manager $nic NetworkManager" ;; esac
    done <"/run/NetworkManager/devices/$index"
  fi
  if [ -f /run/network/ifstate ]; then
    while read -r line; do
      case $line in "$nic="*) echo "manager $nic ifupdown" ;; esac
    done </run/network/ifstate
  fi
done
for record in /var/lib/provision/was/"$name"/uplink/*; do
  [ ! -f "$record" ] || echo "was ${record##*/} $(head -c 65536 "$record" | base64 -w0)"
done
while read -r key rest; do
  case $key in nameserver | search | domain | options) echo "dns $key $rest" ;; esac
done </etc/resolv.conf 2>/dev/null
for claim in /etc/provision/"$name"/attachments/*/*; do
  [ -f "$claim" ] || continue
  read -r kind _ parent _ <"$claim"
  [ "$kind" != nic ] || echo "given $parent"
done
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
shared every_route
