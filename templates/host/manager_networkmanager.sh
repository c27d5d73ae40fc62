# Makes NetworkManager agree with a NIC that became a port of a bridge, or left it. While it is stopped
# it leaves the links as they are, and when it starts it takes over the profile that its state names
# for each of them: nothing is activated again, which would lose packets.
# Prelude: host/nic_to_bridge.sh
# Variables: manager_arguments
# Defines: before_join after_join before_leave after_leave after_removal after_lease on_exit
# Defines: has_lease adopts_leases devices keep_address keeping_profile write_profiles delete_doubled_routes
# $manager_arguments: the UUIDs of the NIC's own profile, of the bridge's, and of its port's.

own_uuid=${manager_arguments%% *} port_uuid=${manager_arguments##* }
bridge_uuid=${manager_arguments#* } bridge_uuid=${bridge_uuid% *}
# A killed program leaves the file behind: the next one starts NetworkManager again.
stopped=/run/provision-nm-stopped
devices=/run/NetworkManager/devices
# Its DHCP client takes over an address that has an end; any other one it would remove and add again.
adopts_leases=yes
# A profile in /run hides that of the same UUID in /etc: by this one NetworkManager keeps the address of the
# NIC until the DHCP server has answered, instead of giving up after `dhcp-timeout`.
keeping=/run/NetworkManager/system-connections/provision-$nic.nmconnection
keep_address() {
  own=$(grep -lsxF -e "uuid=$own_uuid" /etc/NetworkManager/system-connections/* \
    /usr/lib/NetworkManager/system-connections/* | head -n 1)
  [ -z "$leased" ] || [ -z "$own" ] || keeping_profile "$own" "$keeping"
}
keeping_profile() { # profile, the file that is the same but for its timeout
  (umask 077 && mkdir -p "${2%/*}" &&
    sed '/^dhcp-timeout=/d;s/^\[ipv4\]$/&\ndhcp-timeout=2147483647/' "$1" >"$2.provision" && mv -f "$2.provision" "$2")
}
# The address that the DHCP client of one profile asks for is that of the other one.
hand_over_lease() { # UUID and link of one, UUID and link of the other
  leases=/var/lib/NetworkManager
  [ -z "$leased" ] || [ ! -f "$leases/internal-$1-$2.lease" ] ||
    cp -p "$leases/internal-$1-$2.lease" "$leases/internal-$3-$4.lease"
}
has_lease() { # link, address
  ip -4 -o address show dev "$1" dynamic 2>/dev/null | grep -qF " $2 " &&
    nmcli -t -g DHCP4.OPTION device show "$1" 2>/dev/null | tr '|' '\n' |
    grep -q "^ *ip_address = ${2%/*} *\$"
}
stop_manager() {
  systemctl -q is-active NetworkManager || return 0
  : >"$stopped" && systemctl stop NetworkManager
}
start_manager() {
  [ -e "$stopped" ] || return 0
  systemctl start NetworkManager && rm -f "$stopped"
}
on_exit() { start_manager; }
set_profile() { # link, UUID of its profile, true for a link that NetworkManager may delete
  state=$devices/$(cat "/sys/class/net/$1/ifindex") || return
  [ -f "$state" ] || printf '[device]\nmanaged=true\n' >"$state" || return
  # The file may have another section behind this one: that of its lease.
  sed "/^connection-uuid=/d;/^nm-owned=/d;s/^\\[device\\]\$/&\\nconnection-uuid=$2\\nnm-owned=$3/" "$state" \
    >"$state.provision" && mv -f "$state.provision" "$state"
}
# 70 to 90 are the states of a NIC that waits for its lease.
connected() { # link, UUID
  state=" $(nmcli -t -g GENERAL.CON-UUID,GENERAL.STATE device show "$1" 2>/dev/null | tr '\n' ' ') "
  case $state in *" $2 "*) ;; *) return 1 ;; esac
  case $state in *' 100 '*) ;; *' 70 '*|*' 80 '*|*' 90 '*) [ -n "$leased" ] ;; *) return 1 ;; esac
}
await_profile() { # link, UUID
  tries=0
  until connected "$1" "$2"; do
    tries=$((tries + 1))
    [ $tries -lt 150 ] || { echo "NetworkManager does not use the profile $2 for $1" >&2; return 1; }
    sleep 0.2
  done
}
# Another manager may have to write the profiles, while NetworkManager is stopped.
write_profiles() { :; }
before_join() { stop_manager; }
after_join() {
  [ -e "$stopped" ] || return 0
  rm -f "$keeping" && write_profiles && hand_over_lease "$own_uuid" "$nic" "$bridge_uuid" "$bridge" || return
  # netplan apply, like nmcli device disconnect, deletes a bridge of NetworkManager, and makes it anew.
  set_profile "$nic" "$port_uuid" false && set_profile "$bridge" "$bridge_uuid" true &&
    start_manager && await_profile "$nic" "$port_uuid" && await_profile "$bridge" "$bridge_uuid"
}
before_leave() { stop_manager; }
after_leave() {
  [ -e "$stopped" ] || return 0
  write_profiles && hand_over_lease "$bridge_uuid" "$bridge" "$own_uuid" "$nic" && keep_address || return
  rm -f "/var/lib/NetworkManager/internal-$bridge_uuid-$bridge.lease"
  ! exists "$nic" || set_profile "$nic" "$own_uuid" false || return
  ! exists "$bridge" || rm -f "$devices/$(cat "/sys/class/net/$bridge/ifindex")"
}
# NetworkManager chooses the metric of a range anew at each boot: the recorded route is a second one
# then, once its own is there.
delete_doubled_routes() {
  # 2 is RTPROT_KERNEL, 16 RTPROT_DHCP.
  lines "$routes" | grep -e ' proto 2$' -e ' proto 16$' |
    sed -n 's/^\([^ ]*\) .*metric \([0-9]*\) .*/\1 \2/p' | sort -u | while read -r range metric; do
      [ "$(ip route show "$range" dev "$nic" | grep -c .)" -lt 2 ] ||
        ip route delete "$range" dev "$nic" metric "$metric"
    done
}
after_removal() {
  [ -e "$stopped" ] || return 0
  start_manager || return
  ! exists "$nic" || { await_profile "$nic" "$own_uuid" && delete_doubled_routes; }
}
after_lease() { rm -f "$keeping" && nmcli connection reload && delete_doubled_routes; }
