# Makes ifupdown agree with a NIC that became a port of a bridge, or left it: its list of interfaces
# that are up is changed as `ifdown` and `ifup` would change it. The DHCP client of a link with a lease
# ends without a release, and `ifup` starts one for the link that gets the lease.
# Prelude: host/nic_to_bridge.sh
# Defines: before_join after_join before_leave after_leave after_removal after_lease has_lease

# ifupdown locks this file while it reads or writes the list.
set_state() { # interface that is down now, interface that is up
  [ -f /run/network/ifstate ] || return 0
  (
    exec 6>>/run/network/.ifstate.lock && flock -w 30 6 || exit
    {
      grep -v -e "^$1=" -e "^$2=" /run/network/ifstate
      echo "$2=$2"
    } >/run/network/.ifstate.provision && mv -f /run/network/.ifstate.provision /run/network/ifstate &&
      rm -f "/run/network/ifstate.$1" && echo "$2" >"/run/network/ifstate.$2"
  )
}
# Debian's ifupdown starts dhclient (bookworm) or dhcpcd (trixie) with these files.
dhclient_leases() { echo "/var/lib/dhcp/dhclient.$1.leases"; } # link
last_expiry() { # link: the end of the last lease that dhclient has got
  sed -n 's/^ *expire //p' "$(dhclient_leases "$1")" 2>/dev/null | tail -n 1
}
# The file exists while provision wants a client for the link, and has the end of the lease before.
wanted() { echo "/run/provision-dhcp.$1"; } # link
scope_of() { echo "provision-dhcp-$1.scope"; } # link
# Addresses and lease stay: dhcpcd is told so, and dhclient, which would remove its address, is killed.
stop_client() { # link
  rm -f "$(wanted "$1")"
  [ ! -e "/run/dhcpcd/$1.pid" ] || timeout 20 dhcpcd -p -x "$1" >/dev/null 2>&1 || :
  if pid=$(cat "/run/dhclient.$1.pid" 2>/dev/null); then
    case $(cat "/proc/${pid:-x}/comm" 2>/dev/null) in dhclient) kill -9 "$pid" ;; esac
    rm -f "/run/dhclient.$1.pid"
  fi
  # One that still waits for its first answer has no file.
  systemctl -q is-active "$(scope_of "$1")" || return 0
  systemctl kill --signal=KILL "$(scope_of "$1")"
  systemctl stop "$(scope_of "$1")"
  rm -f "/run/network/ifup-$1.pid" # of the ifup that was killed
}
# The routes that moved to a link with its address. A rollback may run after a move that failed has been
# undone, so they are known by the kernel alone.
moved_routes() { # link
  for address in $leased; do routes_of "$1" 4 4 | grep -F " src ${address%/*} "; done
}
# Both clients ask for the lease in their file; in that of dhclient is also half of its identifier. The
# scope lets the client outlive the unit of the change. After 5 s without an answer dhcpcd 10.1 removes the
# address, unless it may extend its last lease; so the one that ifup starts follows once the server has
# answered, which renews the file. ifup takes dhclient where both are installed. Routes that moved with
# the address have the metric of the other link: they go once the client has made its own.
start_client() { # link that had the lease, link that gets it
  stop_client "$2"
  [ ! -f "/var/lib/dhcpcd/$1.lease" ] || cp -p "/var/lib/dhcpcd/$1.lease" "/var/lib/dhcpcd/$2.lease" || return
  [ ! -f "$(dhclient_leases "$1")" ] ||
    sed "s/^\\(  interface \"\\)$1\";/\\1$2\";/" "$(dhclient_leases "$1")" >"$(dhclient_leases "$2")" || return
  last_expiry "$2" >"$(wanted "$2")" || return
  [ ! -f "/var/lib/dhcpcd/$2.lease" ] || touch -r "/var/lib/dhcpcd/$2.lease" "$(wanted "$2")"
  # systemd 254 knows the option, and later ones replace variables of the command by default.
  literal=; ! systemd-run --help | grep -q -e --expand-environment || literal=--expand-environment=no
  # shellcheck disable=SC2016,SC2086 # the inner shell expands its arguments
  systemd-run -q $literal --scope --collect --unit="$(scope_of "$2")" sh -c '
    if [ -f "$3" ] && ! command -v dhclient; then
      client=$(ifquery "$1" | sed -n "s/^client: //p")
      dhcpcd --lastleaseextend --noipv4ll ${client:+-I "$client"} "$1"
      until [ "$3" -nt "$2" ]; do sleep 0.2; [ -e "$2" ] || exit; done
      dhcpcd -p -x "$1"
    fi
    until ifup --force "$1"; do sleep 2; [ -e "$2" ] || exit; done
    # ifup may return before its client has the lease.
    printf "%s\n" "$4" | grep . | while IFS= read -r route; do
      tries=120
      while [ -z "$(ip -4 route show "${route%% *}" dev "$1" proto 16)" ] && [ $tries -gt 0 ]; do
        tries=$((tries - 1)); sleep 0.5
      done
      [ $tries = 0 ] || ip route delete $route dev "$1"
    done
  ' sh "$2" "$(wanted "$2")" "/var/lib/dhcpcd/$2.lease" "$(moved_routes "$2")" </dev/null >/dev/null 2>&1 9>&- &
}
has_lease() { # link, address
  ! ip -4 -o address show dev "$1" dynamic 2>/dev/null | grep -qF " $2 " || return 0
  # dhclient leaves an address that the link has already as it is until it renews the lease.
  [ -f "/run/dhclient.$1.pid" ] && [ "$(last_expiry "$1")" != "$(cat "$(wanted "$1")" 2>/dev/null)" ] || return
  last=$(tail -n 30 "$(dhclient_leases "$1")" | sed -n 's/^ *fixed-address \(.*\);/\1/p' | tail -n 1)
  seconds=$(sed -n 's/^ *option dhcp-lease-time \([0-9]*\);/\1/p' "$(dhclient_leases "$1")" | tail -n 1)
  [ "$last" = "${2%/*}" ] &&
    ip address change "$2" dev "$1" valid_lft "$seconds" preferred_lft "$seconds"
}
before_join() { [ -z "$leased" ] || stop_client "$nic"; }
after_join() {
  set_state "$nic" "$host_link" || return
  [ -z "$leased" ] || start_client "$nic" "$host_link"
}
before_leave() { [ -z "$leased" ] || stop_client "$host_link"; }
after_leave() {
  set_state "$host_link" "$nic" || return
  [ -n "$leased" ] && exists "$nic" || return 0
  start_client "$host_link" "$nic" && rm -f "/var/lib/dhcpcd/$host_link.lease" "$(dhclient_leases "$host_link")"
}
after_removal() { :; }
after_lease() { rm -f "$(wanted "$nic")"; }
