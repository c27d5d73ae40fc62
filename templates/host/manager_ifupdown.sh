# Makes ifupdown agree with a NIC that became a port of a bridge, or left it: its list of interfaces
# that are up is changed as `ifdown` and `ifup` would change it.
# Prelude: host/nic_to_bridge.sh
# Defines: before_join after_join before_leave after_leave after_removal

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
before_join() { :; }
after_join() { set_state "$nic" "$host_link"; }
before_leave() { :; }
after_leave() { set_state "$host_link" "$nic"; }
after_removal() { :; }
