"""Shell programs that give a container an interface and take it away again. Pure text.

Arguments of both: container, interface inside, mark, the file by which the namespace of a whole
NIC is held, the folder of the claims, and the words of the claim (`Attachment._claim`). The mark is
the interface's alias and is set last: what has the mark with a `+` behind it was not finished and
is made anew. Rules of IPv6 go through `ip -6`: a batch has one family for those.
"""

from __future__ import annotations

_BEGIN = r"""
container=$1 interface=$2 mark=$3 hold=$4 claims=$5; shift 5
way=$1 outer=$2 on=$3 mac=$4 mtu=$5 vlan=$6 priorities=$7; shift 7
now=
said=$(docker inspect --type container --format '{{.State.Pid}}' -- "$container" 2>&1) || {
  case $said in *[Nn]'o such container'*) said=0 ;; *) echo "$said" >&2; exit 1 ;; esac
}
pid=${said##*[!0-9]}
within() { nsenter -t "$pid" -n "$@"; }
alias_of() { sed -n 's/.*alias \(provision:[^ ]*\).*/\1/p' | head -n 1; }
# A virtual NIC would die with its namespace: that is held until the NIC is out of it again.
held() {
  mkdir -p "${hold%/*}" && : >"$hold" &&
  nsenter -t 1 -m mount --bind "/proc/$pid/ns/net" "$hold"
}
home() {
  [ -e "$hold" ] || return 0
  if nsenter --net="$hold" ip link show dev "$interface" >/dev/null 2>&1; then
    nsenter --net="$hold" ip link set dev "$interface" down &&
    nsenter --net="$hold" ip link set dev "$interface" alias '' &&
    { [ "$interface" = "$on" ] ||
      nsenter --net="$hold" ip link set dev "$interface" name "$on"; } &&
    nsenter --net="$hold" ip link set dev "$on" netns 1 || return
    read -r address size <"$hold.was" && ip link set dev "$on" address "$address" mtu "$size"
    ip link set dev "$on" up
  fi
  nsenter -t 1 -m umount "$hold" 2>/dev/null
  rm -f "$hold" "$hold.was"
  rmdir "${hold%/*}" 2>/dev/null || :
}
"""

ATTACH = (
    _BEGIN
    + r"""
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
"""
)
"""Further arguments: lines of `ip -batch` before and after the interface is up.

Does nothing where the interface is as it was made, or the container does not run. Fails where
Docker does not answer, so that whoever runs it asks again.
"""

DETACH = (
    _BEGIN
    + r"""
if [ "$way" = nic ]; then
  [ -e "$hold" ] || [ "$pid" = 0 ] ||
    ! within ip -o link show dev "$interface" 2>/dev/null | grep -q "alias $mark" || held || exit
  home || exit
fi
[ "$way" != ovs ] || ovs-vsctl --timeout=10 --if-exists del-port "$outer" || exit
if [ "$pid" != 0 ]; then
  now=$(within ip -o link show dev "$interface" 2>/dev/null | alias_of)
  case $now in "$mark" | "$mark+")
    [ "$way" = nic ] || within ip link delete dev "$interface" || exit
  esac
  for priority in $(echo "$priorities" | tr ',' ' ' | tr -d -); do
    within ip -4 rule delete protocol 240 priority "$priority" 2>/dev/null
    within ip -6 rule delete protocol 240 priority "$priority" 2>/dev/null
  done
  # Docker's own default route gave way to ours.
  via=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.Gateway}} {{end}}' \
    -- "$container" 2>/dev/null)
  via=${via%% *}
  [ -z "$via" ] || [ -n "$(within ip -4 route show default)" ] ||
    within ip -4 route add default via "$via" || :
fi
[ ! -e "/sys/class/net/$outer" ] || [ "$way" = nic ] || ip link delete dev "$outer" || exit
if [ "$way" = macvlan ] && [ "$vlan" != - ]; then # its VLAN goes with the last that is on it
  others=$(cat "$claims"/*/* 2>/dev/null | grep -c "^macvlan [^ ]* $on [^ ]* [^ ]* $vlan ")
  [ "$others" -gt 1 ] || for link in $(ip -o -d link show type vlan | grep " alias ${mark%%/*}\b" |
    sed -n "s/^[0-9]*: \([^@]*\)@$on: .* id $vlan .*/\1/p"); do
    ip link delete dev "$link" || exit
  done
fi
:
"""
)
