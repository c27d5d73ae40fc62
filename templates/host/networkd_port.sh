# Has systemd-networkd agree with a NIC that becomes a port of a bridge, or leaves it.
# Prelude: host/nic_to_bridge.sh host/networkd_ranges.sh
# Defines: reload_networkd announce_bridge before_join before_leave after_removal

# networkd reads its files again; it changes nothing, since the links are as its files say.
reload_networkd() {
  systemctl -q is-active systemd-networkd || return 0
  for link in "$host_link" "$nic"; do renew_ranges "$link"; done
  networkctl reload || return
}
# After a reload systemd-networkd tries to create the bridge, which is there already. At the next event of the
# link it takes that one: version 252 gives it the settings of its file then, and its port is "configuring"
# until then. Without an event now, the next change makes it, and loses its own settings. The event must not
# come before networkd has tried: then it never takes the bridge. So it has some time, and must answer.
# Version 257 knows the bridge then, but has not made it ready, and its port stays "configuring": it tries
# again when the file of the bridge is newer.
announce_bridge() {
  [ -d "/sys/class/net/$bridge/bridge" ] && systemctl -q is-active systemd-networkd || return 0
  sleep 0.5
  busctl --timeout=10 call org.freedesktop.network1 /org/freedesktop/network1 \
    org.freedesktop.DBus.Peer Ping >/dev/null 2>&1 || :
  ip link set dev "$bridge" alias "$(cat "/sys/class/net/$bridge/ifalias")"
  sleep 0.5
  case $(networkctl --no-legend --no-pager list "$nic" 2>/dev/null) in *configuring*) ;; *) return 0 ;; esac
  for file in /etc/systemd/network/*.netdev /run/systemd/network/*.netdev; do
    ! grep -sqx "Name=$bridge" "$file" || touch -- "$file"
  done
  networkctl reload
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
