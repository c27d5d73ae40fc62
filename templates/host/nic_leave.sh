# Gives a NIC its addresses and routes back, and removes its Linux bridge.
# Prelude: host/nic_to_bridge.sh
# $1: the mark of the bridge; then the files of systemd-networkd to remove.

mark=$1; shift
start_pings
routes="$routes
$(marked_routes "$host_link")"
notify "$nic" 1
# systemd-networkd 257 takes a released port for a new link and would drop its routes: the NIC is
# unmanaged until it has left. If that file cannot be written, the NIC leaves all the same.
[ "$(master "$nic")" != "$bridge" ] || for file; do
  case $file in *-nic.network)
    printf '# provision:%s\n[Match]\nName=%s\n\n[Link]\nUnmanaged=yes\n' \
      "${mark%%/*}" "$nic" >"$file" && reload_networkd || :
  esac
done
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
reload_networkd || exit
delete_warm_veth || exit
# The veth goes first: systemd-networkd 252 fails a link whose bridge disappears while the link is
# still configured as its port.
[ "$host_link" = "$bridge" ] || ! exists "$host_link" || ip link delete dev "$host_link" || exit
! exists "$bridge" || ip link delete dev "$bridge" || exit
report_pings
