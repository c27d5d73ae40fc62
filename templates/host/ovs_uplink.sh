# Keeps a NIC's addresses and routes where its packets go: on the bridge of Open vSwitch whose port
# the NIC is, as long as the daemon serves it, else on the NIC.
# Prelude: host/ovs_device.sh
# Arguments: `settle` (make the bridge) or `return` (all goes back to the NIC, the bridge goes), the bridge,
# the NIC, the inventory, and a file that remembers addresses and routes, as a bridge loses them when Open
# vSwitch restarts. What is as it should be is not touched, so this can run at every event.
verb=$1 bridge=$2 nic=$3 inventory=$4 record=$5
runs() { kill -0 "$(cat /run/openvswitch/ovs-vswitchd.pid 2>/dev/null)" 2>/dev/null; }
ovs() { ovs-vsctl -t 20 "$@"; }
there() { [ -e "/sys/class/net/$1" ]; }
held() { # addresses and routes of a device, as words that `ip` takes; $2: what of them
  there "$1" || return 0
  for family in 4 6; do
    # What routers announced (IPv6) ends by itself and is learnt anew.
    permanent=; [ "$family" = 4 ] || permanent=permanent
    ip "-$family" -o address show dev "$1" scope global $permanent | while read -r _ _ _ rest; do
      words=
      for word in $rest; do [ "$word" != scope ] || break; words="$words $word"; done
      case " $rest " in *' noprefixroute '*) words="$words noprefixroute" ;; esac
      echo "$family address$words"
    done
    # The kernel makes its own with the address; for one with noprefixroute, NetworkManager has made
    # them in its name.
    own=' proto kernel '
    ! ip "-$family" -o address show dev "$1" scope global | grep -q noprefixroute || own=none
    [ "$2" = addresses ] || ip "-$family" route show dev "$1" | while read -r words; do
      # 240 are those of the inventories.
      case " $words " in *"$own"* | *' proto 240 '* | *' proto ra '* | fe80:*) continue ;; esac
      echo "$family route $words" | sed 's/ linkdown//'
    done
  done
}
drop() { iptables -w 5 -t raw "$1" PREROUTING -i "$nic" -m comment --comment provision:underlay -j DROP; }
open_nic() { while drop -C 2>/dev/null; do drop -D || return; done; }
move() { # what is in $moved, from $1 to $2, each family in one process
  for family in 4 6; do
    printf '%s\n' "$moved" | sed -n "s/^$family //p" | {
      new= old= routes=
      while read -r kind words; do
        if [ "$kind" = route ]; then
          routes="${routes}route replace $words dev $2
"
        else
          new="${new}address replace $words dev $2
"
          old="${old}address delete $words dev $1
"
        fi
      done
      there "$1" || old=
      [ -z "$new$routes" ] || printf %s "$new$old$routes" | ip "-$family" -force -batch - 2>/dev/null
      :
    }
  done
}
remember() { # for the time when neither device has them
  [ "$(cat "$record" 2>/dev/null)" != "$1" ] || return 0
  mkdir -p -- "${record%/*}" && (umask 077 && printf '%s\n' "$1" >"$record.new") &&
    sync "$record.new" && mv -f -- "$record.new" "$record"
}
settle() { # from $1 to $2
  if [ -n "$(held "$1" addresses)" ]; then
    moved=$(held "$1" all)
    [ "$verb" = return ] || [ "$1" = "$bridge" ] || remember "$moved" || return
  elif [ -z "$(held "$2" addresses)" ]; then
    moved=$(cat "$record" 2>/dev/null)
  else
    [ "$verb" = return ] || [ -s "$record" ] || remember "$(held "$2" all)"
    return
  fi
  [ -z "$moved" ] || { move "$1" "$2"; changed=yes; }
  [ -z "$(held "$1" addresses)" ] && [ -n "$(held "$2" addresses)" ]
}
made() { # the bridge, with the NIC's MAC, so that no neighbour has to learn another
  { bridged && known=yes; } || ovs --may-exist add-br "$bridge" -- --may-exist add-port "$bridge" "$nic" -- \
    set bridge "$bridge" datapath_type=netdev fail_mode=standalone \
    "other_config:hwaddr=\"$(cat "/sys/class/net/$nic/address")\"" \
    "external_ids:provision-nic=\"$nic\"" "external_ids:provision-$inventory=underlay" || return
  renew_device "$bridge"
}
bridged() {
  [ "$(ovs port-to-br "$nic" 2>/dev/null)" = "$bridge" ] &&
    [ "$(ovs --if-exists get bridge "$bridge" "external_ids:provision-$inventory")" = underlay ]
}
# The userspace datapath takes packets as they are: neither merged nor with their checksum left open.
OFFLOADS='rx-checksumming:rx generic-receive-offload:gro large-receive-offload:lro'
plain() { # switches off on the NIC what is on and can be
  on=$(ethtool -k "$nic" | grep ': on$')
  for pair in $OFFLOADS; do
    case "$on" in *"${pair%:*}: on"*) ;; *) continue ;; esac
    grep -qx "${pair#*:}" "$record.offloads" 2>/dev/null || {
      mkdir -p -- "${record%/*}" && echo "${pair#*:}" >>"$record.offloads" || return
    }
    ethtool -K "$nic" "${pair#*:}" off >/dev/null 2>&1
  done
  :
}
offloaded() { # and on again
  [ -f "$record.offloads" ] || return 0
  while read -r word; do ethtool -K "$nic" "$word" on >/dev/null 2>&1; done <"$record.offloads"
  rm -f -- "$record.offloads"
}
raised() { [ $(($(cat "/sys/class/net/$1/flags") & 1)) = 1 ] || ip link set dev "$1" up; }

if [ "$verb" = return ]; then
  open_nic && settle "$bridge" "$nic" && offloaded || exit 1
  ! runs || ovs --if-exists del-br "$bridge"
  exit
fi
status=0 known= changed=
if runs; then made || status=1; else status=1; fi
# Its device stays when the daemon ends, and is deaf then.
if runs && there "$bridge"; then
  # The NIC's packets reach the kernel beside the bridge, too, which would answer them twice:
  # https://docs.openvswitch.org/en/latest/intro/install/userspace/ (firewall rules).
  plain && raised "$bridge" && settle "$nic" "$bridge" && { drop -C 2>/dev/null || drop -I; } || status=1
  [ -z "$known" ] || [ -z "$changed" ] || forget_flows || status=1
else
  open_nic && settle "$bridge" "$nic" || status=1
fi
exit $status
