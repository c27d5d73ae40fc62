# Gives a container an interface. Does nothing where the interface is as it was made, or the
# container does not run. Fails where Docker does not answer, so that the caller tries again.
# Prelude: host/container_interface.sh
# Further arguments: lines of `ip -batch` from before and after the interface is up.
# The mark is the interface's alias and is set last: an interface whose mark ends with `+` was not
# finished and is made anew. Rules of IPv6 go through `ip -6`: a batch has one family for rules.
# The hosts keep this text in volatile.sh and the plan compares it: no byte below may change.

inside=$1 behind=$2
if [ "$way" = nic ] && [ -e "$hold" ]; then
  [ "$pid" != 0 ] && [ "$hold" -ef "/proc/$pid/ns/net" ] || home || exit
fi
[ "$pid" != 0 ] || exit 0
there=$(within ip -o link show dev "$interface" 2>/dev/null) || there=
[ -z "$there" ] || now=$(printf '%s\n' "$there" | alias_of)
if [ -n "$there" ] && [ "$now" = "$mark" ]; then
  [ "$way" = bridge ] || exit 0
  master=$(readlink "/sys/class/net/$outer/master") && [ "${master##*/}" = "$on" ] && exit 0
fi
if [ -n "$there" ] && [ "$way" = macvlan ] && [ "$now" = "$mark+" ]; then
  within ip link delete dev "$interface" || exit
fi
[ "$way" = nic ] || [ ! -e "/sys/class/net/$outer" ] || ip link delete dev "$outer" || exit
if [ "$way" != nic ] || [ "$now" != "$mark+" ]; then
  ! within ip link show dev "$interface" >/dev/null 2>&1 || {
    echo "container $container has an interface $interface that is not ours" >&2; exit 1
  }
fi
# By itself, before the link is made anew: a port that goes and comes in one transaction keeps the
# daemon's socket on the link that is dead.
[ "$way" != ovs ] || ovs-vsctl --timeout=10 --if-exists del-port "$outer" || exit
size=; [ "$mtu" = - ] || size="mtu $mtu"
case $way in
bridge | ovs)
  ip link add name "$outer" $size type veth peer name "$interface" $size netns "$pid" || exit
  ip link set dev "$outer" addrgenmode none
  # What a datapath in userspace reads here the kernel sees, too: it must not answer for the host.
  [ "$way" = bridge ] || echo 8 >"/proc/sys/net/ipv4/conf/$outer/arp_ignore" || exit
  within ip link set dev "$interface" alias "$mark+" || exit ;;
macvlan)
  below=$on
  if [ "$vlan" != - ]; then
    below=$(ip -o -d link show type vlan | sed -n "s/^[0-9]*: \([^@]*\)@$on: .* id $vlan .*/\1/p")
    [ -n "$below" ] || {
      below=$on.$vlan; [ "${#below}" -le 15 ] || below=v$vlan-${outer##*-}
      ip link add link "$on" name "$below" type vlan id "$vlan" &&
      ip link set dev "$below" alias "${mark%%/*}" up || exit
    }
  fi
  ip link set dev "$on" up &&
  ip link add link "$below" name "$outer" $size type macvlan mode bridge &&
  ip link set dev "$outer" alias "$mark+" &&
  ip link set dev "$outer" netns "$pid" &&
  within ip link set dev "$outer" name "$interface" || exit ;;
nic)
  if [ "$now" != "$mark+" ]; then
    mkdir -p "${hold%/*}" &&
    echo "$(cat "/sys/class/net/$on/address") $(cat "/sys/class/net/$on/mtu")" >"$hold.was" &&
    ip link set dev "$on" down && ip link set dev "$on" alias "$mark+" &&
    ip link set dev "$on" netns "$pid" || exit
    [ "$on" = "$interface" ] || within ip link set dev "$on" name "$interface" || exit
  fi
  held || exit
  [ -z "$size" ] || within ip link set dev "$interface" $size || exit ;;
esac
case $way in
bridge)
  ip link set dev "$outer" master "$on" || exit
  if [ "$vlan" != - ]; then
    bridge vlan delete dev "$outer" vid 1 &&
    bridge vlan add dev "$outer" vid "$vlan" pvid untagged || exit
  fi
  ip link set dev "$outer" up || exit ;;
ovs)
  tag=; [ "$vlan" = - ] || tag="tag=$vlan"
  owner=${mark#provision:}
  ovs-vsctl --timeout=10 add-port "$on" "$outer" $tag \
    -- set port "$outer" external_ids:provision="${owner%%/*}" &&
  # A datapath in userspace sends frames as they are: a checksum left to the NIC is never made.
  { [ "$(ovs-vsctl --timeout=10 get bridge "$on" datapath_type)" != netdev ] ||
    within ethtool -K "$interface" tx off >/dev/null; } &&
  ip link set dev "$outer" up || exit ;;
esac
[ "$mac" = - ] || within ip link set dev "$interface" address "$mac" || exit
# Docker switches IPv6 off where it has no use for it; neighbours are told of the address at once.
within sh -c '
  for pair in "4 arp_notify 1" "6 ndisc_notify 1" "6 disable_ipv6 $2"; do
    set -- "$1" "$2" $pair
    file=/proc/sys/net/ipv$3/conf/$1/$4
    [ ! -e "$file" ] || echo "$5" >"$file" || exit
  done' sh "$interface" "$(case $inside in *:*) echo 0 ;; *) echo 1 ;; esac)" || exit
printf '%s\n' "$inside" | within ip -batch - &&
within ip link set dev "$interface" up || exit
printf '%s\n' "$behind" | grep -v '^rule' | within ip -batch - || exit
printf '%s\n' "$behind" | sed -n 's/^rule add //p' | while read -r words; do
  family=; case $words in *:*) family=-6 ;; esac
  priority=${words##*priority }
  within ip $family rule delete protocol 240 priority "${priority%% *}" 2>/dev/null
  within ip $family rule add $words || exit
done || exit
within ip link set dev "$interface" alias "$mark"
