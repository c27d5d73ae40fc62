# Makes NetworkManager agree with a NIC that became a port of a bridge, or left it. While it is stopped
# it leaves the links as they are, and when it starts it takes over the profile that its state names
# for each of them: nothing is activated again, which would lose packets.
# Prelude: host/nic_to_bridge.sh
# Variables: manager_arguments
# Defines: before_join after_join before_leave after_leave after_removal on_exit
# $manager_arguments: the UUIDs of the NIC's own profile, of the bridge's, and of its port's.

own_uuid=${manager_arguments%% *} port_uuid=${manager_arguments##* }
bridge_uuid=${manager_arguments#* } bridge_uuid=${bridge_uuid% *}
# A killed program leaves the file behind: the next one starts NetworkManager again.
stopped=/run/provision-nm-stopped
devices=/run/NetworkManager/devices
stop_manager() {
  systemctl -q is-active NetworkManager || return 0
  : >"$stopped" && systemctl stop NetworkManager
}
start_manager() {
  [ -e "$stopped" ] || return 0
  systemctl start NetworkManager && rm -f "$stopped"
}
on_exit() { start_manager; }
set_profile() { # link, UUID of its profile, lines of a file that does not exist yet
  state=$devices/$(cat "/sys/class/net/$1/ifindex") || return
  [ -f "$state" ] || printf '[device]\nmanaged=true\n%s' "$3" >"$state" || return
  { grep -v '^connection-uuid=' "$state"; echo "connection-uuid=$2"; } >"$state.provision" &&
    mv -f "$state.provision" "$state"
}
connected() { # link, UUID
  nmcli -t -g GENERAL.CON-UUID,GENERAL.STATE device show "$1" 2>/dev/null |
    tr '\n' ' ' | grep -q "$2.* 100 \|100 .*$2"
}
await_profile() { # link, UUID
  tries=0
  until connected "$1" "$2"; do
    tries=$((tries + 1))
    [ $tries -lt 150 ] || { echo "NetworkManager does not use the profile $2 for $1" >&2; return 1; }
    sleep 0.2
  done
}
before_join() { stop_manager; }
after_join() {
  [ -e "$stopped" ] || return 0
  set_profile "$nic" "$port_uuid" '' && set_profile "$bridge" "$bridge_uuid" 'nm-owned=true
' && start_manager && await_profile "$nic" "$port_uuid" && await_profile "$bridge" "$bridge_uuid"
}
before_leave() { stop_manager; }
after_leave() {
  [ -e "$stopped" ] || return 0
  ! exists "$nic" || set_profile "$nic" "$own_uuid" '' || return
  ! exists "$bridge" || rm -f "$devices/$(cat "/sys/class/net/$bridge/ifindex")"
}
# NetworkManager chooses the metric of a range anew at each boot: the recorded route is a second one
# then, once its own is there.
delete_doubled_routes() {
  lines "$routes" | sed -n 's/^\([^ ]*\) .*metric \([0-9]*\) .*proto 2$/\1 \2/p' |
    while read -r range metric; do
      [ "$(ip route show "$range" dev "$nic" | grep -c .)" -lt 2 ] ||
        ip route delete "$range" dev "$nic" metric "$metric"
    done
}
after_removal() {
  [ -e "$stopped" ] || return 0
  start_manager || return
  ! exists "$nic" || { await_profile "$nic" "$own_uuid" && delete_doubled_routes; }
}
