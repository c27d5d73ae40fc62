"""Shell programs that make a NIC a bridge's port and give it back. Pure text.

All that touches the path of the host's own packets is in one `ip -batch`, in the order in which
nothing is lost: bridge up, NIC its port, addresses above, routes above, addresses off the NIC,
routes once more, neighbours told. Each program takes the state as it is: what is done already is
left out.
"""

from __future__ import annotations

_BEGIN = r"""
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
# A ping each 5 ms to who is on the other side tells how long nothing came through.
watched() {
  pings=; silence=$(mktemp /run/provision-ping.XXXXXX) || return 0
  [ "$peer" != - ] && ping -V 2>/dev/null | grep -q iputils || return 0
  ping -n -D -i 0.005 -w 60 "$peer" >"$silence" 2>/dev/null 9>&- &
  pings=$!
  sleep 0.3
}
told() {
  if [ -n "$pings" ]; then
    sleep 0.5
    kill -INT "$pings" 2>/dev/null
    wait "$pings" 2>/dev/null
    perl -e '
      my ($peer, $last, $most) = (shift, 0, 0);
      while (<>) {
        next unless /^\[([0-9.]+)\] \d+ bytes/;
        $most = $1 - $last if $last && $1 - $last > $most;
        $last = $1;
      }
      printf "\@note longest silence to $peer: %d ms\n", $most * 1000 if $most;
    ' "$peer" "$silence"
  fi
  rm -f "$silence"
}
agree() { # networkd reads its files again; nothing changes, as all is as they say
  ! systemctl -q is-active systemd-networkd || networkctl reload || return
}
"""

JOIN = (
    _BEGIN
    + r"""
watched
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
  fi
} | ip -batch - || exit
notify "$seat" 1
{
  [ "$(master "$nic")" = "$bridge" ] || echo "link set dev $nic master $bridge"
  lines "$addresses" | sed "s/^/address replace /;s/\$/ dev $seat/"
  lines "$routes" | sed "s/^/route replace /;s/\$/ dev $seat/"
  lines "$addresses" | while read -r address rest; do
    ! has "$nic" "$address" || echo "address delete $address dev $nic"
  done
  lines "$routes" | sed "s/^/route replace /;s/\$/ dev $seat/"
  [ "$seat" = "$bridge" ] || echo "link set dev $seat address $seat_mac"
} | ip -batch - || exit
for vlan in $vlans; do bridge vlan add dev "$nic" vid "$vlan" || exit; done
agree || exit
told
"""
)
"""Arguments: bridge, NIC, the link that holds the host's addresses and its other end, MAC, MAC of
that link, MTU, STP (0 or 1), VLAN filtering (0 or 1), VLANs, then addresses and routes as lines of
words of iproute2, whom to ping meanwhile (`-`: nobody), and what the mark says after its first
word."""

LEAVE = (
    _BEGIN
    + r"""
files=$2
watched
notify "$nic" 1
if there "$nic"; then
  {
    lines "$addresses" | sed "s/^/address replace /;s/\$/ dev $nic/"
    [ "$(master "$nic")" != "$bridge" ] || echo "link set dev $nic nomaster"
    echo "link set dev $nic up"
    lines "$routes" | sed "s/^/route replace /;s/\$/ dev $nic/"
    ! there "$seat" || lines "$addresses" | while read -r address rest; do
      ! has "$seat" "$address" || echo "address delete $address dev $seat"
    done
    lines "$routes" | sed "s/^/route replace /;s/\$/ dev $nic/"
    echo "link set dev $nic address $mac"
  } | ip -batch - || exit
fi
notify "$nic" 0
rm -f -- $files
agree || exit
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
watched
spanning=false; [ "$stp" = 0 ] || spanning=true
ovs --may-exist add-br "$bridge" -- set bridge "$bridge" datapath_type="$datapath" \
  fail_mode=standalone stp_enable="$spanning" other_config:hwaddr="\"$mac\"" \
  external_ids:provision="\"$1\"" || exit
ip link set dev "$bridge" mtu "$mtu" up && notify "$bridge" 1 || exit
ovs --may-exist add-port "$bridge" "$nic" -- set port "$nic" external_ids:provision="\"$1\"" || exit
{
  lines "$addresses" | sed "s/^/address replace /;s/\$/ dev $bridge/"
  lines "$routes" | sed "s/^/route replace /;s/\$/ dev $bridge/"
  lines "$addresses" | while read -r address rest; do
    ! has "$nic" "$address" || echo "address delete $address dev $nic"
  done
  lines "$routes" | sed "s/^/route replace /;s/\$/ dev $bridge/"
  echo "link set dev $bridge address $mac"
} | ip -batch - || exit
agree || exit
told
"""
)
"""For a bridge of Open vSwitch: the same arguments, and its datapath."""

LEAVE_OVS = (
    _BEGIN
    + r"""
files=$2
watched
notify "$nic" 1
if there "$nic"; then
  {
    lines "$addresses" | sed "s/^/address replace /;s/\$/ dev $nic/"
    echo "link set dev $nic up"
    lines "$routes" | sed "s/^/route replace /;s/\$/ dev $nic/"
    ! there "$bridge" || lines "$addresses" | while read -r address rest; do
      ! has "$bridge" "$address" || echo "address delete $address dev $bridge"
    done
    lines "$routes" | sed "s/^/route replace /;s/\$/ dev $nic/"
    echo "link set dev $nic address $mac"
  } | ip -batch - || exit
fi
rm -f -- $files
ovs-vsctl --timeout=10 --if-exists del-br "$bridge" || exit
notify "$nic" 0
agree || exit
told
"""
)
"""The same arguments, and the files of networkd's that go."""
