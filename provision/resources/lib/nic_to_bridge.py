"""Shell programs that make a NIC a bridge's port and give it back. Pure text.

All that touches the path of the host's own packets is in one `ip -batch`, in the order in which
nothing is lost: NIC the bridge's port, addresses above, routes above, addresses off the NIC, routes
once more. A port's frames reach the host by its bridge and leave by the NIC itself, so either may
hold the addresses meanwhile. Each program takes the state as it is: what is done already is left
out.

What would make a gap is done before: a bridge drops all it is to send until it had a port that is
up, and the kernel sees to that in a worker of its own, hence a veth as its first port; and a link
that knows no neighbour asks for it first, hence the NIC's neighbours go to the bridge.
"""

from __future__ import annotations

_BEGIN = r"""
ping=$1; shift
bridge=$1 nic=$2 seat=$3 other=$4 mac=$5 seat_mac=$6 mtu=$7 stp=$8 filtering=$9; shift 9
vlans=$1 addresses=$2 routes=$3 peer=$4; shift 4
master() { link=$(readlink "/sys/class/net/$1/master") && echo "${link##*/}"; }
there() { [ -e "/sys/class/net/$1" ]; }
lines() { printf '%s\n' "$1" | grep .; }
on() {
  ip -o address show dev "$1" 2>/dev/null | sed 's/^[0-9]*: *[^ ]* *inet6\{0,1\} \([^ ]*\).*/\1/'
}
has() { on "$1" | grep -qxF "${2%% *}"; }
# The kernel tells all neighbours when the MAC is set (again) on a link that may notify.
notify() { for file in ipv4/conf/"$1"/arp_notify ipv6/conf/"$1"/ndisc_notify; do
  [ ! -e "/proc/sys/net/$file" ] || echo "$2" >"/proc/sys/net/$file"
done; }
# Nothing else of the host shall come before these for long.
first='nice -n -20'; ! chrt -f 1 true 2>/dev/null || first='chrt -f 1'
# All lines are there before the first is done.
at_once() { moves=$(cat) && printf '%s\n' "$moves" | $first ip -batch -; }
# Routers and the peer are known on the other link, too: they need not be asked for while packets
# wait. Nobody else: what a container had that goes may soon be another's.
acquaint() {
  known=" $peer $(lines "$routes" | sed -n 's/.* via \([^ ]*\).*/\1/p' | tr '\n' ' ') "
  ip neigh show dev "$1" 2>/dev/null |
    sed -n 's/^\([^ ]*\) .*lladdr \([0-9a-f:]*\) \(.*\)/\1 \2 \3/p' |
    while read -r address lladdr state; do
      case $known in *" $address "*) ;; *) continue ;; esac
      case $state in *PERMANENT*) kept=permanent ;; *) kept=stale ;; esac
      echo "neigh replace $address lladdr $lladdr dev $2 nud $kept"
    done | ip -force -batch - >/dev/null 2>&1 || :
}
unwarmed() { ! there provision-warm || ip link delete dev provision-warm; }
# A ping each 5 ms to who is on the other side tells how long nothing came through.
watched() {
  # One name: what a killed one leaves goes with the way back.
  pings=; silence=/run/provision-ping.$nic; : >"$silence" || return 0
  trap 'rm -f "$silence"; [ -z "$pings" ] || kill "$pings" 2>/dev/null' EXIT
  [ "$peer" != - ] || return 0
  $first perl -e "$ping" "$peer" >"$silence" 2>/dev/null 9>&- &
  pings=$!
  sleep 0.3
}
told() {
  if [ -n "$pings" ]; then
    sleep 0.2
    kill "$pings" 2>/dev/null
    wait "$pings" 2>/dev/null
    cat "$silence"
    pings=
  fi
}
agree() { # networkd reads its files again; nothing changes, as all is as they say
  ! systemctl -q is-active systemd-networkd || networkctl reload || return
}
"""

JOIN = (
    _BEGIN
    + r"""
delay=0; [ "$stp" = 0 ] || delay=1500
settings="stp_state $stp forward_delay $delay"
# Not every kernel can: it is a setting of its own.
[ "$filtering" = 0 ] || settings="$settings vlan_filtering 1"
{
  there "$bridge" || echo "link add name $bridge address $mac type bridge $settings"
  echo "link set dev $bridge alias provision:$1"
  echo "link set dev $bridge type bridge $settings"
  echo "link set dev $bridge mtu $mtu up"
  if [ "$seat" != "$bridge" ]; then
    there "$seat" || echo "link add name $seat address $seat_mac mtu $mtu" \
      "type veth peer name $other mtu $mtu"
    echo "link set dev $other master $bridge up"
    echo "link set dev $seat up"
  elif [ "$(master "$nic")" != "$bridge" ] && [ "$stp" = 0 ]; then
    there provision-warm ||
      echo "link add name provision-warm mtu $mtu type veth peer name provision-warm1 mtu $mtu"
    echo "link set dev provision-warm addrgenmode none master $bridge up"
    echo "link set dev provision-warm1 addrgenmode none up"
  fi
} | ip -batch - || exit
notify "$seat" 1
watched
for _ in 1 2 3 4 5 6 7 8 9 10; do
  [ "$stp" = 0 ] && [ "$(cat "/sys/class/net/$bridge/operstate")" != up ] || break
  sleep 0.1
done
acquaint "$nic" "$seat"
{
  [ "$(master "$nic")" = "$bridge" ] || echo "link set dev $nic master $bridge"
  lines "$addresses" | sed "s/^/address replace /;s/\$/ dev $seat/"
  lines "$routes" | sed "s/^/route replace /;s/\$/ dev $seat/"
  lines "$addresses" | while read -r address rest; do
    ! has "$nic" "$address" || echo "address delete $address dev $nic"
  done
  lines "$routes" | sed "s/^/route replace /;s/\$/ dev $seat/"
  [ "$seat" = "$bridge" ] || echo "link set dev $seat address $seat_mac"
} | at_once || exit
unwarmed || exit
for vlan in $vlans; do bridge vlan add dev "$nic" vid "$vlan" || exit; done
agree || exit
told
"""
)
"""Arguments: the program of `checks/silence.pl`, bridge, NIC, the link that holds the host's
addresses and its other end, MAC, MAC of that link, MTU, STP (0 or 1), VLAN filtering (0 or 1),
VLANs, then addresses and routes as lines of words of iproute2, whom to ping meanwhile (`-`:
nobody), and what the mark says after its first word."""

