# What nic_join.sh, nic_leave.sh, nic_join_ovs.sh and nic_leave_ovs.sh begin with: their arguments,
# and functions. They make a NIC a bridge's port and give it back.
#
# Everything that touches the path of the host's own packets is in one `ip -batch`, in the order
# that loses nothing: the NIC becomes the bridge's port, addresses and routes are added above, the
# addresses leave the NIC, and the routes are set once more, since the kernel drops routes with
# their source address. A port's frames reach the host through its bridge and leave by the NIC
# itself, so either may hold the addresses meanwhile. Each program reads the state first and leaves
# out what is done already.
#
# Two gaps are closed before the batch:
# - The kernel attaches a transmit queue to a bridge (in a work queue) only after its first port has
#   come up, and drops packets until then: a temporary veth is the first port.
# - A link without a neighbour entry sends ARP first: the NIC's neighbours are copied to the bridge.
#
# Arguments: the program of checks/silence.pl; bridge; NIC; the link that holds the host's addresses
# (the bridge, or a veth into it) and that veth's other end (`-`: none); MAC of the bridge; MAC of
# that link; MTU; STP (0 or 1); VLAN filtering (0 or 1); VLANs; addresses and routes, a line each as
# iproute2 takes them; the address to ping meanwhile (`-`: nobody); words for the functions of the NIC's
# manager; the addresses from DHCP. The mark is $1 after that.
# The file host/manager_….sh of the NIC's network manager follows, with functions that make it agree:
# before_join and after_join; before_leave MARK FILE… and, with our files removed, after_leave, and
# after_removal once the bridge is gone. on_exit may be defined by it, too, and after_lease, for a NIC
# that has its lease again; has_lease LINK ADDRESS, where the end of an address is no sign of a lease;
# and $adopts_leases=yes: the manager takes over an address only with its end and its routes.
# Variables set here: one for each argument, and $urgent, a command prefix for the highest priority.
# Functions: master LINK prints its bridge; exists LINK; lines TEXT prints those that are not empty;
# addresses_on LINK; has_address LINK ADDRESS…; notify LINK 0|1; batch runs `ip -batch` on stdin;
# marked_routes LINK; leases_on LINK; from_dhcp LINK; await_lease LINK SECONDS; return_lease;
# copy_neighbours FROM TO; delete_warm_veth; remove_files MARK FILE…; start_pings and report_pings.
# Defines: master exists lines addresses_on has_address notify batch copy_neighbours marked_routes
# Defines: leases_on from_dhcp has_lease await_lease return_lease after_lease adopts_leases
# Defines: delete_warm_veth remove_files start_pings report_pings on_exit
# Variables: bridge nic host_link manager_arguments

ping=$1; shift
bridge=$1 nic=$2 host_link=$3 veth_end=$4 mac=$5 host_mac=$6 mtu=$7 stp=$8 filtering=$9; shift 9
vlans=$1 addresses=$2 routes=$3 peer=$4 manager_arguments=$5 leased=$6; shift 6
master() { link=$(readlink "/sys/class/net/$1/master") && echo "${link##*/}"; }
exists() { [ -e "/sys/class/net/$1" ]; }
lines() { printf '%s\n' "$1" | grep .; }
addresses_on() {
  ip -o address show dev "$1" 2>/dev/null | sed 's/^[0-9]*: *[^ ]* *inet6\{0,1\} \([^ ]*\).*/\1/'
}
has_address() { addresses_on "$1" | grep -qxF "${2%% *}"; }
# With arp_notify and ndisc_notify the kernel tells all neighbours when the link's MAC is set.
notify() { for file in ipv4/conf/"$1"/arp_notify ipv6/conf/"$1"/ndisc_notify; do
  [ ! -e "/proc/sys/net/$file" ] || echo "$2" >"/proc/sys/net/$file"
done; }
# No other process of the host shall delay the batch: real-time priority, where it is permitted.
urgent='nice -n -20'; ! chrt -f 1 true 2>/dev/null || urgent='chrt -f 1'
# All lines are read before the first is executed: the programs that print them may be slow.
batch() { moves=$(cat) && printf '%s\n' "$moves" | $urgent ip -batch -; }
# Routes of networks, of every inventory: they follow the addresses, and no record has them. (When
# systemd-networkd reads its files again, it may drop them; the kind `routes` then makes its own anew.)
# 240 is PROTO of on_hosts.py. `ip` leaves out what it selects by.
marked_routes() { routes_of "$1" 240 240; }
routes_of() { # link, protocol, protocol of the printed routes
  ip -N -4 route show table main dev "$1" proto "$2" 2>/dev/null |
    sed "s/ linkdown//;s/ dead//;s/ *\$/ proto $3/"
}
# The addresses of a link that a DHCP client has set, as `ip address replace` takes them.
leases_on() { # link
  ip -4 -o address show dev "$1" dynamic 2>/dev/null |
    sed -n 's/.* inet \(.* scope [^ ]*\) .*noprefixroute .*/\1 noprefixroute/p;t
      s/.* inet \(.* scope [^ ]*\) .*/\1/p'
}
adopts_leases=
# The options by which an address of a lease has an end on the next link, too. A day, since the host
# would lose the address when its lease ends while the server is silent: the client sets the right end.
lifetime() { # link, address
  case "$adopts_leases$(leases_on "$1")" in yes*"$2 "*) echo " valid_lft 86400 preferred_lft 86400" ;; esac
}
# A lease is taken from the link that has it, as it is now: the server may have given the host another
# address since the record was made, and those of the record to other hosts. Its
# routes get another protocol (4 is RTPROT_STATIC, 16 RTPROT_DHCP), which tells them from those that the
# DHCP client makes for the next link, and which systemd-networkd keeps until then. A manager that adopts
# leases finds them as its client would set them; it also makes the route of the address's range (2 is
# RTPROT_KERNEL).
from_dhcp() { # link
  [ -n "$leased" ] || return 0
  addresses=$(
    lines "$addresses" | while read -r line; do
      case " $leased " in *" ${line%% *} "*) has_address "$1" "$line" || continue ;; esac
      echo "$line$(lifetime "$1" "${line%% *}")"
    done
    leases_on "$1" | while read -r line; do
      case " $leased " in *" ${line%% *} "*) ;; *) echo "$line$(lifetime "$1" "${line%% *}")" ;; esac
    done
  )
  routes=$(
    lines "$routes" | while read -r line; do
      source="${line##* src } " source=${source%% *}
      # The link has lost this address.
      case " $leased" in *" $source/"*) addresses_on "$1" | grep -q "^$source/" || continue ;; esac
      echo "$line"
    done
  )
  # An earlier run may have moved the lease already.
  for link in "$1" "$host_link" "$nic"; do
    given=$(leases_on "$link" | sed 's/ .*//')
    [ -z "$given" ] || { leased=$given; break; }
  done
  if [ -n "$adopts_leases" ]; then
    leased_routes=$(
      for address in $leased; do routes_of "$1" 2 2 | grep -F " src ${address%/*} "; done
      routes_of "$1" 16 16
    )
  else
    leased_routes=$(routes_of "$1" 16 4)
  fi
  # Routers are in the ranges of the other routes.
  routes="$routes
