# Makes a NIC the port of a Linux bridge, which takes over its addresses and routes.
# Prelude: host/nic_to_bridge.sh host/manager_networkd.sh
# $1: the mark of the bridge.

delay=0; [ "$stp" = 0 ] || delay=1500
# A kernel built without BRIDGE_VLAN_FILTERING refuses the setting itself, also 0.
was_filtering=$(cat "/sys/class/net/$bridge/bridge/vlan_filtering" 2>/dev/null)
vlan_filtering=; [ "$filtering" = "${was_filtering:-0}" ] || vlan_filtering="vlan_filtering $filtering"
{
  # Docker makes a bridge of its network that somebody deleted, with another MAC.
  if ! exists "$bridge"; then
    echo "link add name $bridge address $mac type bridge forward_delay $delay"
  elif [ "$(cat "/sys/class/net/$bridge/address")" != "$mac" ]; then
    notify "$bridge" 1
    echo "link set dev $bridge address $mac"
  fi
  echo "link set dev $bridge alias provision:$1"
  # Two lines: of one, the kernel sets the delay first, and while STP is on it refuses less than 2 s.
  echo "link set dev $bridge type bridge stp_state $stp $vlan_filtering"
  # A bridge takes its own delay only as the root of the tree, which it is by the best priority.
  [ "$stp" = 1 ] || echo "link set dev $bridge type bridge priority 0"
  echo "link set dev $bridge type bridge forward_delay $delay"
  [ "$stp" = 1 ] || echo "link set dev $bridge type bridge priority 32768"
  echo "link set dev $bridge mtu $mtu up"
  if [ "$host_link" != "$bridge" ]; then
    exists "$host_link" || echo "link add name $host_link address $host_mac mtu $mtu" \
      "type veth peer name $veth_end mtu $mtu"
    echo "link set dev $veth_end master $bridge up"
    echo "link set dev $host_link up"
  elif [ "$(master "$nic")" != "$bridge" ] && [ "$stp" = 0 ]; then
    exists provision-warm ||
      echo "link add name provision-warm mtu $mtu type veth peer name provision-warm1 mtu $mtu"
    echo "link set dev provision-warm addrgenmode none master $bridge up"
    echo "link set dev provision-warm1 addrgenmode none up"
  fi
} | ip -batch - || exit
# The kind arp_ignore keeps it so. Until then the LAN would have two answers with different MACs.
[ "$host_link" = "$bridge" ] || echo 8 >"/proc/sys/net/ipv4/conf/$bridge/arp_ignore" || exit
notify "$host_link" 1
start_pings
routes="$routes
$(marked_routes "$nic")"
from_dhcp "$nic"
for _ in 1 2 3 4 5 6 7 8 9 10; do
  [ "$stp" = 0 ] && [ "$(cat "/sys/class/net/$bridge/operstate")" != up ] || break
  sleep 0.1
done
before_join || exit
copy_neighbours "$nic" "$host_link"
{
  [ "$(master "$nic")" = "$bridge" ] || echo "link set dev $nic master $bridge"
  lines "$addresses" | sed "s/^/address replace /;s/\$/ dev $host_link/"
  lines "$routes" | sed "s/^/route replace /;s/\$/ dev $host_link/"
  lines "$addresses" | while read -r address _; do
    ! has_address "$nic" "$address" || echo "address delete $address dev $nic"
  done
  lines "$routes" | sed "s/^/route replace /;s/\$/ dev $host_link/"
  [ "$host_link" = "$bridge" ] || echo "link set dev $host_link address $host_mac"
} | batch || exit
delete_warm_veth || exit
for vlan in $vlans; do bridge vlan add dev "$nic" vid "$vlan" || exit; done
# VLAN 1 is the untagged one: of the NIC, and of the host on the bridge itself or on its veth.
if [ "$filtering" != 0 ]; then
  bridge vlan add dev "$nic" vid 1 pvid untagged || exit
  if [ "$host_link" = "$bridge" ]; then bridge vlan add dev "$bridge" vid 1 pvid untagged self
  else bridge vlan add dev "$veth_end" vid 1 pvid untagged; fi || exit
  for vlan in $(bridge -j vlan show dev "$nic" | grep -o '"vlan":[0-9]*' | grep -o '[0-9]*$'); do
    case " 1 $vlans " in *" $vlan "*) ;; *) bridge vlan delete dev "$nic" vid "$vlan" || exit ;; esac
  done
fi
after_join || exit
await_lease "$host_link" 30 || exit
report_pings