LEAVE = (
    _BEGIN
    + r"""
files=$2
watched
notify "$nic" 1
# networkd 257 takes a port that is freed for a new link and would drop its routes: until the NIC is
# out it leaves it alone. Where that cannot be said the NIC goes back all the same.
[ "$(master "$nic")" != "$bridge" ] || for file in $files; do
  case $file in *-nic.network)
    printf '[Match]\nName=%s\n\n[Link]\nUnmanaged=yes\n' "$nic" >"$file" && agree || :
  esac
done
if there "$nic"; then
  ! there "$seat" || acquaint "$seat" "$nic"
  {
    echo "link set dev $nic up"
    lines "$addresses" | sed "s/^/address replace /;s/\$/ dev $nic/"
    lines "$routes" | sed "s/^/route replace /;s/\$/ dev $nic/"
    ! there "$seat" || lines "$addresses" | while read -r address rest; do
      ! has "$seat" "$address" || echo "address delete $address dev $seat"
    done
    lines "$routes" | sed "s/^/route replace /;s/\$/ dev $nic/"
    [ "$(master "$nic")" != "$bridge" ] || echo "link set dev $nic nomaster"
    [ "$seat" = "$bridge" ] || echo "link set dev $nic address $mac"
  } | at_once || exit
fi
notify "$nic" 0
rm -f -- $files
agree || exit
unwarmed || exit
# In this order: networkd 252 gives up a link whose bridge goes while it is still to be its port.
[ "$seat" = "$bridge" ] || ! there "$seat" || ip link delete dev "$seat" || exit
! there "$bridge" || ip link delete dev "$bridge" || exit
told
"""
)
"""The same arguments, and the files of networkd's that go."""

JOIN_OVS = (
    _BEGIN
    + r"""
datapath=$2
ovs() { ovs-vsctl --timeout=10 "$@"; }
spanning=false; [ "$stp" = 0 ] || spanning=true
ovs --may-exist add-br "$bridge" -- set bridge "$bridge" datapath_type="$datapath" \
  fail_mode=standalone stp_enable="$spanning" other_config:hwaddr="\"$mac\"" \
  external_ids:provision-lan="\"$1\"" || exit
ip link set dev "$bridge" mtu "$mtu" up && notify "$bridge" 1 || exit
watched
acquaint "$nic" "$bridge"
ovs --may-exist add-port "$bridge" "$nic" -- set port "$nic" external_ids:provision="\"$1\"" || exit
{
  lines "$addresses" | sed "s/^/address replace /;s/\$/ dev $bridge/"
  lines "$routes" | sed "s/^/route replace /;s/\$/ dev $bridge/"
  lines "$addresses" | while read -r address rest; do
    ! has "$nic" "$address" || echo "address delete $address dev $nic"
  done
  lines "$routes" | sed "s/^/route replace /;s/\$/ dev $bridge/"
} | at_once || exit
agree || exit
told
"""
)
"""For a bridge of Open vSwitch: the same arguments, and its datapath.

Its mark has a key of its own: kind `ovs_bridge` takes what is marked `provision` for its own.
"""

LEAVE_OVS = (
    _BEGIN
    + r"""
files=$2
watched
notify "$nic" 1
if there "$nic"; then
  ! there "$bridge" || acquaint "$bridge" "$nic"
  {
    echo "link set dev $nic up"
    lines "$addresses" | sed "s/^/address replace /;s/\$/ dev $nic/"
    lines "$routes" | sed "s/^/route replace /;s/\$/ dev $nic/"
    ! there "$bridge" || lines "$addresses" | while read -r address rest; do
      ! has "$bridge" "$address" || echo "address delete $address dev $bridge"
    done
    lines "$routes" | sed "s/^/route replace /;s/\$/ dev $nic/"
  } | at_once || exit
fi
rm -f -- $files
ovs-vsctl --timeout=10 --if-exists del-br "$bridge" || exit
notify "$nic" 0
agree || exit
told
"""
)
"""The same arguments, and the files of networkd's that go."""