$(lines "$leased_routes" | grep -v ' via ')
$(lines "$leased_routes" | grep ' via ')"
}
# An address has an end once the DHCP client of the link has got its lease.
has_lease() { # link, address
  ip -4 -o address show dev "$1" dynamic 2>/dev/null | grep -qF " $2 "
}
await_lease() { # link, seconds
  [ -n "$leased" ] && exists "$1" || return 0
  tries=$(($2 * 5))
  for address in $leased; do
    until has_lease "$1" "$address"; do
      tries=$((tries - 1))
      [ $tries -gt 0 ] || {
        echo "the DHCP server has not given $address to $1 within $2 s" >&2
        return 1
      }
      sleep 0.2
    done
  done
  [ -z "$adopts_leases" ] || return 0
  lines "$leased_routes" | while IFS= read -r route; do
    # shellcheck disable=SC2086 # the words of a route
    [ -z "$(ip -4 route show "${route%% *}" dev "$1" proto 16)" ] ||
      ip route delete $route dev "$1" 2>/dev/null || :
  done
}
# Only routers and the peer: the address of a container that goes may soon be another's. Not where a veth
# has another MAC: if the peer moves at the same time, the copy may be of its old MAC, to which it does
# not answer any more, and one ARP request is faster than the 2 s until the kernel gives the entry up.
copy_neighbours() {
  [ "$host_link" = "$bridge" ] || return 0
  wanted=" $peer $(lines "$routes" | sed -n 's/.* via \([^ ]*\).*/\1/p' | tr '\n' ' ') "
  ip neigh show dev "$1" 2>/dev/null |
    sed -n 's/^\([^ ]*\) .*lladdr \([0-9a-f:]*\) \(.*\)/\1 \2 \3/p' |
    while read -r address lladdr state; do
      case $wanted in *" $address "*) ;; *) continue ;; esac
      case $state in *PERMANENT*) nud=permanent ;; *) nud=stale ;; esac
      echo "neigh replace $address lladdr $lladdr dev $2 nud $nud"
    done | ip -force -batch - >/dev/null 2>&1 || :
}
delete_warm_veth() { ! exists provision-warm || ip link delete dev provision-warm; }
on_exit() { :; }
after_lease() { :; }
# An echo request every 5 ms to the peer measures for how long no packet came through.
start_pings() {
  # The file has one name for each NIC, so that a later run removes what a killed one left.
  pings=; silence=/run/provision-ping.$nic
  trap 'rm -f "$silence"; [ -z "$pings" ] || kill "$pings" 2>/dev/null; on_exit' EXIT
  [ "$peer" != - ] && : >"$silence" || return 0
  $urgent perl -e "$ping" "$peer" >"$silence" 2>/dev/null 9>&- &
  pings=$!
  # A host under load may take some time to start perl; a peer may never answer.
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 0.2
    [ ! -s "$silence" ] || break
  done
}
report_pings() {
  if [ -n "$pings" ]; then
    sleep 0.2
    kill "$pings" 2>/dev/null
    wait "$pings" 2>/dev/null
    grep . "$silence"
    pings=
  fi
}
# A NIC whose server does not answer keeps its addresses: the client asks on.
return_lease() {
  [ -n "$leased" ] && await_lease "$nic" 10 || return 0
  after_lease && await_lease "$nic" 10 || :
}
# Removes those of the files that begin with the mark, or are empty: another program may have made one
# meanwhile.
remove_files() { # mark of the bridge, files of systemd-networkd
  inventory=${1%%/*}; shift
  for file; do
    [ -f "$file" ] || continue
    line=; IFS= read -r line <"$file"
    [ -s "$file" ] && [ "$line" != "# provision:$inventory" ] || rm -f -- "$file" || return
    # A folder of drop-ins goes with its last file.
    case $file in *.network.d/*) rmdir "${file%/*}" 2>/dev/null || : ;; esac
  done
}
