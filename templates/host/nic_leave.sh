# Gives a NIC its addresses and routes back, and removes its Linux bridge.
# Prelude: host/nic_to_bridge.sh host/manager_networkd.sh
# $1: the mark of the bridge; then our files of the NIC's manager to remove.

mark=$1; shift
start_pings
routes="$routes
$(marked_routes "$host_link")"
from_dhcp "$host_link"
notify "$nic" 1
before_leave "$mark" "$@" || exit
if exists "$nic"; then
  ! exists "$host_link" || copy_neighbours "$host_link" "$nic"
  {
    echo "link set dev $nic up"
    lines "$addresses" | sed "s/^/address replace /;s/\$/ dev $nic/"
    lines "$routes" | sed "s/^/route replace /;s/\$/ dev $nic/"
    ! exists "$host_link" || lines "$addresses" | while read -r address _; do
      ! has_address "$host_link" "$address" || echo "address delete $address dev $host_link"
    done
    lines "$routes" | sed "s/^/route replace /;s/\$/ dev $nic/"
    [ "$(master "$nic")" != "$bridge" ] || echo "link set dev $nic nomaster"
    [ "$host_link" = "$bridge" ] || echo "link set dev $nic address $mac"
  } | batch || exit
fi
notify "$nic" 0
remove_files "$mark" "$@" || exit
after_leave || exit
delete_warm_veth || exit
# The veth goes first: systemd-networkd 252 fails a link whose bridge disappears while the link is
# still configured as its port.
[ "$host_link" = "$bridge" ] || ! exists "$host_link" || ip link delete dev "$host_link" || exit
! exists "$bridge" || ip link delete dev "$bridge" || exit
after_removal || exit
return_lease
report_pings
