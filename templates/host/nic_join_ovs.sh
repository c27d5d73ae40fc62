# Makes a NIC the port of a bridge of Open vSwitch, which takes over its addresses and routes.
# Prelude: host/nic_to_bridge.sh host/manager_networkd.sh host/ovs_device.sh
# $1: the mark of the bridge; $2: the datapath type.
# The mark has a key of its own (provision-lan): kind `ovs_bridge` owns what has the key provision.

datapath=$2
ovs() { ovs-vsctl --timeout=10 "$@"; }
stp_enable=false; [ "$stp" = 0 ] || stp_enable=true
ovs --may-exist add-br "$bridge" -- set bridge "$bridge" datapath_type="$datapath" \
  fail_mode=standalone stp_enable="$stp_enable" other_config:hwaddr="\"$mac\"" \
  external_ids:provision-lan="\"$1\"" || exit
renew_device "$bridge" || exit
ip link set dev "$bridge" mtu "$mtu" up && notify "$bridge" 1 || exit
start_pings
routes="$routes
$(marked_routes "$nic")"
from_dhcp "$nic"
before_join || exit
copy_neighbours "$nic" "$bridge"
ovs --may-exist add-port "$bridge" "$nic" -- set port "$nic" external_ids:provision="\"$1\"" || exit
{
  lines "$addresses" | sed "s/^/address replace /;s/\$/ dev $bridge/"
  lines "$routes" | sed "s/^/route replace /;s/\$/ dev $bridge/"
  lines "$addresses" | while read -r address _; do
    ! has_address "$nic" "$address" || echo "address delete $address dev $nic"
  done
  lines "$routes" | sed "s/^/route replace /;s/\$/ dev $bridge/"
} | batch || exit
after_join || exit
await_lease "$host_link" 30 || exit
report_pings
