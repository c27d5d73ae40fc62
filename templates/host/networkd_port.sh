# Has systemd-networkd agree with a NIC that becomes a port of a bridge, or leaves it.
# Prelude: host/nic_to_bridge.sh
# Defines: reload_networkd announce_bridge before_join before_leave after_removal

# networkd reads its files again; it changes nothing, since the links are as its files say.
reload_networkd() { ! systemctl -q is-active systemd-networkd || networkctl reload || return; }
# systemd-networkd 252 gives a bridge that it has found the settings of its file at the next event of the
# link. Without an event now, that is the next change, and undoes its settings.
announce_bridge() {
  [ ! -d "/sys/class/net/$bridge/bridge" ] ||
    ip link set dev "$bridge" alias "$(cat "/sys/class/net/$bridge/ifalias")"
}
before_join() { :; }
# systemd-networkd 257 takes a released port for a new link and would drop its routes: the NIC is
# unmanaged until it has left. If that file cannot be written, the NIC leaves all the same.
before_leave() { # mark of the bridge, files of ours
  inventory=${1%%/*}; shift
  [ "$(master "$nic")" != "$bridge" ] || for file; do
    case $file in *-nic.network)
      printf '# provision:%s\n[Match]\nName=%s\n\n[Link]\nUnmanaged=yes\n' \
        "$inventory" "$nic" >"$file" && reload_networkd || :
    esac
  done
}
after_removal() { :; }
