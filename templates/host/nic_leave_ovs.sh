# Gives a NIC its addresses and routes back, and removes its bridge of Open vSwitch.
# Prelude: host/nic_to_bridge.sh host/manager_networkd.sh
# $1: the mark of the bridge; then our files of the NIC's manager to remove.

mark=$1; shift
start_pings
routes="$routes
$(marked_routes "$bridge")"
from_dhcp "$bridge"
notify "$nic" 1
if exists "$nic"; then
  ! exists "$bridge" || copy_neighbours "$bridge" "$nic"
  {
    echo "link set dev $nic up"
    lines "$addresses" | sed "s/^/address replace /;s/\$/ dev $nic/"
    lines "$routes" | sed "s/^/route replace /;s/\$/ dev $nic/"
    ! exists "$bridge" || lines "$addresses" | while read -r address _; do
      ! has_address "$bridge" "$address" || echo "address delete $address dev $bridge"
    done
    lines "$routes" | sed "s/^/route replace /;s/\$/ dev $nic/"
  } | batch || exit
fi
remove_files "$mark" "$@" || exit
ovs-vsctl --timeout=10 --if-exists del-br "$bridge" || exit
notify "$nic" 0
after_leave || exit
return_lease
report_pings
